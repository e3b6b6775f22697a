"""What a matrix would take: which cells are missing, how long they will run, how much they will compute.

    plan = make_plan(cells, excluded, Path("runs"), jobs=2)
    plan.totals.time_left_s

No torch here: what has to be counted or measured is, in a child process, and only once. `plan_view.py` shows
the plan.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.cell import CellSpec
from launch.plan.counts import Counts
from launch.plan.estimates import Estimator, Machine, this_machine
from launch.plan.facts import CellState
from launch.plan.states import scan_runs
from launch.plan.workload import DataSize, Figure
from launch.screen.running import Running, find_running

State = Literal["finished", "failed", "pruned", "paused", "running", "unreadable", "new"]
STATES: tuple[State, ...] = ("finished", "failed", "pruned", "paused", "running", "unreadable", "new")
TO_RUN: tuple[State, ...] = ("new", "paused", "pruned", "failed")
"""What the launcher would run: the rest is done, is being done, or needs a person first."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell of the plan."""

    cell: CellSpec
    cell_id: str
    state: State
    """`failed`: an earlier attempt did, see `kind` and `reason`; `pruned`: stopped early by a budget;
    `paused`: it has a checkpoint; `running`: somebody works on it now; `unreadable`: it has a record that
    this version cannot read, see `reason`."""

    kind: str | None
    """Of an earlier failure."""

    reason: str
    flops: Figure
    time_s: Figure
    """From the beginning to the end, without the start of its process."""

    share_left: float
    """Of the work, from 0 to 1."""

    @property
    def time_left_s(self) -> float | None:
        """Seconds of work that are left."""
        return 0.0 if self.share_left == 0 else _times(self.time_s.value, self.share_left)

    @property
    def flops_left(self) -> float | None:
        """Training FLOPs that are left."""
        return 0.0 if self.share_left == 0 else _times(self.flops.value, self.share_left)


@dataclass(frozen=True)
class Totals:
    """Over the cells of a plan."""

    num_by_state: dict[State, int]
    num_to_run: int
    time_left_s: float | None
    """Until all that is to be run has run, so many at once; None where no cell has an estimate."""

    num_without_time: int
    """Cells to run that are missing in it."""

    num_lower_bounds: int
    """Cells to run that count in it as if they reached the peak of the machine."""

    flops_left: float
    """Of the training of the cells to be run."""

    num_without_flops: int
    """Cells to run that are missing in it."""

    flops_finished: float
    """Of the training of the finished cells."""


@dataclass(frozen=True)
class Plan:
    """What a matrix would take."""

    out: Path
    machine: Machine
    jobs: int
    """Cells at once."""

    start_s: float | None
    """Seconds that each cell's process takes to start; None where nobody has measured it, and then the time
    left lacks it."""

    cells: list[PlannedCell]
    excluded: list[tuple[CellSpec, str]]
    """Cells that the matrix leaves out, each with the reason."""

    totals: Totals


def make_plan(
    cells: Sequence[CellSpec],
    excluded: Sequence[tuple[CellSpec, str]],
    out: Path,
    *,
    jobs: int = 1,
    machine: Machine | None = None,
    sizes: Mapping[str, DataSize] | None = None,
    estimate: bool = True,
    width: Callable[[CellSpec], int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Plan the cells of a matrix.

    Args:
        cells: in the order in which they will run.
        excluded: cells that the matrix leaves out, each with the reason.
        out: folder of the runs.
        jobs: cells at once.
        machine: where they will run; None: here, on the GPUs if there are any.
        sizes: of data sets by name, where they have been loaded.
        estimate: whether a child process may be started to count and to measure what no run has told.
        width: how many of the `jobs` a cell takes up; None: one, or on GPUs one for each process.
        say: is told, in one line, what takes seconds.

    Raises:
        UsageError: `out` cannot be read.
    """
    machine = machine or this_machine(jobs)
    on_gpu = machine.device_type == "cuda"
    width = width or (lambda cell: cell.num_processes if on_gpu else 1)
    states = scan_runs(out)
    counts = Counts(not on_gpu, None if on_gpu else machine.cores, estimate, say)
    estimator = Estimator(states.values(), machine, counts, sizes)
    ids = [cell.cell_id for cell in cells]
    open_states = {cell_id: states[cell_id] for cell_id in ids if cell_id in states}
    running = find_running(out, open_states)
    estimator.prepare(
        cell
        for cell_id, cell in zip(ids, cells, strict=True)
        if cell_id not in states or states[cell_id].status != "finished"
    )
    planned = [
        _plan_cell(cell, cell_id, states.get(cell_id), running.get(cell_id), estimator)
        for cell_id, cell in zip(ids, cells, strict=True)
    ]
    start_s = estimator.start_s()
    totals = _total(planned, jobs, start_s, width)
    return Plan(out, machine, jobs, start_s, planned, list(excluded), totals)


def schedule_s(durations: Iterable[tuple[float, int]], jobs: int) -> float:
    """Seconds until all is done, when each starts as soon as there is room for it, in the given order.

    Args:
        durations: seconds of each, and how many of the places it takes up.
        jobs: number of places.
    """
    free_at = [0.0] * max(1, jobs)
    end = 0.0
    for seconds, width in durations:
        taken = [heapq.heappop(free_at) for _ in range(min(width, len(free_at)))]
        done = taken[-1] + seconds
        for _ in taken:
            heapq.heappush(free_at, done)
        end = max(end, done)
    return end


def _plan_cell(
    cell: CellSpec, cell_id: str, found: CellState | None, running: Running | None, estimator: Estimator
) -> PlannedCell:
    facts = None if found is None else found.facts
    if found is not None and facts is not None:
        flops = Figure(facts.total_train_flops, "measured", "counted by this run")
        time = Figure(facts.wall_time_s, "measured", "this run")
        return PlannedCell(cell, cell_id, "finished", None, "", flops, time, 0.0)
    figures = estimator.of(cell)
    state = _state(found, running)
    kind = None if found is None else found.kind
    reason = "" if found is None else found.reason
    left = _share_left(cell, state, found, running, estimator)
    return PlannedCell(cell, cell_id, state, kind, reason, figures.flops, figures.time_s, left)


def _state(found: CellState | None, running: Running | None) -> State:
    if running is not None:
        return "running"
    if found is None or found.status == "unfinished":
        return "new"
    if found.status == "failed" and found.kind == "pruned":
        return "pruned"
    return found.status


def _share_left(
    cell: CellSpec,
    state: State,
    found: CellState | None,
    running: Running | None,
    estimator: Estimator,
) -> float:
    """Of the work of a cell that is not finished."""
    if running is not None and running.live is not None and running.live.steps > 0:
        return 1 - min(1.0, running.live.step / running.live.steps)
    if state == "paused" and found is not None and found.checkpoint_step is not None:
        load = estimator.workloads.load(cell)
        if load is not None and load.num_steps > 0:
            return 1 - min(1.0, found.checkpoint_step / load.num_steps)
    return 1.0


def _total(
    planned: list[PlannedCell], jobs: int, start_s: float | None, width: Callable[[CellSpec], int]
) -> Totals:
    to_run = [cell for cell in planned if cell.state in TO_RUN]
    times = [(cell.time_left_s, width(cell.cell)) for cell in to_run]
    known = [(seconds + (start_s or 0.0), places) for seconds, places in times if seconds is not None]
    flops = [cell.flops_left for cell in to_run]
    counts = Counter(cell.state for cell in planned)
    return Totals(
        num_by_state={state: counts[state] for state in STATES},
        num_to_run=len(to_run),
        time_left_s=schedule_s(known, jobs) if known or not to_run else None,
        num_without_time=len(times) - len(known),
        num_lower_bounds=sum(cell.time_s.basis == "lower_bound" for cell in to_run),
        flops_left=sum(value for value in flops if value is not None),
        num_without_flops=sum(value is None for value in flops),
        flops_finished=sum(cell.flops.value or 0.0 for cell in planned if cell.state == "finished"),
    )


def _times(value: float | None, share: float) -> float | None:
    return None if value is None else value * share
