"""What a training took: time by phase, throughput after the warm-up, peak memory."""

from __future__ import annotations

import math
from statistics import median

from harness.cell import CellSpec
from harness.clock import Clock
from harness.memory import largest_of, read_peak
from harness.process import Process
from harness.record import Measurements
from harness.training_state import Training

WARMUP_STEPS = 5  # left out of the throughput, but never more than a fifth of the steps


def measure(
    cell: CellSpec, training: Training, clock: Clock, process: Process, peak_was_reset: bool
) -> tuple[Measurements, dict[str, str]]:
    """The measurements of a cell that is trained and scored, and why some of them are missing."""
    later = read_peak(process.device, peak_was_reset)
    before = training.peak_before or later  # where the last attempt had no step to take
    peak = largest_of(before, later)
    warmup = min(WARMUP_STEPS, len(training.step_times_s) // 5)
    spans, wall = clock.spans_s, clock.wall_s()
    measurements = Measurements(
        wall_time_s=wall,
        startup_time_s=spans["startup"],
        data_time_s=spans["data"],
        compile_time_s=spans["compile"],
        train_time_s=spans["train"],
        evaluate_time_s=spans["evaluate"],
        write_time_s=spans["write"],
        checkpoint_time_s=spans["checkpoint"],
        other_time_s=wall - sum(spans.values()),
        num_steps=len(training.step_times_s),
        num_resumes=training.num_resumes,
        warmup_steps=warmup,
        images_per_s=cell.recipe.batch_size / median(training.step_times_s[warmup:]),
        peak_resident_mib=_largest(peak.resident_mib, process),
        later_peak_mib=_largest(later.resident_mib or later.allocated_mib, process),
        peak_allocated_mib=_largest(peak.allocated_mib, process),
        peak_reserved_mib=_largest(peak.reserved_mib, process),
    )
    return measurements, peak.reasons


def _largest(value: float | None, process: Process) -> float | None:
    """The largest over the processes; None where one of them has no value."""
    largest = process.largest(float("inf") if value is None else value)
    return None if math.isinf(largest) else largest
