from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.memory import PeakMemory, read_peak, reset_peak

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MIB = 2**20


def take(mib: int) -> None:
    """Use `mib` MiB of memory and give them back."""
    np.ones(mib * MIB, np.uint8)


def resident_mib() -> float:
    peak = read_peak(CPU, was_reset=True).resident_mib
    assert peak is not None
    return peak


@pytest.fixture
def _resettable() -> None:
    if not reset_peak(CPU):
        pytest.skip("this system cannot reset the peak of a running process")


@pytest.mark.usefixtures("_resettable")
def test_an_allocation_shows_in_the_peak_after_it_was_freed() -> None:
    before = resident_mib()
    take(200)
    assert resident_mib() - before == pytest.approx(200, abs=20)


@pytest.mark.usefixtures("_resettable")
def test_a_reset_forgets_what_was_freed_before() -> None:
    before = resident_mib()
    take(300)
    assert reset_peak(CPU)
    assert resident_mib() - before < 100
    take(200)
    assert resident_mib() - before == pytest.approx(200, abs=20)


def test_a_cpu_run_has_no_gpu_memory_and_says_why() -> None:
    peak = read_peak(CPU, was_reset=True)
    assert (peak.allocated_mib, peak.reserved_mib) == (None, None)
    assert peak.reasons.keys() == {"peak_allocated_mib", "peak_reserved_mib"}


def test_a_peak_that_could_not_be_reset_is_missing_and_not_that_of_the_cell_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: Path, text: str, encoding: str) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "write_text", refuse)
    was_reset = reset_peak(CPU)
    peak = read_peak(CPU, was_reset)
    assert was_reset is False
    assert peak.resident_mib is None
    assert "cannot reset" in peak.reasons["peak_resident_mib"]


def test_a_gpu_run_reports_torchs_peaks_in_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty_cache"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 150 * MIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 200 * MIB)
    was_reset = reset_peak(CUDA)
    assert calls == ["empty_cache", "reset"]
    assert read_peak(CUDA, was_reset) == PeakMemory(
        resident_mib=None,
        allocated_mib=150,
        reserved_mib=200,
        reasons={"peak_resident_mib": "measured on CPU runs only"},
    )


@pytest.mark.gpu
def test_an_allocation_on_a_real_gpu_shows_in_its_peak_and_is_forgotten_by_a_reset() -> None:
    device = torch.device("cuda", 0)
    reset_peak(device)
    before = read_peak(device, True).allocated_mib
    tensor = torch.empty(200 * MIB, dtype=torch.uint8, device=device)
    del tensor
    after = read_peak(device, True).allocated_mib
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(200, abs=2)
    reset_peak(device)
    assert read_peak(device, True).allocated_mib == before
