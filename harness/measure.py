"""What a cell took: time by phase, throughput, memory, energy, the share of the peak, latency."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import median

import torch

from harness.cell import WEIGHTS_IN_PARTS
from harness.clock import LEDGER, Clock
from harness.measurements import Measurements
from harness.memory import largest_of, read_peak
from harness.peak_flops import Peak, mfu, peak
from harness.preparing import Prepared
from harness.process import Process
from harness.quick_latency import quick_latency
from harness.strategy import Strategy
from harness.training_state import Training
from harness.usage import Usage, combine

WARMUP_STEPS = 5  # left out of the throughput, but never more than a fifth of the steps
_LATENCIES = (
    *("latency_batch1_p50_ms", "latency_batch1_p99_ms"),
    *("inference_images_per_s", "inference_batch_size", "inference_threads"),
)
_REASONS = {
    "launch_time_s": "the cell was not started by harness/run.py",
    "weights_mib": "the weights were not kept",
    "inference_images_per_j": "no energy of the evaluation, or of one in which features were computed again",
    "mfu_percent": "no peak is known, or features were computed again after a stop",
}


def measure(
    strategy: Strategy,
    ready: Prepared,
    training: Training,
    clock: Clock,
    used: Usage,
    known: dict[str, float | None],
) -> tuple[Measurements, dict[str, str]]:
    """The measurements of a cell that is trained and scored, and why some of them are missing.

    Args:
        strategy: as training left it.
        ready: what was trained.
        training: what it left.
        clock: the ledger of the cell.
        used: what this process has used.
        known: measurements that were made elsewhere, by their names.
    """
    cell, process = strategy.cell, strategy.process
    memory, reasons = _memory(training, process, ready.peak_was_reset)
    used = combine(process.agree(process.gather(used)))
    with clock.span("latency"):
        device_peak = peak(process.device, cell.precision, torch.get_num_threads())
        answers, why_no_answers = _latency(strategy, ready)
    if device_peak.flops_per_s is None:
        reasons["peak_flops_per_s"] = device_peak.source
    warmup = min(WARMUP_STEPS, len(training.step_times_s) // 5)
    known |= {
        "inference_images_per_j": _images_per_j(strategy, ready, training, used),
        "mfu_percent": _mfu_percent(strategy, ready, training, clock, device_peak),
    }
    reasons |= {name: _REASONS[name] for name, value in known.items() if value is None}
    spans, wall = clock.spans_s, clock.wall_s()
    assert set(spans) <= set(LEDGER)
    measurements = Measurements(
        wall_time_s=wall,
        **{f"{name}_time_s": spans[name] for name in LEDGER},
        other_time_s=wall - sum(spans.values()),
        num_steps=len(training.step_times_s),
        num_resumes=training.num_resumes,
        warmup_steps=warmup,
        images_per_s=cell.recipe.batch_size / median(training.step_times_s[warmup:]),
        peak_flops_per_s=device_peak.flops_per_s,
        peak_flops_source=device_peak.source,
        **known,
        **memory,
        **{name: value for name, value in asdict(used).items() if name in Measurements.model_fields},
        **answers,
    )
    return measurements, reasons | used.reasons | why_no_answers


def _memory(
    training: Training, process: Process, peak_was_reset: bool
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Peaks of the process that has the largest ones."""
    later = read_peak(process.device, peak_was_reset)
    before = training.peak_before or later  # where the last attempt had no step to take
    whole = largest_of(before, later)
    values = {
        "peak_resident_mib": whole.resident_mib,
        "later_peak_mib": later.resident_mib or later.allocated_mib,
        "peak_allocated_mib": whole.allocated_mib,
        "peak_reserved_mib": whole.reserved_mib,
    }
    reasons = {"later_peak_mib": "this system cannot reset the peak of a running process"} | whole.reasons
    found = {name: _largest(value, process) for name, value in values.items()}
    return found, {
        name: reasons.get(name, "another process has none") for name, value in found.items() if value is None
    }


def _mfu_percent(
    strategy: Strategy, ready: Prepared, training: Training, clock: Clock, device_peak: Peak
) -> float | None:
    """Of the whole training: images of progressive resizing count with the FLOPs that they took."""
    if _computed_features_again(strategy, training):
        return None
    share = mfu(ready.facts.total_train_flops / clock.train_s(), strategy.process.world_size, device_peak)
    return None if share is None else 100 * share


def _images_per_j(strategy: Strategy, ready: Prepared, training: Training, used: Usage) -> float | None:
    """Images scored in validation and test, by the energy that this took."""
    if used.evaluate_energy_j is None or _computed_features_again(strategy, training):
        return None
    cell = strategy.cell
    num_test = len(ready.test_images) * (2 if cell.mirror_tta else 1)
    passes = 1 if cell.recipe.tuning == "head" else len(training.history)  # of the model, not of its head
    return (passes * len(ready.val_indices) + num_test) / used.evaluate_energy_j


def _computed_features_again(strategy: Strategy, training: Training) -> bool:
    """Whether a linear probe has taken time and energy, in each attempt, for features that count once."""
    return strategy.cell.recipe.tuning == "head" and training.num_resumes > 0


def _latency(strategy: Strategy, ready: Prepared) -> tuple[dict[str, float | None], dict[str, str]]:
    """How fast the whole model answers on one device, or why that was not measured."""
    if strategy.cell.strategy in WEIGHTS_IN_PARTS:
        return {}, dict.fromkeys(_LATENCIES, "no process has all weights: see python -m harness.latency")
    found = quick_latency(ready.model, ready.test_images, ready.normalize, ready.autocast, strategy.process)
    if isinstance(found, str):
        return {}, dict.fromkeys(_LATENCIES, found)
    return {name: getattr(found, name) for name in _LATENCIES}, found.reasons


def _largest(value: float | None, process: Process) -> float | None:
    """The largest over the processes; None where one of them has no value."""
    largest = process.largest(float("inf") if value is None else value)
    return None if math.isinf(largest) else largest
