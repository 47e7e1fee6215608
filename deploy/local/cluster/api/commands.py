"""The simulation's own commands, under /sim: what scenario files set, set while the cluster runs."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from deploy.local.cluster import errors
from deploy.local.cluster.api.watching import Watches
from deploy.local.cluster.clock import Clock
from deploy.local.cluster.control_plane import ControlPlane
from deploy.local.cluster.credentials import Credentials
from deploy.local.cluster.faults import Faults
from deploy.local.cluster.scenario import Fault, ImageRule, KubeletSettings, NodeSettings, Scenario

Body = dict[str, Any]
# User, verb, resource and status of the requests so far.
Requests = Counter[tuple[str, str, str, int]]


class Commands:
    """What /sim answers."""

    def __init__(
        self, plane: ControlPlane, faults: Faults, watches: Watches, credentials: Credentials, requests: Requests
    ) -> None:
        self._plane = plane
        self._faults = faults
        self._watches = watches
        self._credentials = credentials
        self._requests = requests
        self._commands: dict[str, Callable[[Body], Any]] = {
            "images": self._set_images,
            "kubelet": self._set_kubelet,
            "nodes": self._set_nodes,
            "faults": self._add_fault,
            "faults/clear": self._clear_faults,
            "unavailable": self._be_unavailable,
            "watches/cut": self._cut_watches,
            "tokens/expire": self._expire_token,
            "tokens/renew": self._renew_token,
            "requests/reset": self._reset_requests,
        }

    def begin(self, scenario: Scenario, clock: Clock) -> None:
        """Put a scenario's faults and timeline in force; the rest is how the control plane was made."""
        for fault in scenario.faults:
            self._faults.add(fault)
        for step in scenario.timeline:
            clock.after(step.at, self.run, step.command, step.body)

    def read(self, name: str) -> Any:
        """What a GET of /sim/... answers.

        Raises:
            ApiError: there is nothing of that name.
        """
        match name:
            case "requests":
                fields = ("user", "verb", "resource", "code")
                return [
                    {**dict(zip(fields, key, strict=True)), "count": n} for key, n in sorted(self._requests.items())
                ]
            case "faults":
                return [fault.model_dump(exclude_none=True) for fault in self._faults.listed()]
            case "kubelet":
                return self._plane.kubelets.settings.model_dump()
            case "":
                return {"commands": sorted(self._commands)}
        raise errors.no_such_resource()

    def run(self, name: str, body: Body) -> Any:
        """What a POST to /sim/... does.

        Raises:
            ApiError: there is no such command, or it does not understand the body.
        """
        if name.startswith("nodes/"):
            name, body = "nodes", {**body, "pattern": name.removeprefix("nodes/")}
        command = self._commands.get(name)
        if command is None:
            raise errors.no_such_resource()
        try:
            return command(body)
        except (ValidationError, KeyError) as error:
            raise errors.bad_request(f"{name}: {error}") from error

    def _set_images(self, body: Body) -> Body:
        rules = body.get("rules", [body])
        self._plane.images.set_rules([ImageRule.model_validate(rule) for rule in rules])
        return {"rules": len(rules)}

    def _set_kubelet(self, body: Body) -> Body:
        settings = KubeletSettings.model_validate({**self._plane.kubelets.settings.model_dump(), **body})
        self._plane.kubelets.configure(settings)
        return settings.model_dump()

    def _set_nodes(self, body: Body) -> Body:
        settings = NodeSettings.model_validate(body)
        found = self._plane.kubelets.set_nodes(settings)
        if not found:
            raise errors.bad_request(f"no node matches {settings.pattern} and pool {settings.pool or '*'}")
        return {"nodes": found}

    def _add_fault(self, body: Body) -> Body:
        self._faults.add(Fault.model_validate(body))
        return {"faults": len(self._faults.listed())}

    def _clear_faults(self, body: Body) -> Body:
        self._faults.remove(body.get("name", ""))
        return {"faults": len(self._faults.listed())}

    def _be_unavailable(self, body: Body) -> Body:
        self._faults.add(Fault(name="unavailable", drop="before", seconds=body["seconds"]))
        return self._cut_watches({})

    def _cut_watches(self, body: Body) -> Body:
        return {"cut": self._watches.cut(body.get("resources", []))}

    def _expire_token(self, body: Body) -> Body:
        self._credentials.expire(body.get("user", "ips"), renew=body.get("renew", False))
        return {}

    def _renew_token(self, body: Body) -> Body:
        self._credentials.renew(body.get("user", "ips"))
        return {}

    def _reset_requests(self, body: Body) -> Body:
        del body
        self._requests.clear()
        return {}
