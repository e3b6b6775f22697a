from __future__ import annotations

import re

import pytest

from harness.errors import UsageError
from launch.matrix.budget import BUDGET_PATTERN, Budget, parse_budget
from launch.matrix.matrix import make_matrix


@pytest.mark.parametrize(
    ("text", "kind", "amount", "shown"),
    [
        ("2h", "time_s", 7200, "2 h"),
        ("30m", "time_s", 1800, "30 min"),
        ("30 min", "time_s", 1800, "30 min"),
        ("1h30m", "time_s", 5400, "1.5 h"),
        ("1d 12h", "time_s", 129_600, "36 h"),
        ("0.5s", "time_s", 0.5, "0.5 s"),
        ("1.5 PFLOP", "flops", 1.5e15, "1.5 PFLOP"),
        ("500TFLOPs", "flops", 5e14, "500 TFLOP"),
        ("1e3 GFLOP", "flops", 1e12, "1 TFLOP"),
        ("2 EFLOP", "flops", 2e18, "2000 PFLOP"),
        ("500 kJ", "energy_j", 5e5, "500 kJ"),
        (" 0.2 kWh ", "energy_j", 7.2e5, "720 kJ"),
        ("3 Wh", "energy_j", 10_800, "10.8 kJ"),
        ("70 J", "energy_j", 70, "70 J"),
    ],
)
def test_a_budget_is_a_time_compute_or_energy(text: str, kind: str, amount: float, shown: str) -> None:
    budget = parse_budget(text)
    assert budget.kind == kind
    assert budget.amount == pytest.approx(amount)
    assert str(budget) == shown
    assert re.fullmatch(BUDGET_PATTERN, text)


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "2 parsecs", "1.5 PFLOPS", "5 mJ", "2H", "-1h", "1e999 J", "nan h", "1.2.3h", 2, None],
)
def test_anything_else_is_refused_with_what_is_expected(text: object) -> None:
    with pytest.raises(UsageError, match=r"^budget .*: expected "):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0h", "0 PFLOP", "0.0 kJ"])
def test_a_budget_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="above 0"):
        parse_budget(text)


def test_a_matrix_has_its_budget_as_a_value() -> None:
    assert make_matrix({"budget": "2h"}).budget == Budget("time_s", 7200)
    assert make_matrix({}).budget is None
