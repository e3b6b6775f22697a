"""How much a cell computes: images, optimizer steps and FLOPs, from runs or counted. No torch here.

workloads = Workloads(runs, Counts(), sizes={})
workloads.flops(cell)    # Figure(value=1.8e14, basis='same_model', note='counted in a run of the model')
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.cell import CellSpec
from harness.datasets.names import split_dataset_name
from launch.plan.counts import Compute, Counts
from launch.plan.facts import RunFacts, count_key, recipe_shape

Basis = Literal["measured", "same_cell", "same_model", "other_models", "lower_bound", "counted"]


@dataclass(frozen=True)
class Figure:
    """A figure and what it rests on."""

    value: float | None
    basis: Basis | None
    """`measured`: by the finished run itself; `same_cell`: runs that differ in the seed at most;
    `same_model`: other runs of the model; `other_models`: what those reached; `lower_bound`: the peak of
    the machine; `counted`: without running anything. None where there is no figure."""

    note: str
    """More about it; where there is no figure, why."""


@dataclass(frozen=True)
class DataSize:
    """How many images a data set has."""

    num_train: int
    """Before the validation images are taken out."""

    num_test: int
    num_classes: int


OFFICIAL_SIZES = {"cifar10": DataSize(50_000, 10_000, 10), "digits": DataSize(1438, 359, 10)}


@dataclass(frozen=True)
class Load:
    """Images of one cell."""

    num_fit: int
    """Training images that gradients come from."""

    num_steps: int
    """Optimizer steps of the whole training."""

    num_trained: int
    """Images trained on, each as often as it is."""

    num_scored: int
    """Images scored during and after the training."""

    num_classes: int
    size: DataSize


class Workloads:
    """What cells compute, by what is known of their data and their model.

    Args:
        runs: finished ones, newest first.
        counts: compute that no run has said.
        sizes: of data sets by name, where they are known better than from runs or from the name.
    """

    def __init__(
        self, runs: list[RunFacts], counts: Counts, sizes: Mapping[str, DataSize] | None = None
    ) -> None:
        self._counts = counts
        self._sizes = dict(sizes or {})
        self._sizes_of_runs = _sizes_of(runs)
        self._compute_of_runs = _compute_of(runs)

    def load(self, cell: CellSpec) -> Load | None:
        """The images of a cell; None where nobody knows yet how many its data set has."""
        size = self._size(cell)
        if size is None:
            return None
        recipe = cell.recipe
        num_val = round(cell.val_fraction * size.num_train)
        num_steps = recipe.epochs * ((size.num_train - num_val) // recipe.batch_size)
        return Load(
            num_fit=size.num_train - num_val,
            num_steps=num_steps,
            num_trained=num_steps * recipe.batch_size,
            num_scored=num_val * recipe.epochs + size.num_test * (1 + cell.mirror_tta),
            num_classes=size.num_classes,
            size=size,
        )

    def missing(self, cells: Iterable[CellSpec]) -> dict[str, tuple[CellSpec, int, int]]:
        """What `Counts.ask` is to be asked so that all these cells have their compute."""
        missing = {}
        for cell in cells:
            load = self.load(cell)
            if load is None or load.num_steps == 0:
                continue
            key = count_key(cell, load.num_classes, load.num_fit)
            if key not in self._compute_of_runs:
                missing[key] = (cell, load.num_classes, load.num_fit)
        return missing

    def flops(self, cell: CellSpec) -> Figure:
        """Training FLOPs of the whole cell."""
        load = self.load(cell)
        if load is None:
            return Figure(None, None, f"how many images {cell.dataset} has is known after its first run")
        if load.num_steps == 0:
            why = f"batch size {cell.recipe.batch_size} is larger than the {load.num_fit} training images"
            return Figure(None, None, why)
        compute, basis, note = self._compute(cell, load)
        if compute is None:
            return Figure(None, None, note)
        if recipe_shape(dict(cell.recipe)):
            return Figure(compute.total_train_flops, basis, note)
        return Figure(load.num_trained * compute.train_flops_per_image, basis, note)

    def compute(self, cell: CellSpec) -> Compute | None:
        """Compute of an image of the cell, where it is known."""
        load = self.load(cell)
        return None if load is None else self._compute(cell, load)[0]

    def _compute(self, cell: CellSpec, load: Load) -> tuple[Compute | None, Basis | None, str]:
        key = count_key(cell, load.num_classes, load.num_fit)
        if key in self._compute_of_runs:
            return self._compute_of_runs[key], "same_model", "counted in a run of the model"
        counted = self._counts.get(key)
        if counted is not None:
            return counted, "counted", "counted on shapes alone"
        return None, None, self._counts.problem(key)

    def _size(self, cell: CellSpec) -> DataSize | None:
        known = self._sizes.get(cell.dataset)
        known = known or self._sizes_of_runs.get((cell.dataset, cell.data_fingerprint))
        if known is not None or cell.data_fingerprint is not None:
            return known
        kind, _ = split_dataset_name(cell.dataset)
        return OFFICIAL_SIZES.get(kind) or self._sizes_of_runs.get((cell.dataset, ""))


def _sizes_of(runs: list[RunFacts]) -> dict[tuple[str, str | None], DataSize]:
    """By data set as a cell names it, with its fingerprint; with "" where all runs agree on the size."""
    found: dict[tuple[str, str | None], DataSize] = {}
    by_name: dict[str, set[DataSize]] = defaultdict(set)
    for run in runs:
        key = (run.dataset, run.data_fingerprint)
        if key not in found:
            found[key] = DataSize(run.num_train, run.num_test, run.num_classes)
            by_name[run.dataset].add(found[key])
    return found | {(name, ""): next(iter(sizes)) for name, sizes in by_name.items() if len(sizes) == 1}


def _compute_of(runs: list[RunFacts]) -> dict[str, Compute]:
    """Compute by `count_key`, as the runs say."""
    found: dict[str, Compute] = {}
    for run in runs:
        compute = Compute(run.forward_flops_per_image, run.train_flops_per_image, run.total_train_flops)
        for key in run.count_keys():
            found.setdefault(key, compute)
    return found
