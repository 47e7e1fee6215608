"""Who may do what, what pods may ask for, and which requests go wrong."""

import random
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.local.cluster import podsecurity
from deploy.local.cluster.clock import ManualClock
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.faults import Faults, answer
from deploy.local.cluster.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES, NODES, ROLEBINDINGS, ROLES, Kind
from deploy.local.cluster.rbac import ANONYMOUS, Action, Authorizer, user
from deploy.local.cluster.scenario import Fault, Scenario
from tests.unit.cluster_sim.simulated import NAMESPACE, Simulated

ALICE = user("alice")
CREATE_JOBS = Action("create", "batch", "jobs", NAMESPACE)


class TestRbac:
    def granted(self, role: Kind, binding: Kind, subject: dict[str, str], **rule: list[str]) -> Authorizer:
        cluster = Simulated()
        rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"], **rule}]
        cluster.create(role, {"metadata": {"name": "r"}, "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": role.kind, "name": "r"}
        cluster.create(binding, {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]})
        return Authorizer(cluster.store)

    def test_role_counts_in_its_namespace_only(self) -> None:
        authorizer = self.granted(ROLES, ROLEBINDINGS, {"kind": "User", "name": "alice"})
        assert authorizer.decide(ALICE, CREATE_JOBS)[0]
        assert not authorizer.decide(ALICE, Action("create", "batch", "jobs", "default"))[0]
        assert not authorizer.decide(ALICE, Action("delete", "batch", "jobs", NAMESPACE))[0]
        assert not authorizer.decide(ALICE, Action("create", "batch", "jobs/status", NAMESPACE))[0]
        assert not authorizer.decide(user("bob"), CREATE_JOBS)[0]

    def test_cluster_role_bound_in_a_namespace(self) -> None:
        authorizer = self.granted(CLUSTERROLES, ROLEBINDINGS, {"kind": "Group", "name": "system:authenticated"})
        assert authorizer.decide(ALICE, CREATE_JOBS) == (
            True,
            'RBAC: allowed by RoleBinding "b/ips" of ClusterRole "r" to Group "system:authenticated"',
        )
        assert not authorizer.decide(ALICE, Action("create", "batch", "jobs", "default"))[0]

    def test_cluster_role_bound_everywhere(self) -> None:
        authorizer = self.granted(CLUSTERROLES, CLUSTERROLEBINDINGS, {"kind": "User", "name": "alice"})
        assert authorizer.decide(ALICE, Action("create", "batch", "jobs", "default"))[0]

    def test_names_narrow_a_rule(self) -> None:
        subject = {"kind": "User", "name": "alice"}
        authorizer = self.granted(ROLES, ROLEBINDINGS, subject, verbs=["get"], resourceNames=["one"])
        assert authorizer.decide(ALICE, Action("get", "batch", "jobs", NAMESPACE, "one"))[0]
        assert not authorizer.decide(ALICE, Action("get", "batch", "jobs", NAMESPACE, "two"))[0]

    def test_wildcards(self) -> None:
        everything = {"verbs": ["*"], "resources": ["*"], "apiGroups": ["*"]}
        authorizer = self.granted(CLUSTERROLES, CLUSTERROLEBINDINGS, {"kind": "User", "name": "alice"}, **everything)
        assert authorizer.decide(ALICE, Action("delete", "", "nodes", name="x"))[0]

    def test_paths(self) -> None:
        authorizer = Authorizer(Simulated().store)
        assert authorizer.decide_path(ANONYMOUS, "/version")
        assert not authorizer.decide_path(ANONYMOUS, "/apis")
        assert authorizer.decide_path(ALICE, "/apis/batch/v1")
        assert not authorizer.decide_path(ALICE, "/sim/faults")

    def test_refusal_at_the_cluster_scope(self) -> None:
        with pytest.raises(ApiError, match='User "alice" cannot list resource "nodes" in API group "" at the cluster'):
            Authorizer(Simulated().store).check(ALICE, NODES, Action("list", "", "nodes"))


GOOD_POD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "a", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "i", "image": {"reference": "x"}}],
}


class TestPodSecurity:
    def test_careful_pod_is_restricted(self) -> None:
        assert podsecurity.violations("restricted", GOOD_POD) == ""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
            ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "h")'),
            (
                {"volumes": [{"name": "n", "nfs": {}}]},
                'restricted volume types (volume "n" uses restricted volume type "nfs")',
            ),
            (
                {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
                'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
            ),
            (
                {"securityContext": {"runAsNonRoot": True}},
                'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault"',
            ),
        ],
    )
    def test_each_violation_is_named(self, change: dict[str, Any], said: str) -> None:
        assert said in podsecurity.violations("restricted", {**GOOD_POD, **change})

    def test_baseline_is_less_strict(self) -> None:
        plain = {"containers": [{"name": "a"}]}
        assert podsecurity.violations("baseline", plain) == ""
        assert podsecurity.violations("privileged", {"hostPID": True, **plain}) == ""
        assert podsecurity.violations("baseline", {"hostPID": True, **plain}) == "host namespaces (hostPID=true)"

    def test_warning_follows_the_enforced_level(self) -> None:
        prefix = "pod-security.kubernetes.io/"
        assert podsecurity.levels({prefix + "enforce": "baseline"}) == ("baseline", "baseline")
        assert podsecurity.levels({prefix + "warn": "restricted"}) == ("privileged", "restricted")


class TestFaults:
    def test_a_fault_hits_what_it_matches(self) -> None:
        faults = Faults(ManualClock(), random.Random(0))
        faults.add(Fault(verbs=["create"], resources=["jobs"], status=429, retry_after=3))
        assert faults.strike("ips", "list", "jobs") == []
        (struck,) = faults.strike("ips", "create", "jobs")
        refusal = answer(struck)
        assert refusal is not None
        assert (refusal.code, refusal.reason, refusal.retry_after) == (429, "TooManyRequests", 3)

    def test_a_fault_is_over_after_some_times(self) -> None:
        faults = Faults(ManualClock(), random.Random(0))
        faults.add(Fault(times=2, status=503))
        assert [len(faults.strike("u", "get", "pods")) for _ in range(3)] == [1, 1, 0]

    def test_a_fault_is_over_after_some_time(self) -> None:
        clock = ManualClock()
        faults = Faults(clock, random.Random(0))
        faults.add(Fault(seconds=5, drop="before"))
        clock.advance(4)
        assert len(faults.strike("u", "get", "pods")) == 1
        clock.advance(2)
        assert not faults.strike("u", "get", "pods")

    def test_a_share_of_the_requests(self) -> None:
        faults = Faults(ManualClock(), random.Random(1))
        faults.add(Fault(share=0.25, status=500))
        struck = sum(bool(faults.strike("u", "get", "pods")) for _ in range(1000))
        assert 180 < struck < 320

    def test_a_new_fault_of_the_name_takes_the_place_of_the_old(self) -> None:
        faults = Faults(ManualClock(), random.Random(0))
        faults.add(Fault(status=500))
        faults.add(Fault(status=504))
        assert [fault.status for fault in faults.listed()] == [504]

    def test_scenarios_refuse_what_they_do_not_know(self) -> None:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            Scenario.model_validate({"images": [{"pattern": "*", "sloow": True}]})
