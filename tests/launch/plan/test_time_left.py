from __future__ import annotations

from pathlib import Path

import pytest

from harness.cell import CellSpec
from launch.plan.estimates import Machine
from launch.plan.plan import STATES, Plan, PlannedCell, Totals
from launch.plan.time_left import TimeLeft
from launch.plan.workload import Basis, Figure
from tests.launch.plan.run_folders import digits_cell


def plan_of(*seconds: float | None, jobs: int = 1, basis: Basis = "same_cell") -> tuple[Plan, list[CellSpec]]:
    """Cells of a plan with these seconds and 100 FLOPs each; every process takes one second to start."""
    cells = [digits_cell(seed=seed) for seed in range(len(seconds))]
    planned = [
        PlannedCell(
            cell,
            cell.cell_id,
            "new",
            None,
            "",
            Figure(100, "counted", ""),
            Figure(value, None if value is None else basis, ""),
            1.0,
        )
        for cell, value in zip(cells, seconds, strict=True)
    ]
    totals = Totals(dict.fromkeys(STATES, 0), len(cells), None, 0, 0, 0, 0, 0)
    return Plan(Path("runs"), Machine("here", "cpu"), jobs, 1.0, planned, [], totals), cells


def test_at_first_the_plan_counts() -> None:
    plan, cells = plan_of(9, 9, 19)
    assert TimeLeft(plan).estimate_s({}) == 40
    left = TimeLeft(plan_of(9, 9, 19, jobs=2)[0])
    assert left.estimate_s({}) == 20
    assert left.estimate_s({cells[0].cell_id: (4.0, None)}) == (6 + 30) / 2
    assert left.estimate_s({cells[0].cell_id: (40.0, None)}) == 30 / 2  # late already


def test_the_longest_running_cell_is_waited_for() -> None:
    plan, cells = plan_of(9, 99, jobs=2)
    assert TimeLeft(plan).estimate_s({cells[1].cell_id: (10.0, None), cells[0].cell_id: (5.0, None)}) == 90


def test_a_running_cell_tells_by_its_own_speed() -> None:
    plan, cells = plan_of(9)
    left = TimeLeft(plan)
    assert left.estimate_s({cells[0].cell_id: (30.0, 0.25)}) == 90
    assert left.estimate_s({cells[0].cell_id: (2.0, 0.01)}) == 8  # too early to tell


def test_the_plan_is_corrected_by_what_cells_really_took() -> None:
    plan, cells = plan_of(9, 9, 9)
    left = TimeLeft(plan)
    left.ended(cells[0], seconds=15)
    assert left.estimate_s({}) == pytest.approx(30)
    left.drop(cells[1])
    assert left.estimate_s({}) == pytest.approx(15)
    left.ended(cells[2], seconds=15)
    assert left.estimate_s({}) == 0


@pytest.mark.parametrize("basis", [None, "lower_bound"])
def test_without_a_plan_nothing_is_known_until_a_cell_has_finished(basis: Basis | None) -> None:
    plan, cells = plan_of(*([None] * 3 if basis is None else [1.0] * 3), basis=basis or "counted")
    left = TimeLeft(plan)
    assert left.estimate_s({}) is None
    assert left.estimate_s({cells[0].cell_id: (3.0, None)}) is None
    left.ended(cells[0], seconds=20)
    assert left.estimate_s({}) == 40


def test_other_models_take_as_long_as_their_compute_says() -> None:
    plan, cells = plan_of(None)
    large = digits_cell("simple_cnn")
    planned = PlannedCell(
        large, large.cell_id, "new", None, "", Figure(700, "counted", ""), Figure(None, None, ""), 1.0
    )
    left = TimeLeft(Plan(plan.out, plan.machine, 1, None, [*plan.cells, planned], [], plan.totals))
    left.ended(cells[0], seconds=10)
    assert left.estimate_s({}) == pytest.approx(70)


def test_a_cell_of_another_plan_changes_nothing() -> None:
    plan, _ = plan_of(9)
    left = TimeLeft(plan)
    left.ended(digits_cell(seed=77), seconds=1000)
    left.drop(digits_cell(seed=78))
    assert left.estimate_s({}) == 10


def test_only_what_is_to_be_run_counts() -> None:
    plan, cells = plan_of(9, 19)
    assert TimeLeft(plan, {cells[1].cell_id}).estimate_s({}) == 20
