"""History: pages that fit together, and what watchers see."""

from typing import Any

import pytest

from deploy.local.cluster.api import listing
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.kinds import EVENTS, JOBS, PODS, SECRETS
from deploy.local.cluster.selectors import every, field_matcher, label_matcher, parse_labels
from deploy.local.cluster.store import FIRST_VERSION, HISTORY, Store


def put(store: Store, name: str, namespace: str = "ns", **labels: str) -> int:
    return store.put(SECRETS, (namespace, name), {"metadata": {"name": name, "labels": labels}}).version


def names(store: Store, **query: str) -> tuple[list[str], dict[str, Any]]:
    items, meta = listing.page(store, SECRETS, "ns", query)
    return [item.key[1] for item in items], meta


class TestPages:
    def test_pages_are_of_the_moment_of_the_first(self) -> None:
        store = Store()
        for name in ("a", "b", "c", "d"):
            put(store, name)
        first, meta = names(store, limit="2")
        store.remove(SECRETS, ("ns", "c"))
        put(store, "ca")
        put(store, "d", changed="yes")
        rest, last = names(store, limit="2", **{"continue": meta["continue"]})
        assert (first, rest) == (["a", "b"], ["c", "d"])
        assert last == {"resourceVersion": meta["resourceVersion"]}
        items, _ = listing.page(store, SECRETS, "ns", {"limit": "2", "continue": meta["continue"]})
        assert items[1].obj["metadata"]["labels"] == {}

    def test_remaining_items_are_counted_only_without_selectors(self) -> None:
        store = Store()
        for name in ("a", "b", "c"):
            put(store, name, app="x")
        assert names(store, limit="1")[1]["remainingItemCount"] == 2
        assert "remainingItemCount" not in names(store, limit="1", labelSelector="app=x")[1]

    def test_exact_version(self) -> None:
        store = Store()
        version = put(store, "a")
        put(store, "b")
        found, _ = names(store, resourceVersion=str(version), resourceVersionMatch="Exact")
        assert found == ["a"]

    def test_token_of_a_forgotten_time_has_expired(self) -> None:
        store = Store()
        put(store, "a")
        put(store, "b")
        _, meta = names(store, limit="1")
        for index in range(HISTORY + 1):
            put(store, "b", n=str(index))
        with pytest.raises(ApiError) as raised:
            names(store, limit="1", **{"continue": meta["continue"]})
        assert (raised.value.code, raised.value.reason) == (410, "Expired")

    def test_one_namespace_does_not_show_another(self) -> None:
        store = Store()
        put(store, "a", "other")
        put(store, "b")
        assert names(store)[0] == ["b"]


class TestHistory:
    def test_changes_since_a_version(self) -> None:
        store = Store()
        first = put(store, "a")
        put(store, "a", x="1")
        store.remove(SECRETS, ("ns", "a"))
        assert [(change.type, change.version > first) for change in store.since(SECRETS, first)] == [
            ("MODIFIED", True),
            ("DELETED", True),
        ]

    def test_too_old_a_version_is_expired(self) -> None:
        store = Store()
        with pytest.raises(ApiError, match="too old resource version: 1"):
            store.since(SECRETS, 1)
        assert store.since(SECRETS, FIRST_VERSION) == []

    def test_stored_objects_are_never_changed(self) -> None:
        store = Store()
        given = {"metadata": {"name": "a"}}
        store.put(SECRETS, ("ns", "a"), given)
        assert given == {"metadata": {"name": "a"}}

    def test_watcher_with_a_selector_sees_objects_enter_and_leave(self) -> None:
        store = Store()
        matches = label_matcher(parse_labels("app=x"))
        seen = []
        store.listen(SECRETS, lambda change: seen.append(change.seen_by(matches)))
        put(store, "a")
        put(store, "a", app="x")
        put(store, "a", app="x", other="1")
        put(store, "a", app="y")
        put(store, "b", app="x")
        store.remove(SECRETS, ("ns", "a"))
        store.remove(SECRETS, ("ns", "b"))
        assert seen == [None, "ADDED", "MODIFIED", "DELETED", "ADDED", None, "DELETED"]

    def test_json_is_made_once_and_shared(self) -> None:
        store = Store()
        item = store.put(SECRETS, ("ns", "a"), {"metadata": {"name": "a"}})
        assert item.json() is item.json()


LABELLED = {"metadata": {"labels": {"app": "x", "tier": "a"}}}


class TestSelectors:
    @pytest.mark.parametrize(
        ("selector", "matches"),
        [
            ("app=x", True),
            ("app==x,tier!=b", True),
            ("app in (x, y),tier notin (b)", True),
            ("app,!missing", True),
            ("!app", False),
            ("missing!=x", True),
            ("missing in (x)", False),
            ("missing notin (x)", True),
            ("app=", False),
        ],
    )
    def test_labels(self, selector: str, *, matches: bool) -> None:
        test = label_matcher(parse_labels(selector))
        assert test is not None
        assert test(LABELLED) is matches

    @pytest.mark.parametrize("selector", ["a=b=c", "=", "a in", "a in (b", ",a"])
    def test_what_does_not_parse_is_refused(self, selector: str) -> None:
        with pytest.raises(ApiError) as raised:
            parse_labels(selector)
        assert raised.value.code == 400

    def test_fields(self) -> None:
        pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
        test = field_matcher(PODS, "spec.nodeName=n,status.phase!=Succeeded")
        assert test is not None
        assert test(pod)
        test = field_matcher(PODS, "metadata.name=other")
        assert test is not None
        assert not test(pod)

    def test_both_kinds_together(self) -> None:
        event = {"metadata": {"labels": {"a": "b"}}, "reason": "Pulled"}
        test = every(label_matcher(parse_labels("a=b")), field_matcher(EVENTS, "reason=Failed"))
        assert test is not None
        assert not test(event)

    def test_unknown_field(self) -> None:
        with pytest.raises(ApiError) as raised:
            field_matcher(JOBS, "spec.parallelism=1")
        assert raised.value.code == 400
