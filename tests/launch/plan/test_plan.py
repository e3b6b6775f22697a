from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.cell import CellSpec
from harness.live import Live, write_live
from launch.claim import Claims
from launch.plan.as_json import plan_json
from launch.plan.estimates import Machine
from launch.plan.plan import STATES, Plan, PlannedCell, Totals, make_plan, schedule_s
from launch.plan.view import MOST_ROWS, print_plan, summary
from launch.plan.workload import Figure
from tests.launch.plan.run_folders import (
    digits_cell,
    edit_record,
    write_cell,
    write_checkpoint,
    write_failure,
    write_run,
)

ROOT = Path(__file__).parents[3]
HERE = Machine("here", "cpu")
NUM_STEPS = 6 * (1294 // 64)


def plan_of(cells: list[CellSpec], out: Path, jobs: int = 1, **excluded: CellSpec) -> Plan:
    pairs = [(cell, reason) for reason, cell in excluded.items()]
    return make_plan(cells, pairs, out, jobs=jobs, machine=HERE, estimate=False)


def by_id(plan: Plan) -> dict[str, PlannedCell]:
    return {planned.cell_id: planned for planned in plan.cells}


def shown(plan: Plan, width: int = 80, show_all: bool = False) -> str:
    console = Console(width=width, file=io.StringIO())
    print_plan(plan, console, show_all)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def live(step: int, pid: int, phase: str = "train") -> Live:
    return Live(
        phase=phase,
        epoch=step // 20,
        epochs=6,
        step=step,
        steps=NUM_STEPS,
        train_loss=None,
        val_accuracy=None,
        images_per_s=None,
        resident_mib=None,
        time=time.time(),
        pid=pid,
        host=socket.gethostname(),
    )


def test_each_cell_has_its_state_and_what_is_left_of_it(tmp_path: Path) -> None:
    cells = [digits_cell(seed=seed) for seed in range(7)]
    finished, failed, pruned, paused, running, unreadable, new = cells
    write_run(tmp_path, finished, train_time_s=9)
    write_failure(tmp_path, failed, kind="out_of_memory", message="too large")
    write_failure(tmp_path, pruned, kind="pruned", message="place 7 of 9")
    write_checkpoint(write_cell(tmp_path, paused), step=NUM_STEPS // 4)
    write_live(write_cell(tmp_path, running), live(NUM_STEPS // 2, os.getpid()))
    edit_record(write_run(tmp_path, unreadable), schema_version=9)

    plan = plan_of(cells, tmp_path, another_reason=new)
    found = by_id(plan)

    states = [found[cell.cell_id].state for cell in cells]
    assert states == ["finished", "failed", "pruned", "paused", "running", "unreadable", "new"]
    assert (found[failed.cell_id].kind, found[failed.cell_id].reason) == ("out_of_memory", "too large")
    assert (found[finished.cell_id].time_s.value, found[finished.cell_id].time_left_s) == (12, 0)
    assert found[paused.cell_id].share_left == 0.75
    assert found[paused.cell_id].time_left_s == 0.75 * 12
    assert found[running.cell_id].share_left == 0.5
    assert found[new.cell_id].time_left_s == 12
    totals = plan.totals
    assert totals.num_by_state == dict.fromkeys(states, 1)
    assert totals.num_to_run == 4  # without what runs and what cannot be read
    assert totals.time_left_s == 3 * 12 + 0.75 * 12
    whole = found[finished.cell_id].flops.value
    assert whole is not None
    assert totals.flops_left == 3.75 * whole
    assert totals.flops_finished == whole


def test_what_an_other_launcher_has_claimed_is_running(tmp_path: Path) -> None:
    failed_before, new = digits_cell(), digits_cell(seed=1)
    write_failure(tmp_path, failed_before)
    write_cell(tmp_path, new)
    claims = Claims(tmp_path)
    assert claims.try_claim(failed_before.cell_id)
    assert claims.try_claim(new.cell_id)
    assert [cell.state for cell in plan_of([failed_before, new], tmp_path).cells] == ["running", "running"]
    claims.release_all()
    assert [cell.state for cell in plan_of([failed_before, new], tmp_path).cells] == ["failed", "new"]


@pytest.mark.parametrize("phase", ["train", "paused"])
def test_what_has_died_or_waits_is_not_running(tmp_path: Path, phase: str) -> None:
    cell = digits_cell()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    pid = dead.pid if phase == "train" else os.getpid()
    write_live(write_cell(tmp_path, cell), live(10, pid, phase))
    assert plan_of([cell], tmp_path).cells[0].state == "new"


def test_nothing_is_written_for_a_plan_without_runs(tmp_path: Path) -> None:
    plan = plan_of([digits_cell()], tmp_path / "runs")
    assert plan.cells[0].state == "new"
    assert plan.totals.time_left_s is None
    assert not (tmp_path / "runs").exists()


def test_cells_without_a_figure_are_counted_and_the_others_added_up(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    cells = [digits_cell(seed=1), digits_cell("simple_cnn"), digits_cell("resnet20")]
    totals = plan_of(cells, tmp_path).totals
    assert (totals.num_to_run, totals.num_without_time, totals.num_without_flops) == (3, 2, 2)
    assert totals.time_left_s == 13


@pytest.mark.parametrize(
    ("durations", "jobs", "seconds"),
    [
        ([], 2, 0),
        ([(5, 1)], 3, 5),
        ([(4, 1), (3, 1), (2, 1)], 1, 9),
        ([(4, 1), (3, 1), (2, 1)], 2, 5),
        ([(1, 1), (1, 1), (8, 1)], 2, 9),
        ([(4, 2), (3, 1), (3, 1)], 2, 7),  # the first takes both places
        ([(3, 1), (4, 2), (1, 1)], 2, 8),  # the second waits for both
        ([(4, 9)], 2, 4),
    ],
)
def test_cells_start_as_soon_as_there_is_room(
    durations: list[tuple[float, int]], jobs: int, seconds: float
) -> None:
    assert schedule_s(durations, jobs) == seconds


def test_a_few_cells_are_shown_one_by_one(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    write_failure(tmp_path, digits_cell(seed=1), kind="out_of_memory")
    cells = [digits_cell(seed=seed) for seed in range(3)] + [digits_cell("simple_cnn", recipe="fast")]
    text = shown(plan_of(cells, tmp_path))
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines[: len(cells) + 2])
    assert "mlp none fp32 seed 0" in text
    assert "failed: out of memory" in text
    assert "seeds: from runs here that differ in the seed at most." in text
    assert "no time or compute (1 cell): its compute has not been counted, as --no-estimate says" in text
    assert "4 cells: 1 finished, 1 failed before (1 out of memory), 2 new" in text
    assert "to run: 3 cells, about 26 s for the 2 that have an estimate" in text


def test_many_cells_are_grouped_unless_all_are_asked_for(tmp_path: Path) -> None:
    cells = [digits_cell(model, seed=seed) for model in ("mlp", "simple_cnn") for seed in range(MOST_ROWS)]
    write_run(tmp_path, cells[0], train_time_s=600)
    plan = plan_of(cells, tmp_path)
    lines = shown(plan).splitlines()
    rows = [line.split() for line in lines if line.startswith(("mlp", "simple_cnn"))]
    assert rows[0][:4] == ["mlp", "demo", "1", "39"]
    assert rows[0][4:] == ["6", "h", "32", "min", "300", "MFLOP", "seeds"]
    assert rows[1] == ["simple_cnn", "demo", "40", "?", "?"]
    assert len(shown(plan, show_all=True).splitlines()) > len(cells)


@pytest.mark.parametrize("width", [50, 80, 200])
def test_names_from_files_are_shown_as_they_are_and_the_table_fits(tmp_path: Path, width: int) -> None:
    cells = [digits_cell(dataset="imagefolder:x", model="timm:[red]a\x1b[31mb[/red]", seed=s) for s in (0, 1)]
    plan = make_plan(cells, [(cells[0], "[bold]why\x07")], tmp_path, machine=HERE, estimate=False)
    text = shown(plan, width)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]why?" in text
    lines = text.splitlines()[: len(cells) + 2]
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert "timm:[red]a?[31mb[/red]" in text


def test_a_lower_bound_is_marked_as_one(tmp_path: Path) -> None:
    cell = digits_cell()
    bound = Figure(3600.0, "lower_bound", "at the whole measured peak")
    planned = PlannedCell(cell, cell.cell_id, "new", None, "", Figure(1e15, "counted", ""), bound, 1.0)
    counts = dict.fromkeys(STATES, 0) | {"new": 1}
    totals = Totals(counts, 1, 3600.0, 0, 1, 1e15, 0, 0.0)
    plan = Plan(tmp_path, HERE, 2, 3.0, [planned], [], totals)
    assert "≥ 60 min" in shown(plan)
    assert summary(plan)[1] == "to run: 1 cell, 2 at once, at least 60 min; 1.00 PFLOP of training"


def test_the_json_has_the_fields_that_are_documented(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    write_failure(tmp_path, digits_cell(seed=1), kind="hung")
    plan = plan_of([digits_cell(seed=seed) for seed in range(3)], tmp_path, 2, too_slow=digits_cell(seed=9))
    content = json.loads(plan_json(plan))
    assert content["schema_version"] == 1
    assert content["totals"]["num_by_state"] == {
        "finished": 1,
        "failed": 1,
        "pruned": 0,
        "paused": 0,
        "running": 0,
        "unreadable": 0,
        "new": 1,
    }
    assert content["totals"]["time_left_s"] == 13  # two at once
    first, second, third = content["cells"]
    assert (first["state"], first["time_s"], first["time_left_s"]) == ("finished", 13, 0)
    assert (second["state"], second["failure_kind"], second["time_basis"]) == ("failed", "hung", "same_cell")
    assert (third["model"], third["recipe"], third["seed"], third["epochs"]) == ("mlp", "demo", 2, 6)
    assert third["train_flops"] == third["train_flops_left"] == first["train_flops"]
    assert content["excluded"][0]["reason"] == "too_slow"
    documented = str(plan_json.__doc__)
    names = [*content, *content["totals"], *first, *content["excluded"][0], *content["machine"]]
    assert [name for name in names if f"`{name}`" not in documented] == []


def test_a_plan_leaves_torch_alone(tmp_path: Path) -> None:
    code = (
        "import sys, launch.plan.plan, launch.plan.view, launch.plan.as_json; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n"
