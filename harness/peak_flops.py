"""The most FLOP/s that a device can do, and what share of it a training has used. 1 multiply-add = 2 FLOPs.

An accelerator has the dense peak of its maker's data sheet, found by the name that
`torch.cuda.get_device_name` gives; a CPU has that of a matrix product, measured. An accelerator that the
table does not know has none.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch

from harness.cell import Precision
from harness.precision import make_autocast


class DataSheet(NamedTuple):
    """Dense peaks of one accelerator in TFLOP/s; None: it has no such units, or the source does not say."""

    source: str
    """Title and year. Figures that it gives with sparsity only are halved."""

    fp32: float | None = None
    """Outside of tensor cores."""

    tf32: float | None = None
    bf16: float | None = None
    """In tensor cores, accumulated in fp32, as torch does; likewise fp16."""

    fp16: float | None = None


_V100 = "NVIDIA V100 data sheet, 2020"
_GA102 = "NVIDIA Ampere GA102 GPU architecture white paper, 2021"
_ADA = "NVIDIA Ada GPU architecture white paper, 2023"
_HOPPER = "NVIDIA H100 GPU architecture white paper, 2023"
_H100 = "NVIDIA H100 data sheet, 2024"
_H200 = "NVIDIA H200 data sheet, 2024"
_BLACKWELL = "NVIDIA Blackwell architecture technical brief, 2024"

DATA_SHEETS = {
    "p100 pcie": DataSheet("NVIDIA Tesla P100 data sheet, 2016", fp32=9.3, fp16=18.7),
    "p100 sxm2": DataSheet("NVIDIA Tesla P100 data sheet, 2016", fp32=10.6, fp16=21.2),
    "v100 pcie": DataSheet(_V100, fp32=14.0, fp16=112),
    "v100 sxm2": DataSheet(_V100, fp32=15.7, fp16=125),
    "v100s pcie": DataSheet(_V100, fp32=16.4, fp16=130),
    "t4": DataSheet("NVIDIA T4 data sheet, 2019", fp32=8.1, fp16=65),
    "rtx 2080 ti": DataSheet(
        "NVIDIA Turing GPU architecture white paper, 2018, at reference clocks", fp32=13.4, fp16=53.8
    ),
    "a100 pcie": DataSheet("NVIDIA A100 data sheet, 2021", 19.5, 156, 312, 312),
    "a100 sxm4": DataSheet("NVIDIA A100 data sheet, 2021", 19.5, 156, 312, 312),
    "a10": DataSheet("NVIDIA A10 data sheet, 2021", 31.2, 62.5, 125, 125),
    "a30": DataSheet("NVIDIA A30 data sheet, 2021", 10.3, 82, 165, 165),
    "a40": DataSheet("NVIDIA A40 data sheet, 2021", 37.4, 74.8, 149.7, 149.7),
    "rtx a6000": DataSheet(_GA102, 38.7, 77.4, 154.8, 154.8),
    "rtx 3090": DataSheet(_GA102, 35.6, 35.6, 71, 71),
    "rtx 4090": DataSheet(_ADA, 82.6, 82.6, 165.2, 165.2),
    "rtx 6000 ada generation": DataSheet(_ADA, 91.1, 182.1, 364.2, 364.2),
    "l4": DataSheet("NVIDIA L4 data sheet, 2023", 30.3, 60, 121, 121),
    "l40": DataSheet("NVIDIA L40 data sheet, 2023", 90.5, 90.5, 181.05, 181.05),
    "l40s": DataSheet("NVIDIA L40S data sheet, 2023", 91.6, 183, 362.05, 362.05),
    "h100 hbm3": DataSheet(_HOPPER, 66.9, 494.7, 989.4, 989.4),  # as the SXM5 one is called
    "h100 pcie": DataSheet(_HOPPER, 51.2, 378, 756, 756),
    "h100 nvl": DataSheet(_H100, 60, 417.5, 835.5, 835.5),
    "h200": DataSheet(_H200, 67, 494.5, 989.5, 989.5),
    "h200 nvl": DataSheet(_H200, 60, 417.5, 835.5, 835.5),
    "gh200": DataSheet("NVIDIA GH200 data sheet, 2024", 67, 494.5, 989.5, 989.5),
    "b100": DataSheet(_BLACKWELL, bf16=1750, fp16=1750),
    "b200": DataSheet(_BLACKWELL, bf16=2250, fp16=2250),
    "gb200": DataSheet(_BLACKWELL, bf16=2500, fp16=2500),
    "rtx 5090": DataSheet(
        "NVIDIA RTX Blackwell GPU architecture white paper, 2025", 104.8, 104.8, 209.5, 209.5
    ),
    # torch sees each of the two dies of a card as a device: half of what the data sheet states for a card
    "mi250": DataSheet("AMD Instinct MI250 data sheet, 2021", fp32=45.25, bf16=181.05, fp16=181.05),
    "mi250x": DataSheet("AMD Instinct MI250X data sheet, 2021", fp32=47.85, bf16=191.5, fp16=191.5),
    "mi300x": DataSheet("AMD Instinct MI300X data sheet, 2023", 163.4, 653.7, 1307.4, 1307.4),
}
"""By the words of the name that are neither the maker's nor the size of the memory."""

_NO_MODEL = ("nvidia", "tesla", "geforce", "amd", "instinct", "oam")
_MEMORY_SIZE = re.compile(r"\d+gb")

_MEASURE_S = 0.3
_LONG_ENOUGH_S = 0.02
_SMALLEST, _LARGEST = 256, 8192


@dataclass(frozen=True)
class Peak:
    """What one device, or the CPU threads of one process, can do at most in one precision."""

    flops_per_s: float | None
    """None: not known."""

    source: str
    """Where the figure is from, or why there is none and what to do about it."""


def peak(device: torch.device, precision: Precision, threads: int | None = None) -> Peak:
    """The peak of a device: of its data sheet, or on a CPU that of a matrix product, measured in under 1 s.

    Args:
        device: what one process trains on.
        precision: that it trains in.
        threads: of that process, on a CPU; None: as many as torch uses.

    Raises:
        HardwareError: the CPU cannot compute in that precision.
    """
    if device.type != "cpu":
        return peak_by_name(torch.cuda.get_device_name(device), precision)
    threads = threads or torch.get_num_threads()
    source = f"measured matrix product: that of one CPU thread, times {threads}"
    return Peak(measured_peak(precision, device, threads), source)


def peak_by_name(name: str, precision: Precision) -> Peak:
    """The peak of an accelerator by its name; None for one that is not in the table.

    All words of a name must fit: an H100 of unknown form, a part of a GPU (MIG), a laptop's or another
    variant of a card is not the card whose name it contains.
    """
    words = re.split(r"[\s\-_]+", name.strip().lower())
    key = " ".join(word for word in words if word not in _NO_MODEL and not _MEMORY_SIZE.fullmatch(word))
    sheet = DATA_SHEETS.get(key)
    if sheet is None:
        return Peak(
            None,
            f"the peak FLOP/s of {name} is not known: add the dense figures of its data sheet to DATA_SHEETS "
            "in harness/peak_flops.py",
        )
    tflops: float | None = getattr(sheet, precision)
    if tflops is None:
        return Peak(None, f"no dense peak of {name} in {precision} is known ({sheet.source})")
    return Peak(tflops * 1e12, sheet.source)


def mfu(flops_per_s: float | None, num_processes: int, device_peak: Peak) -> float | None:
    """Model FLOPs utilisation: the share of all devices' peak that the model's own FLOPs take, 0 to 1.

    As in PaLM (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): what is observed is the throughput, and
    each image counts with the FLOPs that its forward and backward pass need in theory, without anything
    that is computed again to save memory. `models/complexity.py` counts those: forward, and backward for
    what is trained, so that a frozen layer takes no gradient of its weights.

    Args:
        flops_per_s: images trained on per second, by all processes together, times the FLOPs of one; None:
            not measured.
        num_processes: each with a device of its own; the devices are alike.
        device_peak: of one of them.
    """
    if flops_per_s is None or device_peak.flops_per_s is None:
        return None
    return flops_per_s / (num_processes * device_peak.flops_per_s)


def measured_peak(precision: Precision, device: torch.device, threads: int | None = None) -> float:
    """The most FLOP/s that a product of two square matrices reached; measured once in a process.

    On a CPU that of `threads` is taken to be so many times that of one, by the time that the thread was at
    work: whatever else the machine is doing, no training is faster. Threads that share a core do less.

    Raises:
        HardwareError: the device cannot compute in that precision.
    """
    num_units = 1 if device.type != "cpu" else threads or torch.get_num_threads()
    return num_units * _measured_unit(precision, device)


@cache
def _measured_unit(precision: Precision, device: torch.device) -> float:
    """FLOP/s of one GPU, or of one thread of the CPU."""
    dtype = make_autocast(precision, device).dtype or torch.float32
    num_threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        size, best_s = _SMALLEST // 2, 0.0
        while best_s < _LONG_ENOUGH_S and size < _LARGEST:
            size *= 2
            left = torch.rand(size, size, device=device).to(dtype)
            right = torch.rand(size, size, device=device).to(dtype)
            _product_s(left, right)  # the first one loads kernels
            best_s = _product_s(left, right)
        end = time.perf_counter() + _MEASURE_S
        while time.perf_counter() < end:
            best_s = min(best_s, _product_s(left, right))
    finally:
        torch.set_num_threads(num_threads)
    return float(2 * size**3 / best_s)


def _product_s(left: torch.Tensor, right: torch.Tensor) -> float:
    if left.device.type == "cpu":
        start = time.thread_time()
        left @ right
        return time.thread_time() - start
    torch.cuda.synchronize(left.device)
    start = time.perf_counter()
    left @ right
    torch.cuda.synchronize(left.device)
    return time.perf_counter() - start
