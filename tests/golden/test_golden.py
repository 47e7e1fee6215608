"""Every recorded step, against a simulated cluster of the recorded size."""

import pytest

from deploy.local.cluster.running import running_cluster
from tests.golden.normalize import Normalizer, differences
from tests.golden.recordings import Step, steps
from tests.golden.replay import NODES, SCENARIO, Replay

STEPS = steps()


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What differs, by step; the steps build on each other, so all of them run once, in order."""
    with running_cluster(tmp_path_factory.mktemp("golden"), nodes=NODES, scenario=SCENARIO) as cluster:
        return {result.step.id: result.differences for result in Replay(cluster).run(STEPS)}


def test_all_recordings_are_there() -> None:
    assert len(STEPS) == 97


@pytest.mark.parametrize("step", STEPS, ids=[step.id for step in STEPS])
def test_answer_is_the_recorded_one(step: Step, replayed: dict[str, list[str]]) -> None:
    assert replayed[step.id] == []


class TestComparison:
    """The comparison itself: it forgives variable parts and nothing else."""

    def test_variable_parts_are_forgiven(self) -> None:
        recorded = {"uid": "f497d1b3-fdb8-44db-840e-38f79cdf2048", "resourceVersion": "33154", "name": "life-xvz6b"}
        found = {"uid": "958d39d8-8379-4757-b454-ea804515d38d", "resourceVersion": "7", "name": "life-zpq4f"}
        assert differences(Normalizer().value(recorded), Normalizer().value(found)) == []

    def test_the_same_uid_has_to_turn_up_where_it_was_recorded(self) -> None:
        one, two = "f497d1b3-fdb8-44db-840e-38f79cdf2048", "958d39d8-8379-4757-b454-ea804515d38d"
        recorded, found = {"owner": one, "uid": one}, {"owner": one, "uid": two}
        assert differences(Normalizer().value(recorded), Normalizer().value(found)) != []

    @pytest.mark.parametrize(
        ("recorded", "found"),
        [
            ({"active": 1}, {}),
            ({}, {"active": 0}),
            ({"succeeded": 1}, {"succeeded": True}),
            ({"reason": "Conflict"}, {"reason": "AlreadyExists"}),
            ({"items": [1, 2]}, {"items": [2, 1]}),
            ({"resourceVersion": "abc"}, {"resourceVersion": "1"}),
            ({"message": "0/1000 nodes are available"}, {"message": "0/10 nodes are available"}),
        ],
    )
    def test_everything_else_is_a_difference(self, recorded: object, found: object) -> None:
        assert differences(Normalizer().value(recorded), Normalizer().value(found)) != []
