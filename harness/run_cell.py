"""From a cell to its record: the pipeline of one run, read from top to bottom."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.cell import CellSpec
from harness.checkpoint import delete_checkpoints
from harness.clock import Clock
from harness.datasets.base import Dataset
from harness.datasets.shifted import open_published
from harness.errors import VerdictError
from harness.in_effect import describe
from harness.live import delete_live
from harness.measure import measure
from harness.out_of_memory import Shortage
from harness.preparing import Prepared, prepare
from harness.process import Process, naming_the_lost
from harness.progress import CellProgress, Reporter
from harness.record import Environment, Record, write_record
from harness.robustness import measure_robustness, write_robustness
from harness.run_dir import give_up_reserve, now, record_failure, write_results
from harness.sampler import Sampler, source_of
from harness.scoring import predictions_of, score
from harness.settings import Settings
from harness.stopping import Ask, Stopping
from harness.stored_model import gather_weights, save_weights
from harness.strategy import Strategy, make_strategy
from harness.train import train
from harness.training_state import Saving, Training


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
    launch_time_s: float | None = None
    """From the start of the process to its first cell."""


def run_cell(run: Run, reporter: Reporter, title: str) -> Record | None:
    """Train, measure and score one cell, and write its record and predictions.

    A failure is a record too: it is written, and the error raised again. A training that pauses, as the
    settings may ask, leaves a checkpoint and no record, and None is returned.

    Raises:
        VerdictError: the cell cannot run here, diverged, or its results could not be written.
    """
    started_at = now()
    with reporter.cell(run.cell, title, run.run_dir / "log.txt") as progress:
        sampler = Sampler(source_of(run.process.device))

        def tell(phase: str | None) -> None:
            if phase is not None:
                progress.phase(phase)
            sampler.mark("train" if phase == "first_step" else phase)

        clock = Clock(run.process, tell)
        try:
            with naming_the_lost(run.process), sampler:
                return _run(run, clock, sampler, started_at, progress)
        except KeyboardInterrupt:
            if run.process.is_main:
                give_up_reserve(run.run_dir)
            raise
        except Exception as error:
            # A user's error meets all processes alike; a crash may be known to one of them only.
            if run.process.is_main or not isinstance(error, VerdictError):
                failed = _record(run, started_at, status="failed")
                record_failure(run.run_dir, failed, error, clock.wall_s(), progress)
                delete_live(run.run_dir)
            raise


def _run(run: Run, clock: Clock, sampler: Sampler, started_at: str, progress: CellProgress) -> Record | None:
    cell, process = run.cell, run.process
    kept = run.settings.save_weights
    ready = prepare(cell, run.dataset, process, run.run_dir, clock, progress.beat, kept)
    progress.start(num_steps=cell.recipe.epochs * ready.steps_per_epoch)
    with clock.span("startup"):
        strategy = make_strategy(cell, ready.trained, ready.autocast.scaler, process)
    with closing(strategy):
        record = _train_and_score(run, ready, strategy, clock, sampler, started_at, progress)
        if record is None:
            return None
        _test_further(run, ready, strategy, progress)
    _leave(run)
    return record


def _train_and_score(
    run: Run,
    ready: Prepared,
    strategy: Strategy,
    clock: Clock,
    sampler: Sampler,
    started_at: str,
    progress: CellProgress,
) -> Record | None:
    """Write the record of the cell; None where its training pauses.

    Raises:
        KeyboardInterrupt: a signal asked for it, before the training was over, and a checkpoint was
            written, or after it, and the record was written.
    """
    process, settings = run.process, run.settings
    every, until = settings.checkpoint_epochs, settings.until_epoch
    with Stopping(process, settings.checkpoint_every_s) as stopping:
        shortage = Shortage(run.run_dir / "checkpoint", process)
        saving = Saving(shortage.folder, stopping, shortage, every, until, sampler)
        training = train(strategy, ready.inputs, ready.autocast, clock, progress, saving, settings.on_oom)
        if training.is_paused:
            if process.is_main:
                give_up_reserve(run.run_dir)
            process.wait_for_all()
            return None
        with clock.span("idle"):
            process.wait_for_all()
        with clock.span("evaluate"):
            scored = score(strategy, ready.inputs, ready.autocast, progress.beat)
        with clock.span("write"):
            in_effect = describe(strategy, training)
            weights_mib = _write(run, ready, strategy, scored, training)
        used = training.used(sampler.read())
        known = {"launch_time_s": run.launch_time_s, "weights_mib": weights_mib}
        measurements, unavailable = measure(strategy, ready, training, clock, used, known)
        record = _record(
            run,
            started_at,
            status="finished",
            num_fit_images=len(ready.fit_indices),
            num_val_images=len(ready.val_indices),
            model=ready.facts,
            measurements=measurements,
            in_effect=in_effect,
            history=tuple(training.history),
            selected_epoch=training.selected_epoch,
            unavailable=unavailable,
        )
        shortage.forget()
        if process.is_main:
            write_record(run.run_dir, record)
            delete_checkpoints(run.run_dir / "checkpoint")
            wall_s = measurements.wall_time_s
            progress.line(f"  epoch {training.selected_epoch} scored, {wall_s:,.1f} s in all")
        if stopping.asked_now() is Ask.STOP:  # while it was scored: nothing is lost
            _leave(run)
            raise KeyboardInterrupt
    return record


def _leave(run: Run) -> None:
    """The cell is over."""
    if run.process.is_main:
        delete_live(run.run_dir)
    run.process.wait_for_all()


def _write(
    run: Run, ready: Prepared, strategy: Strategy, scored: dict[str, Tensor], training: Training
) -> float | None:
    """Keep the predictions, the steps and the weights; the size of these in MiB."""
    kept = run.settings.save_weights
    weights = gather_weights(strategy, ready.model) if kept else None
    if run.process.is_main:
        predictions = predictions_of(scored, run.dataset, training, ready.val_indices)
        write_results(run.run_dir, predictions, training.step_losses, training.step_times_s)
    if weights is None:
        return None
    give_up_reserve(run.run_dir)
    mean, std = ready.normalize.mean, ready.normalize.std
    return save_weights(run.run_dir, weights, run.cell, run.dataset.provenance, mean, std) / 2**20


def _test_further(run: Run, ready: Prepared, strategy: Strategy, progress: CellProgress) -> None:
    """Measure the robustness, as far as it is asked for: the record is safe by now."""
    level = run.settings.robustness
    if level == "none":
        return
    progress.phase("robustness")
    try:
        arrays = measure_robustness(
            level,
            ready.model,
            run.dataset.test,
            ready.normalize,
            ready.autocast,
            run.process,
            progress.beat,
            in_parts=strategy.is_sharded,
            published=open_published(tuple(run.dataset.class_names), run.settings.data_dir),
        )
        if run.process.is_main:
            write_robustness(run.run_dir, arrays)
            progress.line(f"  robustness measured ({level})")
    except VerdictError as error:  # all processes meet it alike; the cell itself is finished
        progress.line(f"  warning: no robustness: {error}")


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
