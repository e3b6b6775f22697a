from __future__ import annotations

import pytest

from harness.errors import UsageError
from launch.budget import Spending, flops_of_epochs
from launch.matrix.budget import parse_budget


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_time_is_that_on_the_clock_since_the_command_began() -> None:
    clock = Clock()
    spending = Spending(parse_budget("2h"), clock)
    assert (spending.spent, spending.left) == (0, 7200)
    spending.charge(1e18)
    clock.now += 7199
    assert spending.over() is None
    assert (spending.spent, spending.left) == (7199, 1)
    clock.now += 3601
    assert spending.left == 0
    assert spending.over() == "the budget is spent: 3 h of 2 h"


def test_compute_is_what_the_attempts_were_charged_with() -> None:
    clock = Clock()
    spending = Spending(parse_budget("3 TFLOP"), clock)
    clock.now += 1e9
    spending.charge(1e12)
    spending.charge(1.5e12)
    assert (spending.spent, spending.left) == (2.5e12, 0.5e12)
    assert spending.over() is None
    spending.charge(0.5e12)
    assert spending.over() == "the budget is spent: 3 TFLOP of 3 TFLOP"


def test_there_is_room_for_what_fits_into_the_rest() -> None:
    spending = Spending(parse_budget("10 GFLOP"))
    spending.charge(4e9)
    assert [spending.has_room_for(expected) for expected in (6e9, 6.1e9, None)] == [True, False, True]
    spending.charge(6e9)
    assert [spending.has_room_for(expected) for expected in (0.0, None)] == [False, False]


def test_energy_is_refused_while_nothing_measures_it() -> None:
    with pytest.raises(UsageError, match=r"^budget of 500 kJ: no energy is measured yet: use a time .*$"):
        Spending(parse_budget("500 kJ"))


def test_the_compute_of_some_epochs_is_their_share() -> None:
    assert flops_of_epochs(9e12, 1, 3, 9) == 2e12
    assert sum(flops_of_epochs(7e12, begin, begin + 1, 7) for begin in range(7)) == pytest.approx(7e12)
