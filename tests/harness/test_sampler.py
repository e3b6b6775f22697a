from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness import sampler as module
from harness.meters import CpuSource, GpuSource, Meter, NoMeter, Source
from harness.sampler import Sampler, source_of
from harness.series import LEAST_CHANGES
from harness.usage import MEASURED, RAPL, Usage, nothing_measured

NOWHERE = CpuSource(Path("/nowhere"))


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "name").write_text("package-0\n")
    (package / "max_energy_range_uj").write_text("1000000000\n")
    use_energy(tmp_path, 5)
    return tmp_path


def use_energy(powercap: Path, count_j: float) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").write_text(f"{round(count_j * 1e6)}\n")


def sampling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sampler"]


def use_meter(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def open_meter(source: Source) -> Iterator[Meter]:
        yield meter

    monkeypatch.setattr(module, "open_meter", open_meter)


class CountingMeter(NoMeter):
    def __init__(self) -> None:
        super().__init__("x", "counts only")
        self.samples = 0
        self.phases: list[str | None] = []

    def sample(self) -> None:
        self.samples += 1

    def mark(self, phase: str | None) -> None:
        self.phases.append(phase)


def test_energy_of_a_cpu_run_is_that_of_its_processors_by_phase(powercap: Path) -> None:
    with Sampler(CpuSource(powercap), interval_s=60) as sampler:
        sampler.read()
        before_j = 5.0
        for count_j, phase in ((7, "train"), (17, "evaluate"), (18, "train"), (20, None)):
            for step in range(LEAST_CHANGES):
                use_energy(powercap, before_j + (count_j - before_j) * (step + 1) / LEAST_CHANGES)
                sampler.read()
            before_j = count_j
            sampler.mark(phase)
            sampler.read()
        use_energy(powercap, 24)
    usage = sampler.read()
    assert usage.energy_j == pytest.approx(19)
    assert usage.train_energy_j == pytest.approx(12)
    assert usage.energy_method == RAPL
    assert usage.mean_power_w == pytest.approx(19 / usage.measured_s)
    assert usage.peak_tree_mib is not None
    assert usage.peak_tree_mib > 20
    lacking = [name for name in MEASURED if getattr(usage, name) is None]
    assert len(lacking) == 8
    assert {usage.reasons[name] for name in lacking} == {"no CUDA device in this run"}


def test_a_cpu_run_without_counters_has_reasons_for_its_energy() -> None:
    with Sampler(NOWHERE) as sampler:
        pass
    usage = sampler.read()
    for name in ("energy_j", "train_energy_j", "evaluate_energy_j", "energy_method", "mean_power_w"):
        assert usage.reasons[name].startswith("no RAPL: ")
    assert usage.peak_tree_mib is not None


def test_it_samples_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = CountingMeter()
    use_meter(meter, monkeypatch)
    with Sampler(NOWHERE, interval_s=0.01):
        time.sleep(0.5)
    assert 10 < meter.samples <= 60


def test_the_thread_ends_at_once_with_the_block() -> None:
    with Sampler(NOWHERE, interval_s=60) as sampler:
        assert len(sampling_threads()) == 1
        sampler.read()
        start_s = time.perf_counter()
    assert time.perf_counter() - start_s < 2
    assert sampling_threads() == []


def test_the_thread_ends_with_a_block_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), Sampler(NOWHERE):
        raise ZeroDivisionError
    assert sampling_threads() == []


def test_marks_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = CountingMeter()
    use_meter(meter, monkeypatch)
    phases = ["startup", "data", None, "train"]
    with Sampler(NOWHERE, interval_s=60) as sampler:
        for phase in phases:
            sampler.mark(phase)
    assert meter.phases == phases


def test_a_fault_of_the_measuring_is_a_reason_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class FailingMeter(CountingMeter):
        def sample(self) -> None:
            super().sample()
            if self.samples == 2:
                raise ValueError("odd")

    use_meter(FailingMeter(), monkeypatch)
    with Sampler(NOWHERE, interval_s=60) as sampler:
        sampler.read()
        usage = sampler.read()
        sampler.mark("train")
    reason = "the sampling failed: ValueError: odd"
    assert usage == sampler.read() == nothing_measured("?", reason)
    assert set(usage.reasons.values()) == {reason}
    assert sampling_threads() == []


def test_a_driver_that_hangs_does_not_hold_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class HangingMeter(CountingMeter):
        def sample(self) -> None:
            released.wait(30)

        def usage(self) -> Usage:
            return nothing_measured("x", "late")

    use_meter(HangingMeter(), monkeypatch)
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 0.1)
    start_s = time.perf_counter()
    with Sampler(NOWHERE) as sampler:
        sampler.mark("train")
    assert time.perf_counter() - start_s < 5
    assert "has not answered" in sampler.read().reasons["energy_j"]
    released.set()


def test_a_device_is_sampled_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(source_of(torch.device("cpu")), CpuSource)
    properties = SimpleNamespace(
        uuid="ffc79498-8ff3-c2dc-3b0d-fafd804516ae", pci_domain_id=0, pci_bus_id=0x3B, pci_device_id=0
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert source_of(torch.device("cuda:1")) == GpuSource(properties.uuid, "00000000:3b:00.0")
    del properties.uuid, properties.pci_domain_id
    assert source_of(torch.device("cuda:1")) == GpuSource(None, None)
