"""The verbs on resources: from a request's parts to an answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from deploy.local.cluster import errors, limits, schema
from deploy.local.cluster.api import listing, patches, protobuf
from deploy.local.cluster.api.rendering import Rendering
from deploy.local.cluster.api.routes import Route
from deploy.local.cluster.kinds import ACCESS_REVIEWS, JOBS, PODS, RESOURCEQUOTAS, SERVICEACCOUNTS, Kind
from deploy.local.cluster.rbac import Action, Authorizer, User
from deploy.local.cluster.registry import DeleteOptions, Registry

_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
)
_RBAC_GROUP = "rbac.authorization.k8s.io"
# Deleting one of these answers with the object; of others, with a Status.
_RETURNED = (PODS, SERVICEACCOUNTS, RESOURCEQUOTAS)
# The real server reads YAML and protobuf too; `kubectl create -f` and the Python client send JSON.
_ACCEPTED = "application/json"
_QUOTED_BODY = 60


@dataclass(frozen=True, slots=True)
class Call:
    """A request, taken apart."""

    user: User
    query: Mapping[str, str]
    content_type: str
    body: bytes
    form: Rendering

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be stored.

        Raises:
            ApiError: the parameter has a value there is none of.
        """
        asked = self.query.get("dryRun", "")
        if asked not in {"", "All"}:
            raise errors.bad_request(f'invalid dryRun value "{asked}": supported values: "All"')
        return asked == "All"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    warnings: list[str] = field(default_factory=list)


class Resources:
    """The handlers of resource requests; who may call them was decided before."""

    def __init__(self, registry: Registry, authorizer: Authorizer) -> None:
        self._registry = registry
        self._store = registry.store
        self._authorizer = authorizer

    def answer(self, verb: str, route: Route, call: Call) -> Answer:
        """Do what was asked.

        Raises:
            ApiError: it cannot be done.
        """
        if route.kind.group == _RBAC_GROUP and verb in {"create", "update", "patch"} and not call.user.is_master:
            raise limits.refuse("granting roles")
        match verb:
            case "get":
                item = self._store.need(route.kind, self._key(route))
                return Answer(200, call.form.object(route.kind, item))
            case "list":
                items, meta = listing.page(self._store, route.kind, route.namespace, call.query)
                return Answer(200, call.form.listed(route.kind, items, meta))
            case "create" if route.kind is ACCESS_REVIEWS:
                return self._review(call)
            case "create":
                return self._create(route, call)
            case "update":
                return self._update(route, call)
            case "patch":
                return self._patch(route, call)
            case "delete":
                return self._delete(route, call)
            case _:
                return self._delete_collection(route, call)

    def _key(self, route: Route) -> tuple[str, str]:
        return self._registry.key(route.kind, route.namespace, route.name)

    def _create(self, route: Route, call: Call) -> Answer:
        if route.kind.namespaced and not route.namespace:
            raise errors.method_not_allowed()
        obj, warnings = _decode(route.kind, call)
        found = (obj.get("metadata") or {}).get("namespace", route.namespace)
        if route.kind.namespaced and found != route.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        item, more = self._registry.create(route.kind, route.namespace, obj, dry_run=call.dry_run)
        return Answer(201, call.form.object(route.kind, item), [*warnings, *more])

    def _update(self, route: Route, call: Call) -> Answer:
        obj, warnings = _decode(route.kind, call)
        named = (obj.get("metadata") or {}).get("name", "")
        if named != route.name:
            raise errors.bad_request(
                f"the name of the object ({named}) does not match the name on the URL ({route.name})"
            )
        return self._write(route, call, obj, warnings)

    def _patch(self, route: Route, call: Call) -> Answer:
        current = self._store.need(route.kind, self._key(route)).obj
        try:
            patch = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise errors.bad_request(f"error decoding patch: {error}") from error
        patched = patches.apply(call.content_type, current, patch)
        obj, unknown = schema.decode(route.kind, patched)
        return self._write(route, call, obj, _field_warnings(route.kind, call, unknown))

    def _write(self, route: Route, call: Call, obj: dict[str, Any], warnings: list[str]) -> Answer:
        key = self._key(route)
        item = self._registry.update(route.kind, key, obj, subresource=route.subresource, dry_run=call.dry_run)
        return Answer(200, call.form.object(route.kind, item), warnings)

    def _delete(self, route: Route, call: Call) -> Answer:
        options, warnings = _delete_options(route.kind, call)
        try:
            item, gone = self._registry.delete(route.kind, self._key(route), options)
        except errors.ApiError as error:
            error.warnings = warnings if error.code == 409 else []
            raise
        if not gone or route.kind in _RETURNED:
            return Answer(200, call.form.object(route.kind, item), warnings)
        details = {"name": route.name, "kind": route.kind.plural, "uid": item.obj["metadata"]["uid"]}
        if route.kind.group:
            details["group"] = route.kind.group
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Answer(200, orjson.dumps({**head, "details": details}), warnings)

    def _delete_collection(self, route: Route, call: Call) -> Answer:
        options, warnings = _delete_options(route.kind, call)
        items, meta = listing.page(self._store, route.kind, route.namespace, call.query)
        for item in items:
            if self._store.get(route.kind, item.key) is not None:
                self._registry.delete(route.kind, item.key, replace(options, uid=item.obj["metadata"]["uid"]))
        return Answer(200, call.form.listed(route.kind, items, meta), warnings)

    def _review(self, call: Call) -> Answer:
        if call.content_type.startswith(protobuf.MEDIA_TYPE):
            obj = protobuf.access_review(call.body)
        else:
            obj, _ = _decode(ACCESS_REVIEWS, call)
        spec = obj.get("spec") or {}
        asked = spec.get("resourceAttributes")
        if asked is None:
            path = (spec.get("nonResourceAttributes") or {}).get("path", "")
            allowed, reason = self._authorizer.decide_path(call.user, path), ""
        else:
            resource = asked.get("resource", "")
            resource += f"/{asked['subresource']}" if asked.get("subresource") else ""
            action = Action(
                verb=asked.get("verb", ""),
                group=asked.get("group", ""),
                resource=resource,
                namespace=asked.get("namespace", ""),
                name=asked.get("name", ""),
            )
            allowed, reason = self._authorizer.decide(call.user, action)
        status: dict[str, Any] = {"allowed": allowed}
        if reason:
            status["reason"] = reason
        head = {"kind": ACCESS_REVIEWS.kind, "apiVersion": ACCESS_REVIEWS.api_version, "metadata": {}}
        return Answer(201, orjson.dumps({**head, "spec": spec, "status": status}))


def _decode(kind: Kind, call: Call) -> tuple[dict[str, Any], list[str]]:
    """The object in a request's body, and warnings about its unknown fields."""
    media = call.content_type.partition(";")[0].strip()
    if media not in {"", "application/json"}:
        said = "the body of the request was in an unknown format - accepted media types include: " + _ACCEPTED
        raise errors.ApiError(415, "UnsupportedMediaType", said, {})
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise _unrecognized(kind, call.body, f"invalid character: {error}") from error
    if not isinstance(body, dict):
        found = {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(body), "number")
        struct = (
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
        raise _unrecognized(kind, call.body, f"json: cannot unmarshal {found} into Go value of type {struct}")
    version, name = body.get("apiVersion", kind.api_version), body.get("kind", kind.kind)
    if name != kind.kind:
        into = f"{kind.group.partition('.')[0] or 'core'}.{kind.kind}"
        from_kind = f"{version.rpartition('/')[2]}.{name}"
        raise errors.bad_request(
            f'{name} in version "{version}" cannot be handled as a {kind.kind}: '
            f"converting ({from_kind}) to ({into}): unknown conversion"
        )
    if version != kind.api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    obj, unknown = schema.decode(kind, body)
    return obj, _field_warnings(kind, call, unknown)


def _unrecognized(kind: Kind, body: bytes, why: str) -> errors.ApiError:
    shown = body[:_QUOTED_BODY].hex() + (" ..." if len(body) > _QUOTED_BODY else "")
    message = f"the object provided is unrecognized (must be of type {kind.kind}): "
    return errors.bad_request(f"{message}couldn't get version/kind; json parse error: {why} ({shown})")


def _field_warnings(kind: Kind, call: Call, unknown: list[str]) -> list[str]:
    """What to say of unknown fields: nothing, a warning each, or a refusal."""
    mode = call.query.get("fieldValidation", "Warn")
    said = [f'unknown field "{path}"' for path in unknown]
    if mode == "Strict" and said:
        message = f'{kind.kind} in version "v1" cannot be handled as a {kind.kind}: strict decoding error: '
        raise errors.bad_request(message + ", ".join(said))
    return [] if mode == "Ignore" else said


def _delete_options(kind: Kind, call: Call) -> tuple[DeleteOptions, list[str]]:
    """The options of a delete, from its body and its query, and the warning about orphans."""
    body: dict[str, Any] = {}
    if call.body:
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    policy = body.get("propagationPolicy") or call.query.get("propagationPolicy")
    if policy not in {None, "Orphan", "Background", "Foreground"}:
        supported = '"Foreground", "Background", "Orphan", "nil"'
        cause = errors.Cause(
            "propagationPolicy",
            "FieldValueNotSupported",
            f'Unsupported value: "{policy}": supported values: {supported}',
        )
        raise errors.invalid(Kind("meta.k8s.io", "deleteoptions", "DeleteOptions"), "", [cause])
    grace = body.get("gracePeriodSeconds", call.query.get("gracePeriodSeconds"))
    if not re.fullmatch(r"-?\d+", str(grace if grace is not None else 0)):
        raise errors.bad_request(f"gracePeriodSeconds: {grace!r} is no number")
    preconditions = body.get("preconditions") or {}
    options = DeleteOptions(
        policy=policy,
        grace_seconds=None if grace is None else int(grace),
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=call.dry_run or body.get("dryRun") == ["All"],
    )
    return options, [_ORPHANS] if kind is JOBS and policy is None else []
