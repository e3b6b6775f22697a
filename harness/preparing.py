"""What a cell needs before it can train: checked, built, counted, and its images on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from harness.augment.pipeline import Augmentation
from harness.batches import Inputs, Samples, show_images
from harness.cell import SHARDED, CellSpec
from harness.clock import Clock
from harness.datasets.base import Dataset
from harness.datasets.device_loader import DeviceImages, Normalizer, channel_statistics
from harness.datasets.splits import stratified_split
from harness.errors import UsageError
from harness.features import cache_features
from harness.host_memory import give_back_freed_memory, keep_freed_memory
from harness.in_effect import check_backend
from harness.memory import reset_peak
from harness.model import check_model, count_compute, make_model
from harness.precision import Autocast, make_autocast
from harness.process import Process, check_process
from harness.record import ModelFacts
from harness.run_dir import open_run_dir, reserve_for_weights
from harness.seeding import seed_everything
from harness.strategy import check_compile
from harness.sync_batchnorm import synchronize_batchnorm
from models.pretrained import split_head

Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Prepared:
    """A cell that is ready to train."""

    facts: ModelFacts
    autocast: Autocast
    fit_indices: Indices
    val_indices: Indices
    steps_per_epoch: int
    model: nn.Module
    """The whole model."""

    trained: nn.Module
    """What of it is trained: for a linear probe its head."""

    inputs: Inputs
    """What that is trained and scored on: for a linear probe features."""

    test_images: Samples
    """For the whole model."""

    normalize: Normalizer
    """How images become input of the whole model."""

    peak_was_reset: bool
    """Whether the peak resident set is that of this cell alone."""


def check_cell(cell: CellSpec, dataset: Dataset, process: Process) -> None:
    """Refuse a cell that cannot run here, before any cell has run.

    Raises:
        HardwareError: the processes, the precision or the compiler that it asks for are not there.
        UsageError: its batch is larger than its training set, there are more processes than images, or
            its model cannot be made.
    """
    check_process(cell, process)
    check_backend(cell, process)
    make_autocast(cell.precision, process.device)
    check_compile(cell, process.device)
    fit_indices, val_indices = stratified_split(dataset.train.labels, cell.val_fraction)
    steps_per_epoch = _steps_per_epoch(cell, len(fit_indices))
    fewest = min(len(dataset.test.labels), len(val_indices) or cell.num_processes)
    if fewest < cell.num_processes:
        raise UsageError(f"{fewest} image(s) cannot be scored by {cell.num_processes} processes: use fewer")
    num_classes = len(dataset.class_names)
    check_model(cell.model, num_classes, cell.image_size, cell.small_stem, cell.pretrained)
    recipe = cell.recipe
    if recipe.start_scale < 1 or recipe.tuning != "all" or recipe.layer_lr_decay < 1:
        count_compute(cell, num_classes, len(fit_indices), steps_per_epoch)  # not every model can do that


def prepare(
    cell: CellSpec,
    dataset: Dataset,
    process: Process,
    run_dir: Path,
    clock: Clock,
    beat: Callable[[], None],
    save_weights: bool,
) -> Prepared:
    """Open the run's folder, build and count the model, and put the images on the device.

    Raises:
        VerdictError: the cell cannot run here, or the disk has no room for its results.
    """
    with clock.span("startup"):
        check_process(cell, process)
        autocast = make_autocast(cell.precision, process.device)
        _choose_memory(cell, process)
        peak_was_reset = reset_peak(process.device)
        fit_indices, val_indices = stratified_split(dataset.train.labels, cell.val_fraction)
        steps_per_epoch = _steps_per_epoch(cell, len(fit_indices))
        num_classes = len(dataset.class_names)
        if process.is_main:
            open_run_dir(run_dir, cell, len(dataset.test.labels), len(val_indices), num_classes)
        built = make_model(cell, num_classes, process.device)
        if process.is_main and save_weights:
            reserve_for_weights(run_dir, built.module)
        facts = count_compute(cell, num_classes, len(fit_indices), steps_per_epoch)
    with clock.span("data"):
        mean, std = channel_statistics(dataset.train)
        normalize = Normalizer(built.mean or mean, built.std or std, cell.image_size, process.device)
        images = _load_images(cell, dataset, mean, normalize, fit_indices, val_indices, process)
        if cell.pretrained is None:
            show_images(built.module, images)
        if cell.sync_batchnorm:
            synchronize_batchnorm(built.module, process.device)
    trained, inputs = built.module, images
    if cell.recipe.tuning == "head":
        backbone, trained = split_head(built.module)
        inputs = cache_features(backbone, images, autocast, process, clock, beat)
    seed_everything(cell.seed, "train", process.rank)
    return Prepared(
        facts=facts.model_copy(update={"notes": built.notes, "weights_sha256": built.weights_sha256}),
        autocast=autocast,
        fit_indices=fit_indices,
        val_indices=val_indices,
        steps_per_epoch=steps_per_epoch,
        model=built.module,
        trained=trained,
        inputs=inputs,
        test_images=images.test,
        normalize=normalize,
        peak_was_reset=peak_was_reset,
    )


def _choose_memory(cell: CellSpec, process: Process) -> None:
    """Keep freed memory for speed, but where the strategy is there to save memory."""
    if process.device.type == "cpu":
        choose = give_back_freed_memory if cell.strategy in SHARDED else keep_freed_memory
        choose()


def _steps_per_epoch(cell: CellSpec, num_fit: int) -> int:
    steps = num_fit // cell.recipe.batch_size
    if steps == 0:
        raise UsageError(
            f"batch size {cell.recipe.batch_size} is larger than the {num_fit} training images: "
            f"try --batch-size {max(2, num_fit // 8)}"
        )
    return steps


def _load_images(
    cell: CellSpec,
    dataset: Dataset,
    mean: tuple[float, ...],
    normalize: Normalizer,
    fit_indices: Indices,
    val_indices: Indices,
    process: Process,
) -> Inputs:
    device = process.device
    red, green, blue = (round(255 * value) for value in mean)
    return Inputs(
        fit=DeviceImages(dataset.train, fit_indices, device),
        val=DeviceImages(dataset.train, val_indices, device) if len(val_indices) else None,
        test=DeviceImages(dataset.test, None, device),
        augmentation=Augmentation(cell, len(fit_indices), (red, green, blue), device),
        normalize=normalize,
        num_classes=len(dataset.class_names),
    )
