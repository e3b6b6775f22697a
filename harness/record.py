"""What a run leaves behind: `record.json`, beside it the predictions and the raw steps. No torch here.

    runs/<cell_id>/cell.json         the cell, written first
                   record.json       this record, written last: a cell is finished when it exists and says so
                   predictions.npz   logits and labels of every validation and test image, in data set order
                   steps.npz         loss and seconds of every optimizer step
                   log.txt           what was printed about the cell
                   live.json         what it is doing, while it runs
                   checkpoint/       the state of a training that is not over
                   attempts/         records of earlier attempts that failed

Missing means null, with the reason in `unavailable`; never 0 and never a guess.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.cell import CellSpec
from harness.datasets.base import DataProvenance
from harness.errors import DataError, UsageError
from harness.files import write_text
from harness.measurements import Measurements, Value
from harness.recipe import first_problem

RESERVES = (".reserved", ".weights.reserved")
"""Files in the folder of a run that take up the disk space of its results until they are written."""

ROBUSTNESS_FILE = "robustness.npz"
"""In the folder of a run: what its model answered to changed images."""

PRUNED = "pruned"
"""Kind of a failure that is none: a budget stopped the training early, and a larger one goes on with it."""

LOG_TAIL_LINES = 20
"""Of a failure, kept in its record."""


class Environment(Value):
    """The machine and the software of a run."""

    hostname: str
    platform: str
    python: str
    torch: str
    accelerate: str
    verdict: str
    git_commit: str | None
    device: str
    """Name of the accelerator, or of the processor."""

    device_type: Literal["cpu", "cuda"]
    num_processes: int
    distributed_type: str
    """As accelerate names it: NO, MULTI_GPU, MULTI_CPU."""

    backend: str | None
    """nccl or gloo; null for one process."""

    threads_per_process: int
    cuda: str | None
    deterministic: bool


class ModelFacts(Value):
    """Size and compute of the model; 1 multiply-add = 2 FLOPs."""

    num_params: int
    forward_flops_per_image: int
    train_flops_per_image: int
    """Forward and backward."""

    total_train_flops: int
    """Of all images trained on, each at the size and with the layers that it was trained with."""

    notes: tuple[str, ...] = ()
    """What was adapted or replaced: the stem, the head; where the first weights came from."""

    weights_sha256: str | None = None
    """Of the file of the first weights; null where there is none, or the hub does not say which it is."""


class InEffect(Value):
    """What really ran, as it was found where it happens, and checked against the cell."""

    devices: tuple[str, ...]
    """Host and device of each process, a GPU with its identity."""

    num_nodes: int
    wrapper: str
    """Class of what was called to train."""

    compute_dtype: str
    """Type that a convolution or dense layer came out in; `tf32` is float32 of rounded factors."""

    params_per_process: tuple[int, ...]
    """Parameters, or elements of parts of them, that each process keeps between two steps."""

    optimizer_values_per_process: tuple[int, ...]
    """The same of the optimizer's state and of copies of the weights that it works on."""

    num_synchronized_norms: int
    """BatchNorm layers that normalise over the batches of all processes."""

    accumulation_steps: int
    """Micro-batches of a step on each process at the end: more than the cell's where memory ran out."""


class EpochRow(Value):
    """One epoch of the history."""

    epoch: int
    """From 1."""

    train_loss: float
    val_loss: float | None
    """null when no validation images are held out."""

    val_accuracy: float | None
    """Share from 0 to 1; null when no validation images are held out."""

    lr: float
    """At the last step of the epoch."""

    train_time_s: float


class Failure(Value):
    """Why a run did not finish."""

    kind: str
    message: str
    log_tail: str
    burnt_s: float
    """Seconds spent on the attempt."""


class Record(Value):
    """What one run left."""

    schema_version: Literal[1] = 1
    """History: 1, the first (2026-11); fields added since have a default."""

    status: Literal["finished", "failed"]
    cell_id: str
    cell: CellSpec
    command: str
    started_at: str
    """ISO 8601, UTC."""

    ended_at: str
    environment: Environment | None
    """null where another process wrote the record, because the one that ran was killed."""

    data: DataProvenance | None = None
    num_fit_images: int | None = None
    """Training images that gradients came from: the validation images are not among them."""

    num_val_images: int | None = None
    model: ModelFacts | None = None
    measurements: Measurements | None = None
    in_effect: InEffect | None = None
    history: tuple[EpochRow, ...] = ()
    selected_epoch: int | None = None
    """The epoch whose weights were scored on the test set, from 1."""

    unavailable: dict[str, str] = {}  # noqa: RUF012  # pydantic copies it for each record
    """Why a measurement is null, by its name."""

    failure: Failure | None = None


def write_cell(run_dir: Path, cell: CellSpec) -> None:
    """Write `cell` to its place in `run_dir`, atomically."""
    write_text(run_dir / "cell.json", json.dumps(cell.model_dump(), indent=1) + "\n")


def record_path(run_dir: Path) -> Path:
    """Where a run's record is kept."""
    return run_dir / "record.json"


def write_record(run_dir: Path, record: Record) -> None:
    """Write `record` to its place in `run_dir`, atomically."""
    write_text(record_path(run_dir), record.model_dump_json(indent=1) + "\n")


def read_record(run_dir: Path) -> Record | None:
    """The record in `run_dir`, or None where there is none.

    Raises:
        DataError: the file is not a record that this version can read.
    """
    path = record_path(run_dir)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    try:
        return Record.model_validate_json(text)
    except (ValidationError, UsageError) as error:
        problem = first_problem(error, "record") if isinstance(error, ValidationError) else str(error)
        raise DataError(f"{path}: {problem} (move the folder away to run the cell again)") from None


def is_finished(run_dir: Path) -> bool:
    """Whether there is a record of a run that came to its end.

    Raises:
        DataError: the record cannot be read.
    """
    record = read_record(run_dir)
    return record is not None and record.status == "finished"
