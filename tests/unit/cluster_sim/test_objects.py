"""How objects come, change and go: defaults, validation, conflicts, deletion."""

from typing import Any

import pytest

from deploy.local.cluster import schema
from deploy.local.cluster.api import patches, protobuf
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.kinds import (
    CLUSTERROLES,
    DAEMONSETS,
    EVENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITYCLASSES,
    RESOURCEQUOTAS,
)
from tests.unit.cluster_sim.simulated import NAMESPACE, Simulated, job

IMAGE = "a.example/x:1"


@pytest.fixture
def cluster() -> Simulated:
    return Simulated()


def pod_of(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


class TestDefaults:
    @pytest.mark.parametrize(
        ("image", "policy"),
        [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ],
    )
    def test_pull_policy_follows_the_tag(self, cluster: Simulated, image: str, policy: str) -> None:
        created = cluster.create(JOBS, job("j", image, volumes=(image,)))
        assert pod_of(created)["containers"][0]["imagePullPolicy"] == policy
        assert pod_of(created)["volumes"][0]["image"]["pullPolicy"] == policy

    def test_qos_class(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["containers"][0]["resources"] = {"requests": {"cpu": "1m"}}
        cluster.create(JOBS, wanted)
        cluster.wait(0.1)
        assert cluster.pod("j")["status"]["qosClass"] == "Burstable"

    def test_generated_name(self, cluster: Simulated) -> None:
        wanted = {**job("", IMAGE), "metadata": {"generateName": "made-"}}
        name = cluster.create(JOBS, wanted)["metadata"]["name"]
        assert name.startswith("made-")
        assert len(name) == len("made-") + 5

    def test_dry_run_stores_nothing(self, cluster: Simulated) -> None:
        answered = cluster.create(JOBS, job("j", IMAGE), dry_run=True)
        assert "resourceVersion" not in answered["metadata"]
        assert cluster.get(JOBS, "j") is None


class TestValidation:
    def refused(self, cluster: Simulated, wanted: dict[str, Any]) -> list[tuple[str, str]]:
        with pytest.raises(ApiError) as raised:
            cluster.create(JOBS, wanted)
        assert raised.value.code == 422
        assert raised.value.details is not None
        return [(cause["field"], cause["message"]) for cause in raised.value.details["causes"]]

    def test_names_of_containers_are_unique(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE, IMAGE)
        pod_of(wanted)["containers"][1]["name"] = "image-0"
        field = "spec.template.spec.containers[1].name"
        assert self.refused(cluster, wanted) == [(field, 'Duplicate value: "image-0"')]

    def test_mounts_need_their_volume(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["containers"][0]["volumeMounts"] = [{"name": "nope", "mountPath": "/x"}]
        field = "spec.template.spec.containers[0].volumeMounts[0].name"
        assert self.refused(cluster, wanted) == [(field, 'Not found: "nope"')]

    def test_pull_policy_is_one_of_three(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["containers"][0]["imagePullPolicy"] = "Sometimes"
        ((_, message),) = self.refused(cluster, wanted)
        assert message == ('Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"')

    def test_image_volume_needs_a_reference(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["volumes"] = [{"name": "v", "image": {}}]
        assert self.refused(cluster, wanted) == [("spec.template.spec.volumes[0].image.reference", "Required value")]

    def test_annotations_have_a_limit(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        wanted["metadata"]["annotations"] = {"a": "x" * 262144}
        assert self.refused(cluster, wanted) == [
            ("metadata.annotations", "Too long: may not be more than 262144 bytes")
        ]

    def test_a_pod_needs_a_container(self, cluster: Simulated) -> None:
        assert self.refused(cluster, job("j")) == [("spec.template.spec.containers", "Required value")]

    def test_namespace_is_a_dns_label(self, cluster: Simulated) -> None:
        with pytest.raises(ApiError, match="a lowercase RFC 1123 label must consist of"):
            cluster.create(NAMESPACES, {"metadata": {"name": "a.b"}})


class TestDecoding:
    def test_empty_and_null_fields_are_dropped_but_empty_structs_kept(self) -> None:
        wanted = {
            "metadata": {"name": "j", "labels": {}, "annotations": None},
            "spec": {"template": {"spec": {"containers": [], "securityContext": {}}}},
        }
        decoded, unknown = schema.decode(JOBS, wanted)
        assert decoded == {"metadata": {"name": "j"}, "spec": {"template": {"spec": {"securityContext": {}}}}}
        assert unknown == []

    def test_unknown_fields_are_named_with_their_path(self) -> None:
        spec = {"template": {"spec": {"containers": [{"name": "a", "imgae": "x"}], "nope": 1}}}
        _, unknown = schema.decode(JOBS, {"metadata": {"name": "j"}, "spec": spec})
        assert unknown == ["spec.template.spec.containers[0].imgae", "spec.template.spec.nope"]

    def test_wrong_types_are_refused_as_go_words_it(self) -> None:
        with pytest.raises(ApiError) as raised:
            schema.decode(JOBS, {"metadata": {"name": "j"}, "spec": {"backoffLimit": "0"}})
        assert raised.value.message == (
            'Job in version "v1" cannot be handled as a Job: json: cannot unmarshal string into Go struct field '
            "Job.spec.backoffLimit of type int64"
        )

    def test_schema_file_is_what_the_generator_makes(self) -> None:
        assert schema.generate() == schema._types()


class TestUpdate:
    def test_old_version_conflicts(self, cluster: Simulated) -> None:
        first = cluster.create(JOBS, job("j", IMAGE))
        cluster.wait(0.1)
        with pytest.raises(ApiError, match="the object has been modified"):
            cluster.registry.update(JOBS, (NAMESPACE, "j"), first)

    def test_nothing_changed_is_no_new_version(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE))
        cluster.wait(0.1)
        now = cluster.need(JOBS, "j")
        assert cluster.registry.update(JOBS, (NAMESPACE, "j"), now).obj == now

    def test_status_is_written_only_through_its_subresource(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE, suspend=True))
        cluster.wait(0.1)
        now = cluster.need(JOBS, "j")
        claimed = {**now, "status": {**now["status"], "succeeded": 7}}
        assert "succeeded" not in cluster.registry.update(JOBS, (NAMESPACE, "j"), claimed).obj["status"]
        written = cluster.registry.update(JOBS, (NAMESPACE, "j"), claimed, subresource="status").obj
        assert written["status"]["succeeded"] == 7

    def test_template_of_a_job_is_immutable(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE))
        now = cluster.need(JOBS, "j")
        template = {**now["spec"]["template"], "metadata": {"labels": {"x": "y"}}}
        with pytest.raises(ApiError, match=r"spec\.template: Invalid value: .*: field is immutable"):
            cluster.registry.update(JOBS, (NAMESPACE, "j"), {**now, "spec": {**now["spec"], "template": template}})

    def test_uid_and_creation_cannot_be_changed(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE))
        now = cluster.need(JOBS, "j")
        meta = {**now["metadata"], "creationTimestamp": "2000-01-01T00:00:00Z", "labels": {"a": "b"}}
        written = cluster.registry.update(JOBS, (NAMESPACE, "j"), {**now, "metadata": meta}).obj["metadata"]
        assert written["creationTimestamp"] == now["metadata"]["creationTimestamp"]
        assert written["labels"] == {"a": "b"}

    def test_object_waits_for_a_foreign_finalizer(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE, suspend=True)
        wanted["metadata"]["finalizers"] = ["example.com/hold"]
        cluster.create(JOBS, wanted)
        cluster.delete(JOBS, "j", policy="Background")
        cluster.wait(5)
        now = cluster.need(JOBS, "j")
        assert "deletionTimestamp" in now["metadata"]
        meta = {k: v for k, v in now["metadata"].items() if k != "finalizers"}
        cluster.registry.update(JOBS, (NAMESPACE, "j"), {**now, "metadata": meta})
        assert cluster.get(JOBS, "j") is None


class TestDelete:
    def test_preconditions(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE))
        with pytest.raises(ApiError, match="the ResourceVersion in the precondition"):
            cluster.delete(JOBS, "j", version="1")

    def test_dry_run(self, cluster: Simulated) -> None:
        cluster.create(JOBS, job("j", IMAGE))
        cluster.delete(JOBS, "j", policy="Background", dry_run=True)
        assert cluster.get(JOBS, "j") is not None

    def test_first_namespaces_stay(self, cluster: Simulated) -> None:
        with pytest.raises(ApiError, match="this namespace may not be deleted"):
            cluster.delete(NAMESPACES, "kube-system")


class TestPriority:
    def test_pods_of_a_priority_that_does_not_exist_are_refused(self, cluster: Simulated) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["priorityClassName"] = "low"
        cluster.create(JOBS, wanted)
        cluster.wait(1)
        assert cluster.pods("j") == []
        events = [item.obj for item in cluster.store.scan(EVENTS, NAMESPACE) if item.obj["reason"] == "FailedCreate"]
        assert events
        assert all(
            event["message"].endswith("is forbidden: no PriorityClass with name low was found") for event in events
        )

    def test_pods_of_a_priority_that_exists_are_made(self, cluster: Simulated) -> None:
        cluster.create(PRIORITYCLASSES, {"metadata": {"name": "low"}, "value": -1000})
        wanted = job("j", IMAGE)
        pod_of(wanted)["priorityClassName"] = "low"
        cluster.create(JOBS, wanted)
        cluster.wait(1)
        assert len(cluster.pods("j")) == 1


class TestLimits:
    @pytest.mark.parametrize(
        "spec",
        [
            {"completionMode": "Indexed", "completions": 2},
            {"podFailurePolicy": {"rules": []}},
            {"backoffLimitPerIndex": 1},
        ],
    )
    def test_unusual_jobs_are_refused_aloud(self, cluster: Simulated, spec: dict[str, Any]) -> None:
        with pytest.raises(ApiError) as raised:
            cluster.create(JOBS, job("j", IMAGE, **spec))
        assert raised.value.code == 501

    @pytest.mark.parametrize(
        ("field", "value"), [("livenessProbe", {}), ("restartPolicy", "Always"), ("lifecycle", {"preStop": {}})]
    )
    def test_unusual_containers_are_refused_aloud(self, cluster: Simulated, field: str, value: Any) -> None:
        wanted = job("j", IMAGE)
        pod_of(wanted)["containers"][0][field] = value
        with pytest.raises(ApiError) as raised:
            cluster.create(JOBS, wanted)
        assert raised.value.code == 501

    def test_other_quotas_are_refused_aloud(self, cluster: Simulated) -> None:
        with pytest.raises(ApiError) as raised:
            cluster.create(RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1"}}})
        assert raised.value.code == 501

    def test_daemonsets_are_not_rolled(self, cluster: Simulated) -> None:
        labels = {"app": "ds"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": IMAGE}]}}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        now = cluster.create(DAEMONSETS, {"metadata": {"name": "ds"}, "spec": spec})
        changed = {**now["spec"], "template": {**now["spec"]["template"], "metadata": {"labels": {**labels, "x": "y"}}}}
        with pytest.raises(ApiError) as raised:
            cluster.registry.update(DAEMONSETS, (NAMESPACE, "ds"), {**now, "spec": changed})
        assert raised.value.code == 501


TARGET: dict[str, Any] = {"metadata": {"labels": {"a": "1", "b": "2"}}, "status": {"conditions": [{"type": "x"}]}}


class TestPatches:
    def test_merge_patch_deletes_by_null_and_replaces_lists(self) -> None:
        patch = {"metadata": {"labels": {"a": None, "c": "3"}}, "status": {"conditions": []}}
        assert patches.apply(patches.MERGE, TARGET, patch) == {
            "metadata": {"labels": {"b": "2", "c": "3"}},
            "status": {"conditions": []},
        }

    def test_strategic_merge_joins_lists_by_key(self) -> None:
        patch = {"status": {"conditions": [{"type": "y"}, {"type": "x", "status": "True"}]}}
        patched = patches.apply(patches.STRATEGIC, TARGET, patch)
        assert patched["status"]["conditions"] == [{"type": "x", "status": "True"}, {"type": "y"}]

    def test_json_patch(self) -> None:
        patch = [
            {"op": "test", "path": "/metadata/labels/a", "value": "1"},
            {"op": "add", "path": "/metadata/labels/x~1y", "value": "3"},
            {"op": "remove", "path": "/metadata/labels/b"},
            {"op": "add", "path": "/status/conditions/-", "value": {"type": "y"}},
        ]
        patched = patches.apply(patches.JSON_PATCH, TARGET, patch)
        assert patched["metadata"]["labels"] == {"a": "1", "x/y": "3"}
        assert patched["status"]["conditions"] == [{"type": "x"}, {"type": "y"}]
        assert TARGET["status"]["conditions"] == [{"type": "x"}]

    def test_json_patch_whose_test_fails(self) -> None:
        with pytest.raises(ApiError) as raised:
            patches.apply(patches.JSON_PATCH, TARGET, [{"op": "test", "path": "/metadata/labels/a", "value": "9"}])
        assert raised.value.code == 422

    def test_server_side_apply_is_refused_aloud(self) -> None:
        with pytest.raises(ApiError) as raised:
            patches.apply("application/apply-patch+yaml", TARGET, {})
        assert raised.value.code == 501


def test_access_review_as_kubectl_sends_it() -> None:
    attributes = b"\x0a\x03ips\x12\x06create\x1a\x05batch\x2a\x04jobs"
    spec = b"\x0a" + bytes([len(attributes)]) + attributes
    review = b"\x0a\x00\x12" + bytes([len(spec)]) + spec
    body = b"k8s\x00\x0a\x00\x12" + bytes([len(review)]) + review
    assert protobuf.access_review(body) == {
        "spec": {"resourceAttributes": {"namespace": "ips", "verb": "create", "group": "batch", "resource": "jobs"}}
    }


def test_events_that_repeat_are_counted(cluster: Simulated) -> None:
    node = cluster.need(NODES, "node-00001")
    for _ in range(3):
        cluster.plane.events.record(NODES, node, "Rebooted", "again", component="kubelet")
        cluster.wait(1)
    (event,) = [item.obj for item in cluster.store.scan(EVENTS)]
    assert event["count"] == 3
    assert event["firstTimestamp"] < event["lastTimestamp"]


def test_events_go_after_an_hour(cluster: Simulated) -> None:
    node = cluster.need(NODES, "node-00001")
    cluster.plane.events.record(NODES, node, "Old", "old", component="kubelet")
    cluster.wait(3601)
    cluster.plane.events.record(NODES, node, "New", "new", component="kubelet")
    assert [item.obj["reason"] for item in cluster.store.scan(EVENTS)] == ["New"]


def test_kinds_without_a_namespace_live_outside_of_them(cluster: Simulated) -> None:
    cluster.create(CLUSTERROLES, {"metadata": {"name": "r"}, "rules": []})
    assert "namespace" not in cluster.need(CLUSTERROLES, "r")["metadata"]
    assert cluster.store.count(PODS, NAMESPACE) == 0
