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

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.cell import CellSpec
from harness.datasets.base import DataProvenance
from harness.errors import DataError, UsageError
from harness.files import write_text
from harness.recipe import first_problem

RESERVES = (".reserved", ".weights.reserved")
"""Files in the folder of a run that take up the disk space of its results until they are written."""

ROBUSTNESS_FILE = "robustness.npz"
"""In the folder of a run: what its model answered to changed images."""

LOG_TAIL_LINES = 20
"""Of a failure, kept in its record."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Environment(_Value):
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


class Measurements(_Value):
    """What was measured, units in the names. A null has its reason in `Record.unavailable`."""

    wall_time_s: float
    """From setting up the cell to its record; the times below, to `other_time_s`, add up to it."""

    launch_time_s: float | None = None
    """From the start of the process to its first cell: loading Python, torch and the data set; shared by all
    cells of a command, and not part of `wall_time_s`."""

    startup_time_s: float
    """Making the folder, building and counting the model; loading torch and the data set are not in it."""

    data_time_s: float
    """Copying the images to the device; for a linear probe also computing their features."""

    compile_time_s: float = 0.0
    """Spent in `torch.compile`; 0 where the cell does not compile."""

    first_step_time_s: float = 0.0
    """The first step of each attempt: kernels are chosen and compiled, memory is taken. 0 where the steps
    were not told apart, in records from before 2026-12."""

    train_time_s: float
    """All other steps."""

    evaluate_time_s: float
    latency_time_s: float = 0.0
    """Spent on measuring the latency."""

    write_time_s: float
    """Time spent on writing the predictions, the steps and the weights."""

    checkpoint_time_s: float = 0.0
    """Spent on writing checkpoints."""

    idle_time_s: float = 0.0
    """The main process waited for the others, where that can be told: not within a step."""

    other_time_s: float
    """Wall time that none of the named spans covers."""

    num_steps: int
    num_resumes: int = 0
    """How often training went on from a checkpoint; the times are then those of all attempts up to it."""

    warmup_steps: int
    """Leading steps left out of the throughput."""

    images_per_s: float | None
    """Training images per second over all processes: median over the steps after the warm-up."""

    peak_resident_mib: float | None
    """Largest resident memory of one process during the cell (CPU runs)."""

    later_peak_mib: float | None = None
    """The same after the first step, when the optimizer has its state and what start-up needed is freed;
    on a GPU of the memory that tensors took."""

    peak_allocated_mib: float | None
    """Largest memory that tensors took on one GPU (torch.cuda.max_memory_allocated)."""

    peak_reserved_mib: float | None
    """Largest memory that torch's allocator held on one GPU (torch.cuda.max_memory_reserved)."""

    peak_process_gpu_mib: float | None = None
    """Largest memory of one process on its GPU as NVML has it, the CUDA context included."""

    sum_process_gpu_mib: float | None = None
    """The same of all processes, added up."""

    peak_device_gpu_mib: float | None = None
    """Largest memory taken on one GPU, by whomever."""

    sum_device_gpu_mib: float | None = None
    """The same of all GPUs, added up."""

    peak_tree_mib: float | None = None
    """Resident memory of all processes of the run and their children, their peaks added up."""

    tree_memory_method: str | None = None
    """How pages that processes share count there."""

    energy_j: float | None = None
    """Of whole GPUs, or processors, from setting up the cell to its written results."""

    train_energy_j: float | None = None
    """The part of it while training."""

    evaluate_energy_j: float | None = None
    """The part of it while scoring images."""

    energy_method: str | None = None
    """A counter, integrated power, or RAPL."""

    mean_power_w: float | None = None
    gpu_utilization_percent: float | None = None
    """Share of the time in which any kernel ran."""

    peak_temperature_c: float | None = None
    mean_sm_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """What held the clocks of a GPU down; empty: nothing."""

    peak_flops_per_s: float | None = None
    """Of one device in the cell's precision: `peak_flops_source` says where the figure is from."""

    peak_flops_source: str | None = None
    mfu_percent: float | None = None
    """Model FLOPs utilisation: the share of that peak that training has reached."""

    latency_batch1_p50_ms: float | None = None
    """One image through the model, in the cell's precision, uncompiled, on one device: the median."""

    latency_batch1_p99_ms: float | None = None
    inference_images_per_s: float | None = None
    """In batches of `inference_batch_size` on one device."""

    inference_batch_size: int | None = None
    inference_threads: int | None = None
    inference_images_per_j: float | None = None
    """Images scored, in validation and test, by the energy that this took, idle power included."""

    weights_mib: float | None = None
    """The stored weights on disk."""

    @property
    def throttling(self) -> str | None:
        """What held the clocks down, `none` where nothing did; None where that is not known."""
        return None if self.throttle_reasons is None else "; ".join(self.throttle_reasons) or "none"

    @property
    def training_time_s(self) -> float:
        """All steps, the first one of each attempt included."""
        return self.first_step_time_s + self.train_time_s


class ModelFacts(_Value):
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


class InEffect(_Value):
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


class EpochRow(_Value):
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


class Failure(_Value):
    """Why a run did not finish."""

    kind: str
    message: str
    log_tail: str
    burnt_s: float
    """Seconds spent on the attempt."""


class Record(_Value):
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

    unavailable: dict[str, str] = {}
    """Why a measurement is null, by its name."""

    failure: Failure | None = None


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
