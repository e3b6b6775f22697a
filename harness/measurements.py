"""What of a run was measured, as its record keeps it. No torch here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A part of a record: fixed, with no fields but its own, and finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measurements(Value):
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
