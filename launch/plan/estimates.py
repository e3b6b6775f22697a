"""How long cells will take, and what each figure rests on. No torch here.

    estimator = Estimator(states, machine, Counts())
    estimator.prepare(cells)
    estimator.of(cell).time_s    # Figure(value=53.1, basis='same_cell', note='3 runs of the model here')

In this order: runs of the same model on this machine, scaled; the share of the measured peak that other
models reached on this machine; that peak alone, which is a lower bound. Where none of them is known there is
no figure, but the reason.
"""

from __future__ import annotations

import math
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from harness.cell import CellSpec
from launch.gpus import list_gpus
from launch.plan.counts import Compute, Counts, Speed
from launch.plan.facts import CellState, RunFacts, recipe_shape
from launch.plan.workload import DataSize, Figure, Load, Workloads
from launch.screen.text import compute as flop_text

CLOSE_BATCH = 2.0
"""Largest ratio of batch sizes whose seconds per image are taken to be alike."""

_NEWEST = 20
_NEAREST_MODELS = 3


@dataclass(frozen=True)
class Machine:
    """Where the cells will run."""

    hostname: str
    device_type: Literal["cpu", "cuda"]
    device: str | None = None
    """None: the one that the newest run on this host names."""

    cores: int | None = None
    """That each cell has for itself on a CPU; None: as many as in the runs that an estimate rests on."""

    def threads_of(self, num_processes: int) -> int | None:
        """Of each process of a cell on a CPU; None where it is not known, or a GPU computes."""
        if self.device_type == "cuda" or self.cores is None:
            return None
        return max(1, self.cores // num_processes)


@dataclass(frozen=True)
class Estimate:
    """Of one cell from its beginning to its end."""

    flops: Figure
    """Of the training."""

    time_s: Figure
    """Seconds, without the start of its process."""


def this_machine(jobs: int = 1, use_cpu: bool = False) -> Machine:
    """The machine that this process runs on, its cores divided among so many cells at once."""
    has_gpu = not use_cpu and bool(list_gpus()[0])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(socket.gethostname(), "cuda" if has_gpu else "cpu", cores=max(1, cores // jobs))


class Estimator:
    """Figures for cells.

    Args:
        states: of the runs folder, whose finished runs everything rests on.
        machine: where the cells will run.
        counts: compute and speed that no run has said.
        sizes: of data sets by name, where they are known better than from runs or from the name.
    """

    def __init__(
        self,
        states: Iterable[CellState],
        machine: Machine,
        counts: Counts,
        sizes: Mapping[str, DataSize] | None = None,
    ) -> None:
        finished = [(state.ended_at, state.facts) for state in states if state.facts is not None]
        runs = [facts for _, facts in sorted(finished, key=lambda pair: pair[0], reverse=True)]
        self.workloads = Workloads(runs, counts, sizes)
        self._counts = counts
        self._machine = machine
        self._runs = _on(machine, runs, counts.speed())
        self._by_model = _grouped(self._runs)
        self._known: dict[object, Estimate] = {}

    def prepare(self, cells: Iterable[CellSpec]) -> None:
        """Have what the figures of these cells need and no run has said counted and measured, at once."""
        different = list({_configuration(cell): cell for cell in cells}.values())
        missing = self.workloads.missing(different)
        precisions: set[str] = {cell.precision for cell in different if not self._like(cell)}
        if precisions:  # to tell what share of its peak a run in another precision has reached
            precisions |= {run.precision for run in self._runs}
        if different:
            self._counts.ask(missing, precisions)

    def of(self, cell: CellSpec) -> Estimate:
        """The figures of a cell."""
        key = _configuration(cell)
        if key not in self._known:
            flops = self.workloads.flops(cell)
            self._known[key] = Estimate(flops, self._time(cell, flops))
        return self._known[key]

    def start_s(self) -> float | None:
        """Seconds that the process of each cell takes to start; None where nobody has measured it."""
        return self._counts.speed().start_s

    def _time(self, cell: CellSpec, flops: Figure) -> Figure:
        load = self.workloads.load(cell)
        if load is None or load.num_steps == 0:
            return flops
        like = self._like(cell)
        if like and (flops.value is not None or like[0].shape == recipe_shape(dict(cell.recipe))):
            return self._scaled(cell, load, flops.value, like)
        compute = self.workloads.compute(cell)
        if flops.value is None or compute is None:
            return Figure(None, None, flops.note)
        return self._of_rates(cell, flops.value + load.num_scored * compute.forward_flops_per_image, compute)

    def _like(self, cell: CellSpec) -> list[RunFacts]:
        """Runs of the same model on this machine that are most like the cell, newest first."""
        batch_size, threads = cell.recipe.batch_size, self._machine.threads_of(cell.num_processes)
        groups = [
            (_distance(runs[0], cell, threads), runs)
            for runs in self._by_model.get(_match_key(cell, cell.recipe.tuning), [])
            if 1 / CLOSE_BATCH <= runs[0].batch_size / batch_size <= CLOSE_BATCH
        ]
        return min(groups, key=lambda group: group[0], default=((), []))[1]

    def _scaled(self, cell: CellSpec, load: Load, flops: float | None, like: list[RunFacts]) -> Figure:
        """The median over runs of the same model, scaled by compute, or by images where that is not known."""
        seconds = []
        for run in like:
            more = load.num_trained / run.num_trained if flops is None else flops / run.total_train_flops
            scored = load.num_scored / run.num_scored
            slower = run.num_units / self._units(cell, run.num_units)
            once = run.wall_time_s - run.train_time_s - run.evaluate_time_s - run.checkpoint_time_s
            working = (run.train_time_s + run.checkpoint_time_s) * more + run.evaluate_time_s * scored
            seconds.append(max(0.0, once) + slower * working)
        threads = self._machine.threads_of(cell.num_processes)
        differing = _differences(like[0], cell, load, threads)
        note = f"{len(like)} run{'s' if len(like) > 1 else ''} of the model here"
        note += f", with other {' and '.join(differing)}" if differing else ""
        return Figure(median(seconds), "same_model" if differing else "same_cell", note)

    def _of_rates(self, cell: CellSpec, work: float, compute: Compute) -> Figure:
        """From the FLOP/s that others reach on this machine, or that it can reach at most."""
        speed = self._counts.speed()
        rates = self._rates(cell, speed, compute)
        units = self._units(cell, self._runs[0].num_units if self._runs else speed.threads or 1)
        peak = speed.peak_flop_per_s.get(cell.precision)
        if peak is not None and self._machine.device_type == "cpu":
            peak /= speed.threads or 1
        if rates:
            rate = median(rates.values())
            share = "" if peak is None else f", {rate / peak:.0%} of the measured peak"
            note = f"at {_flop_per_s(rate * units)}{share}, as {', '.join(rates)} reached in other runs here"
            return Figure(
                work / (rate * units), "same_model" if cell.model in rates else "other_models", note
            )
        if peak is not None:
            note = f"at the whole measured peak of {_flop_per_s(peak * units)}, which no training reaches"
            return Figure(work / (peak * units), "lower_bound", note)
        cannot = cell.precision in speed.peak_flop_per_s
        why = f"cannot compute in {cell.precision}" if cannot else "has no measured peak"
        return Figure(None, None, f"no run on this machine, which {why}")

    def _rates(self, cell: CellSpec, speed: Speed, compute: Compute) -> dict[str, float]:
        """FLOP/s of one GPU or thread, by model: of the same one, or of those nearest in compute per image.

        What was reached in another precision is scaled by the ratio of the measured peaks.
        """
        rates: dict[str, list[float]] = defaultdict(list)
        distances: dict[str, float] = {}
        for run in self._runs:
            ratio = _peak_ratio(speed, cell.precision, run.precision)
            if ratio is not None and run.train_time_s > 0:
                rates[run.model].append(ratio * run.total_train_flops / run.train_time_s / run.num_units)
                larger = run.train_flops_per_image / compute.train_flops_per_image
                distances[run.model] = abs(math.log(larger))
        nearest = sorted(rates, key=lambda model: distances[model])[:_NEAREST_MODELS]
        chosen = [cell.model] if cell.model in rates else nearest
        return {model: median(rates[model]) for model in chosen}

    def _units(self, cell: CellSpec, otherwise: int) -> int:
        """GPUs of the cell, or threads of its processes, where they are known."""
        if self._machine.device_type == "cuda":
            return cell.num_processes
        threads = self._machine.threads_of(cell.num_processes)
        return otherwise if threads is None else cell.num_processes * threads


def _configuration(cell: CellSpec) -> tuple[object, ...]:
    """All of a cell that its figures depend on: everything but the seed."""
    return (
        cell.dataset, cell.data_fingerprint, cell.image_size, cell.val_fraction, cell.model, cell.small_stem,
        cell.augmentation, cell.recipe, cell.precision, cell.strategy, cell.num_processes, cell.compile,
        cell.accumulation_steps, cell.sync_batchnorm, cell.mirror_tta,
    )  # fmt: skip


def _match_key(of: CellSpec | RunFacts, tuning: str) -> tuple[object, ...]:
    """What must be equal for the seconds per image to be comparable."""
    return (
        of.model, of.small_stem, of.precision, of.image_size, of.strategy, of.num_processes, of.compile,
        tuning,
    )  # fmt: skip


def _distance(run: RunFacts, cell: CellSpec, threads: int | None) -> tuple[object, ...]:
    """How unlike a run is, what matters most for the time first."""
    return (
        threads is not None and run.threads != threads,
        run.augmentation != cell.augmentation,
        run.shape != recipe_shape(dict(cell.recipe)),
        abs(math.log(run.batch_size / cell.recipe.batch_size)),
        run.dataset != cell.dataset,
        abs(math.log(run.epochs / cell.recipe.epochs)),
    )


def _differences(run: RunFacts, cell: CellSpec, load: Load, threads: int | None) -> list[str]:
    pairs: dict[str, tuple[object, object]] = {
        "augmentation": (run.augmentation, cell.augmentation),
        "image sizes": (run.shape, recipe_shape(dict(cell.recipe))),
        "batch size": (run.batch_size, cell.recipe.batch_size),
        "data": (DataSize(run.num_train, run.num_test, run.num_classes), load.size),
        "epochs": (run.epochs, cell.recipe.epochs),
    }
    if threads is not None:
        pairs["threads"] = (run.threads, threads)
    return [name for name, (ran, planned) in pairs.items() if ran != planned]


def _on(machine: Machine, runs: list[RunFacts], speed: Speed) -> list[RunFacts]:
    """The runs on that machine, newest first."""
    here = [run for run in runs if (run.hostname, run.device_type) == (machine.hostname, machine.device_type)]
    device = machine.device or speed.device or (here[0].device if here else None)
    return [run for run in here if run.device == device]


def _grouped(runs: list[RunFacts]) -> dict[tuple[object, ...], list[list[RunFacts]]]:
    """By what must be equal, lists of the newest runs that are alike in all that matters for time."""
    groups: dict[tuple[object, ...], dict[tuple[object, ...], list[RunFacts]]] = defaultdict(dict)
    for run in runs:
        like = (run.augmentation, run.shape, run.batch_size, run.epochs, run.dataset, run.threads)
        group = groups[_match_key(run, run.tuning)].setdefault(like, [])
        if len(group) < _NEWEST:
            group.append(run)
    return {key: list(found.values()) for key, found in groups.items()}


def _peak_ratio(speed: Speed, wanted: str, ran: str) -> float | None:
    """How much faster the machine multiplies matrices in one precision than in another."""
    if wanted == ran:
        return 1.0
    peak, other = speed.peak_flop_per_s.get(wanted), speed.peak_flop_per_s.get(ran)
    return None if peak is None or other is None else peak / other


def _flop_per_s(value: float) -> str:
    return f"{flop_text(value)}/s"
