"""From a cell to its record: the pipeline of one run, read from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.augment.pipeline import Augmentation
from harness.batches import Inputs, show_images
from harness.cell import SHARDED, CellSpec
from harness.checkpoint import delete_checkpoints
from harness.clock import Clock
from harness.datasets.base import Dataset
from harness.datasets.device_loader import DeviceImages, Normalizer, channel_statistics
from harness.datasets.splits import stratified_split
from harness.errors import DivergedError, UsageError, VerdictError
from harness.evaluate import predict
from harness.features import cache_features
from harness.host_memory import give_back_freed_memory, keep_freed_memory
from harness.in_effect import check_backend, describe
from harness.live import delete_live
from harness.measure import measure
from harness.memory import reset_peak
from harness.model import BuiltModel, check_model, count_compute, make_model
from harness.out_of_memory import Shortage
from harness.precision import Autocast, make_autocast
from harness.process import Process, check_process, naming_the_lost
from harness.progress import CellProgress, Reporter
from harness.record import Environment, Record, write_record
from harness.run_dir import give_up_reserve, now, open_run_dir, record_failure, write_results
from harness.seeding import seed_everything
from harness.settings import Settings
from harness.stopping import Stopping
from harness.strategy import Strategy, check_compile, make_strategy
from harness.sync_batchnorm import synchronize_batchnorm
from harness.train import CURE, train
from harness.training_state import Saving, Training
from models.pretrained import split_head

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Run:
    """One execution of a cell: what it works on, where it writes, who takes part."""

    cell: CellSpec
    dataset: Dataset
    process: Process
    environment: Environment
    run_dir: Path
    command: str
    """The command line that started it, for the record."""

    settings: Settings = field(default_factory=Settings)


def run_cell(run: Run, reporter: Reporter, title: str) -> Record | None:
    """Train, measure and score one cell, and write its record and predictions.

    A failure is a record too: it is written, and the error raised again. A training that pauses, as the
    settings may ask, leaves a checkpoint and no record, and None is returned.

    Raises:
        VerdictError: the cell cannot run here, diverged, or its results could not be written.
    """
    started_at = now()
    with reporter.cell(run.cell, title, run.run_dir / "log.txt") as progress:
        clock = Clock(run.process, tell=progress.phase)
        try:
            with naming_the_lost(run.process):
                return _run(run, clock, started_at, progress)
        except Exception as error:
            # A user's error meets all processes alike; a crash may be known to one of them only.
            if run.process.is_main or not isinstance(error, VerdictError):
                failed = _record(run, started_at, status="failed")
                record_failure(run.run_dir, failed, error, clock.wall_s(), progress)
                delete_live(run.run_dir)
            raise


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


def _run(run: Run, clock: Clock, started_at: str, progress: CellProgress) -> Record | None:
    cell, process, dataset, settings = run.cell, run.process, run.dataset, run.settings
    with clock.span("startup"):
        check_process(cell, process)
        autocast = make_autocast(cell.precision, process.device)
        _choose_memory(cell, process)
        peak_was_reset = reset_peak(process.device)
        fit_indices, val_indices = stratified_split(dataset.train.labels, cell.val_fraction)
        steps_per_epoch = _steps_per_epoch(cell, len(fit_indices))
        num_classes = len(dataset.class_names)
        if process.is_main:
            open_run_dir(run.run_dir, cell, len(dataset.test.labels), len(val_indices), num_classes)
        built = make_model(cell, num_classes, process.device)
        facts = count_compute(cell, num_classes, len(fit_indices), steps_per_epoch)
    with clock.span("data"):
        inputs = _load_inputs(cell, dataset, built, fit_indices, val_indices, process)
        if cell.pretrained is None:
            show_images(built.module, inputs)
        if cell.sync_batchnorm:
            synchronize_batchnorm(built.module, process.device)
    model = built.module
    if cell.recipe.tuning == "head":
        backbone, model = split_head(built.module)
        inputs = cache_features(backbone, inputs, autocast, process, clock, progress.beat)

    seed_everything(cell.seed, "train", process.rank)
    progress.start(num_steps=cell.recipe.epochs * steps_per_epoch)
    with clock.span("startup"):
        strategy = make_strategy(cell, model, autocast.scaler, process)
    with closing(strategy):
        with Stopping(process, settings.checkpoint_every_s) as stopping:
            shortage = Shortage(run.run_dir / "checkpoint", process)
            every, until = settings.checkpoint_epochs, settings.until_epoch
            saving = Saving(shortage.folder, stopping, shortage, every, until)
            training = train(strategy, inputs, autocast, clock, progress, saving, settings.on_oom)
        if training.is_paused:
            if process.is_main:
                give_up_reserve(run.run_dir)
            process.wait_for_all()
            return None
        with clock.span("evaluate"):
            scored = _score(strategy, inputs, autocast, progress.beat)
        in_effect = describe(strategy, training)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in scored.values()):
        raise DivergedError(f"the selected weights give logits that are not finite numbers: {CURE}")
    with clock.span("write"):
        if process.is_main:
            predictions = _predictions(scored, dataset, training, val_indices)
            write_results(run.run_dir, predictions, training.step_losses, training.step_times_s)
    measurements, unavailable = measure(cell, training, clock, process, peak_was_reset)
    record = _record(
        run,
        started_at,
        status="finished",
        num_fit_images=len(fit_indices),
        num_val_images=len(val_indices),
        model=facts.model_copy(update={"notes": built.notes, "weights_sha256": built.weights_sha256}),
        measurements=measurements,
        in_effect=in_effect,
        history=tuple(training.history),
        selected_epoch=training.selected_epoch,
        unavailable=unavailable,
    )
    shortage.forget()
    if process.is_main:
        write_record(run.run_dir, record)
        delete_live(run.run_dir)
        delete_checkpoints(run.run_dir / "checkpoint")
        progress.line(f"  epoch {training.selected_epoch} scored, {measurements.wall_time_s:,.1f} s in all")
    process.wait_for_all()
    return record


def _record(run: Run, started_at: str, **values: Any) -> Record:
    return Record(
        cell_id=run.cell.cell_id,
        cell=run.cell,
        command=run.command,
        started_at=started_at,
        ended_at=now(),
        environment=run.environment,
        data=run.dataset.provenance,
        **values,
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


def _load_inputs(
    cell: CellSpec,
    dataset: Dataset,
    built: BuiltModel,
    fit_indices: np.ndarray[Any, np.dtype[np.int64]],
    val_indices: np.ndarray[Any, np.dtype[np.int64]],
    process: Process,
) -> Inputs:
    device = process.device
    mean, std = channel_statistics(dataset.train)
    normalize = Normalizer(built.mean or mean, built.std or std, cell.image_size, device)
    red, green, blue = (round(255 * value) for value in mean)
    return Inputs(
        fit=DeviceImages(dataset.train, fit_indices, device),
        val=DeviceImages(dataset.train, val_indices, device) if len(val_indices) else None,
        test=DeviceImages(dataset.test, None, device),
        augmentation=Augmentation(cell, len(fit_indices), (red, green, blue), device),
        normalize=normalize,
        num_classes=len(dataset.class_names),
    )


def _score(
    strategy: Strategy, inputs: Inputs, autocast: Autocast, beat: Callable[[], None]
) -> dict[str, Tensor]:
    """Logits of the test images, by the name that they are kept under."""

    def logits_of(mirror: bool) -> Tensor:
        return predict(
            strategy.model,
            inputs.test,
            inputs.normalize,
            autocast,
            strategy.process,
            mirror,
            in_parts=strategy.is_sharded,
            beat=beat,
        )

    logits = logits_of(mirror=False)
    if not strategy.cell.mirror_tta:
        return {"test_logits": logits}
    mirrored = logits_of(mirror=True)
    return {"test_logits": logits, "test_tta_logits": (logits + mirrored) / 2}


def _predictions(
    scored: dict[str, Tensor],
    dataset: Dataset,
    training: Training,
    val_indices: np.ndarray[Any, np.dtype[np.int64]],
) -> Arrays:
    val_logits = training.val_logits
    num_classes = len(dataset.class_names)
    return {name: tensor.cpu().numpy() for name, tensor in scored.items()} | {
        "test_labels": dataset.test.labels,
        "val_logits": np.zeros((0, num_classes), np.float32)
        if val_logits is None
        else val_logits.cpu().numpy(),
        "val_labels": dataset.train.labels[val_indices],
        "val_indices": val_indices,
        "class_names": np.array(dataset.class_names),
        "test_fingerprint": np.array(dataset.provenance.test_fingerprint),
    }
