"""What the commands of `python -m launch` do. No torch here."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from harness.cell import CellSpec
from harness.datasets.names import split_dataset_name
from harness.datasets.registry import load_dataset
from harness.errors import StorageError, UsageError
from harness.files import clear_temporaries, storage_error
from harness.pin import pin_data, pin_weights
from harness.settings import Settings
from launch.axes import Axes
from launch.budget import Spending
from launch.claim import Claims
from launch.cluster.options import check_cluster_options
from launch.cluster.ray_cluster import RayOptions
from launch.cluster.slurm_options import SlurmOptions
from launch.command import reproducing_command
from launch.gpus import list_gpus
from launch.halving_queue import HalvingQueue
from launch.job import Ended, Executor, Job
from launch.local import Limits, LocalExecutor
from launch.matrix.budget import Budget, parse_budget
from launch.matrix.cells import Expanded
from launch.matrix.files import read_matrix
from launch.matrix.matrix import Matrix, expand_matrix, with_overrides
from launch.outcome import keep_failure
from launch.pending import Plain, Queue
from launch.plan.estimates import this_machine
from launch.plan.plan import Plan, make_plan
from launch.scheduler import Policy, Scheduler
from launch.screen.watch import Watch
from launch.slots import find_slots
from launch.summary import Summary

SHUFFLE_SEED = 0
STALE_AFTER_S = 3600  # another launcher may be writing into the same folder


@dataclass(frozen=True)
class Asked:
    """Everything that was typed about how to run."""

    settings: Settings
    jobs: int | None = None
    gpus: str | None = None
    memory_mib: float | None = None
    timeout_s: float | None = None
    hang_s: float = 900
    budget: str | None = None
    retries: int = 1
    fail_fast: bool = False
    only_failed: bool = False
    shuffle: bool = False
    then: str | None = None
    executor: str = "local"
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    ray: RayOptions = field(default_factory=RayOptions)


def read_cells(name: str, axes: Axes, settings: Settings, load_data: bool) -> tuple[Matrix, Expanded]:
    """The matrix and its cells, named by their data and weights as the children will name them.

    With `load_data`, data sets are downloaded, decoded and checked now, once for all cells; without,
    only those that must be read to know what they are.

    Raises:
        VerdictError: the matrix, the data or the weights are not what they should be.
    """
    matrix = with_overrides(read_matrix(name), axes.axes, axes.fields)
    expanded = expand_matrix(matrix)
    pinned: dict[tuple[str, int], list[CellSpec]] = {}
    for cell in expanded.cells:
        pinned.setdefault((cell.dataset, cell.image_size), []).append(cell)
    cells = {
        id(cell): new
        for group in pinned.values()
        for cell, new in zip(group, _pin(group, settings, load_data), strict=True)
    }
    unique = {cells[id(cell)].cell_id: cells[id(cell)] for cell in expanded.cells}
    return matrix, Expanded(list(unique.values()), expanded.excluded)


def run_matrix(name: str, axes: Axes, asked: Asked, console: Console | None = None) -> Summary:
    """Run what is missing of a matrix; what became of it.

    Raises:
        VerdictError: nothing was started, or the folder of the runs cannot be written any more.
    """
    console = console or Console()
    settings, out = asked.settings, asked.settings.out
    matrix, expanded = read_cells(name, axes, settings, load_data=True)
    executor, jobs, notes = _make_executor(asked, expanded.cells)
    budget = parse_budget(asked.budget) if asked.budget is not None else matrix.budget
    machine = this_machine(jobs, settings.cpu)
    plan = make_plan(
        expanded.cells, expanded.excluded, out, jobs=jobs, machine=machine, estimate=budget is not None
    )
    queue, todo = _make_queue(plan, asked, budget)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(out, error) from error
    clear_temporaries(out, STALE_AFTER_S)
    claims = Claims(out)

    def command_of(job: Job) -> str:
        return reproducing_command(job, settings)

    with Watch(out, plan, todo, console) as watch:
        for note in notes:
            watch.event(note)
        policy = Policy(asked.retries, asked.fail_fast)
        scheduler = Scheduler(out, queue, executor, claims, watch, command_of, policy)
        summary = scheduler.run()
    if isinstance(queue, HalvingQueue) and queue.over() is not None:
        summary.pruned = _keep_pruned(queue, claims, command_of)
    watch.conclude(summary)
    if asked.then is not None:
        _run_hook(asked.then, out, summary)
    return summary


def _pin(cells: list[CellSpec], settings: Settings, load_data: bool) -> list[CellSpec]:
    """Cells of one data set and image size, named by what they are about."""
    first = cells[0]
    kind = split_dataset_name(first.dataset)[0]
    has_one_content = kind == "digits" or (kind == "cifar10" and not settings.allow_unofficial_data)
    if load_data or not has_one_content:
        data = load_dataset(
            first.dataset,
            settings.data_dir,
            first.image_size,
            settings.allow_unofficial_data and kind == "cifar10",
            quiet=False,
        )
        cells = [pin_data(cell, data) for cell in cells]
    return [pin_weights(cell) for cell in cells]


def _make_executor(asked: Asked, cells: list[CellSpec]) -> tuple[Executor, int, list[str]]:
    """What runs the cells, how many at once, and what a person should know about it.

    Raises:
        VerdictError: there is no such executor, an option is not for it, or it cannot run the cells.
    """
    check_cluster_options(asked.executor, asked.slurm, asked.ray)
    for option, value in (("--jobs", asked.jobs), ("--gpus", asked.gpus)):
        if value is not None and asked.executor != "local":
            raise UsageError(f"{option} is for this machine, not for --executor {asked.executor}")
    limits = Limits(asked.timeout_s, asked.hang_s, asked.memory_mib)
    if asked.executor == "local":
        slots = find_slots(asked.jobs, asked.gpus, asked.settings.cpu)
        slots.check(max(cell.num_processes for cell in cells))
        return LocalExecutor(slots, asked.settings, limits), slots.at_once, slots.notes
    if asked.executor == "slurm":
        from launch.cluster.slurm import SlurmExecutor

        parallel = asked.slurm.array_parallelism
        return SlurmExecutor(asked.slurm, asked.settings, limits), min(len(cells), parallel), []
    if asked.executor == "ray":
        from launch.cluster.ray_cluster import RayExecutor

        on_ray = RayExecutor(asked.ray, asked.settings, limits)
        return on_ray, on_ray.at_once(), []
    raise AssertionError(asked.executor)


def _make_queue(plan: Plan, asked: Asked, budget: Budget | None) -> tuple[Queue, list[CellSpec]]:
    """What is to be run: what was never finished, then what failed before."""
    wanted = ("failed",) if asked.only_failed else ("new", "paused", "pruned", "running")
    first = [each.cell for each in plan.cells if each.state in wanted]
    last = [each.cell for each in plan.cells if each.state == "failed" and not asked.only_failed]
    if asked.shuffle:
        random.Random(SHUFFLE_SEED).shuffle(first)
    todo = first + last
    if budget is None:
        return Plain(plan.out, todo), todo
    finished = [each.cell for each in plan.cells if each.state == "finished"]
    flops_of = {each.cell_id: each.flops.value for each in plan.cells}
    return HalvingQueue(plan.out, todo + finished, Spending(budget), flops_of), todo


def _keep_pruned(queue: HalvingQueue, claims: Claims, command_of: Callable[[Job], str]) -> list[Ended]:
    """Leave a record in each cell that was stopped early, unless another launcher has it now."""
    kept = []
    for ended in queue.pruned():
        cell_id = ended.job.cell.cell_id
        with suppress(StorageError):  # then the cell is one that has a checkpoint and no record
            if claims.try_claim(cell_id):
                keep_failure(ended, command_of(ended.job))
                claims.release(cell_id)
                kept.append(ended)
    return kept


def _run_hook(command: str, out: Path, summary: Summary) -> None:
    """The user's own command when all is over."""
    numbers = {
        "VERDICT_RUNS": str(out.resolve()),
        "VERDICT_FINISHED": str(len(summary.finished)),
        "VERDICT_FAILED": str(len(summary.failed)),
        "VERDICT_UNFINISHED": str(summary.unfinished),
        "VERDICT_INTERRUPTED": str(int(summary.was_interrupted)),
    }
    subprocess.run(command, shell=True, check=False, env=os.environ | numbers)


def show_plan(
    name: str, axes: Axes, settings: Settings, jobs: int | None, as_json: bool, show_all: bool, estimate: bool
) -> None:
    """Print what would be run."""
    from launch.plan.as_json import plan_json
    from launch.plan.view import print_plan

    _, expanded = read_cells(name, axes, settings, load_data=False)
    say = Console(stderr=True).print
    jobs = jobs or (1 if settings.cpu else len(list_gpus()[0]) or 1)
    plan = make_plan(
        expanded.cells,
        expanded.excluded,
        settings.out,
        jobs=jobs,
        machine=this_machine(jobs, settings.cpu),
        estimate=estimate,
        say=say,
    )
    if as_json:
        print(plan_json(plan))
    else:
        print_plan(plan, Console(), show_all)


def show_status(runs: Path, as_json: bool, watch: bool) -> None:
    """Print what is going on in a folder."""
    from launch.screen.status import print_status, status_json, watch_status

    if as_json:
        print(status_json(runs))
    elif watch:
        watch_status(runs, Console())
    else:
        print_status(runs, Console())


def show_presets() -> None:
    """Print the shipped matrices."""
    from rich.table import Table

    from launch.matrix.files import load_preset, preset_names

    table = Table(box=None, pad_edge=False)
    table.add_column("preset", style="bold", no_wrap=True)
    table.add_column("cells", justify="right")
    table.add_column("what for")
    for name in preset_names():
        matrix = load_preset(name)
        table.add_row(name, str(len(expand_matrix(matrix).cells)), matrix.description or "")
    Console().print(table)


def show_schema() -> None:
    """Print the JSON schema of a matrix file."""
    from launch.matrix.files import schema_text

    print(schema_text(), end="")
