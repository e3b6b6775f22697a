"""What a cell's record says of inference: latency of one image, throughput of a batch, in a second or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.batches import Preprocess, Samples
from harness.call_times import measure_latency
from harness.evaluate import EVALUATION_BATCH_SIZE
from harness.latency_backends import classify
from harness.out_of_memory import is_out_of_memory
from harness.precision import Autocast
from harness.process import Process

BATCH_SIZE = 128
_TIME_S = 0.8
"""For one batch size, at most; the warm-up takes a quarter of it more."""


@dataclass(frozen=True)
class QuickLatency:
    """What a cell's record says of inference, in the cell's precision on one device."""

    latency_batch1_p50_ms: float
    latency_batch1_p99_ms: float | None
    inference_images_per_s: float
    inference_batch_size: int
    inference_threads: int
    reasons: dict[str, str]
    """Why a value is None, by its name."""


def quick_latency(
    model: nn.Module, samples: Samples, normalize: Preprocess, autocast: Autocast, process: Process
) -> QuickLatency | str:
    """Latency of one image and throughput of a batch, in a second or two or the few calls that take longer.

    The first process measures, alone, and the others wait: for weights that are whole on it.

    Args:
        model: not wrapped for training; it is put into evaluation mode.
        samples: to classify, such as the test images.
        normalize: as in training.
        autocast: as in training.
        process: who waits.

    Returns:
        The figures, or why there are none.
    """
    measured: QuickLatency | str = "measured by the main process"
    if process.is_main:
        model.eval()
        batch_size = min(BATCH_SIZE, max(1, EVALUATION_BATCH_SIZE * 32**2 // normalize.image_size**2))
        try:
            measured = _quick(model, samples, normalize, autocast, process, min(batch_size, len(samples)))
        except Exception as error:  # noqa: BLE001  # must not end a training that is over, nor leave others waiting
            measured = f"measuring failed: {type(error).__name__}: {error}"
    return process.agree(measured)


def _quick(
    model: nn.Module,
    samples: Samples,
    normalize: Preprocess,
    autocast: Autocast,
    process: Process,
    batch_size: int,
) -> QuickLatency:
    one = many = None
    while many is None:
        batches = {
            size: samples.gather(torch.arange(size, device=samples.index_device)) for size in {1, batch_size}
        }
        call = classify(model, normalize, autocast, batches)
        limits: dict[str, Any] = {"synchronize": process.synchronize, "max_time_s": _TIME_S}
        try:
            (one,) = measure_latency(call, [1], min_time_s=0.05, **limits)
            (many,) = measure_latency(call, [batch_size], min_calls=10, min_time_s=0.1, **limits)
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            batch_size //= 2  # and not before the error, which holds on to the batches, is gone
    assert one is not None
    reasons = {"latency_batch1_p99_ms": one.p99_reason} if one.p99_reason else {}
    threads = torch.get_num_threads()
    return QuickLatency(one.p50_ms, one.p99_ms, many.images_per_s, batch_size, threads, reasons)
