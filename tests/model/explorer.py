"""Exploring: hypothesis chooses, again and again, what happens in a new world."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine


def explore(examples: int, steps: int, *, seed: int | None = None, shrink: bool = True) -> None:
    """Explore; the same every time without a seed.

    Args:
        examples: how many lives of the world.
        steps: how much may happen in each, at most.
        seed: where to look.
        shrink: whether to make what goes wrong short before telling, which may take minutes.

    Raises:
        AssertionError: something went wrong; the notes say what led to it.
    """
    run_state_machine_as_test(
        Machine if seed is None else seeded(seed)(Machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=seed is None,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
