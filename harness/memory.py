"""Peak memory of one cell: torch's allocator on CUDA, the resident set of the process on the CPU."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import dataclass
from pathlib import Path

import torch

_MIB = 2**20
_LIBC = ctypes.CDLL(None)
_CLEAR_PEAK = "5"  # proc(5): writing 5 to clear_refs resets the peak resident set size


@dataclass(frozen=True)
class PeakMemory:
    """Peaks since `reset_peak`, in MiB; None where there is no such figure, for the reason given."""

    resident_mib: float | None
    allocated_mib: float | None
    reserved_mib: float | None
    reasons: dict[str, str]


def reset_peak(device: torch.device) -> bool:
    """Start a new measurement; False when the resident peak of this process cannot be reset."""
    gc.collect()  # what an earlier cell left in reference cycles
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # glibc keeps freed blocks, which would count for this cell
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def largest_of(first: PeakMemory, second: PeakMemory) -> PeakMemory:
    """The peaks over two measurements that follow one another; None where one of them has none."""

    def larger(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else max(a, b)

    return PeakMemory(
        larger(first.resident_mib, second.resident_mib),
        larger(first.allocated_mib, second.allocated_mib),
        larger(first.reserved_mib, second.reserved_mib),
        first.reasons | second.reasons,
    )


def read_peak(device: torch.device, was_reset: bool) -> PeakMemory:
    """The peaks since `reset_peak`, whose answer is `was_reset`."""
    if device.type == "cuda":
        return PeakMemory(
            resident_mib=None,
            allocated_mib=torch.cuda.max_memory_allocated(device) / _MIB,
            reserved_mib=torch.cuda.max_memory_reserved(device) / _MIB,
            reasons={"peak_resident_mib": "measured on CPU runs only"},
        )
    no_gpu = "no CUDA device in this run"
    reasons = {"peak_allocated_mib": no_gpu, "peak_reserved_mib": no_gpu}
    resident = _peak_resident_mib() if was_reset else None
    if resident is None:
        reasons["peak_resident_mib"] = "this system cannot reset the peak of a running process"
    return PeakMemory(resident, None, None, reasons)


def _peak_resident_mib() -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024  # in kB of 1024 bytes
    return None
