"""A short walk of the explorer; `make model` is the long one."""

from tests.model.explorer import explore


def test_nothing_is_lost_and_nothing_is_twice_whatever_happens() -> None:
    explore(examples=100, steps=40)
