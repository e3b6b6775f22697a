"""What is read at every sample, of a GPU or of the processors, and the usage that comes of it. No torch."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.nvml import NvmlDevice, open_device, started
from harness.process_tree import ProcessTree
from harness.rapl import POWERCAP, Rapl
from harness.series import PhaseEnergy, Series
from harness.usage import (
    COUNTER,
    EVALUATE,
    INTEGRATED,
    MEASURED,
    RAPL,
    TRAIN,
    Missing,
    Usage,
    make_usage,
    nothing_measured,
)


@dataclass(frozen=True)
class GpuSource:
    """A GPU, or slice of one, by its names; one of them is enough."""

    uuid: str | None
    pci_bus_id: str | None = None


@dataclass(frozen=True)
class CpuSource:
    """The processors of this machine, and the memory of this process and of what it starts."""

    powercap: Path = POWERCAP


Source = GpuSource | CpuSource


class Meter(Protocol):
    """Reads one source, always from the same thread."""

    def sample(self) -> None:
        """Read everything."""

    def mark(self, phase: str | None) -> None:
        """Begin a phase: energy counted from now on is its own."""

    def usage(self) -> Usage:
        """What was used from the first reading to the last."""


@contextmanager
def open_meter(source: Source) -> Iterator[Meter]:
    """A meter that reads `source` while the block runs."""
    if isinstance(source, CpuSource):
        yield CpuMeter(source.powercap)
        return
    import pynvml

    name = source.uuid or source.pci_bus_id or "GPU"
    with ExitStack() as stack:
        try:
            nvml = stack.enter_context(started())
        except pynvml.NVMLError as error:
            yield NoMeter(name, f"NVML: {error}")
            return
        device = open_device(nvml, source.uuid, source.pci_bus_id)
        yield NoMeter(name, device.reason) if isinstance(device, Missing) else GpuMeter(device, name)


class NoMeter:
    """In the place of a meter where nothing can be read."""

    def __init__(self, name: str, reason: str) -> None:
        self._usage = nothing_measured(name, reason)

    def sample(self) -> None:
        """There is nothing to read."""

    def mark(self, phase: str | None) -> None:
        """There is nothing to tell apart."""

    def usage(self) -> Usage:
        """Nothing, and why."""
        return self._usage


class GpuMeter:
    """Energy, state and memory of one GPU."""

    def __init__(self, device: NvmlDevice, name: str, now: Callable[[], float] = time.perf_counter) -> None:
        self._device = device
        self._now = now
        uuid = device.uuid()
        self._name = name if isinstance(uuid, Missing) else uuid
        self._pid = os.getpid()
        self._phase: str | None = None
        self._start_s: float | None = None
        self._end_s = 0.0
        self._counted = PhaseEnergy("energy counter")
        self._integrated = PhaseEnergy("power")
        self._power = Series()
        self._utilization, self._temperature, self._clock = Series(), Series(), Series()
        self._device_mib, self._process_mib = Series(), Series()
        self._throttling: set[str] = set()
        self._throttle_reads = Series()

    def sample(self) -> None:
        """Read everything."""
        self._read_energy(PhaseEnergy.add)
        device, at_s = self._device, self._end_s
        self._utilization.add(at_s, device.utilization_percent())
        self._temperature.add(at_s, device.temperature_c())
        self._clock.add(at_s, device.sm_clock_mhz())
        self._device_mib.add(at_s, device.device_mib())
        self._process_mib.add(at_s, device.process_mib(self._pid))
        names = device.throttle_reasons()
        self._throttle_reads.add(at_s, names if isinstance(names, Missing) else len(names))
        self._throttling |= set() if isinstance(names, Missing) else set(names)

    def mark(self, phase: str | None) -> None:
        """Begin a phase: energy counted from now on is its own."""
        self._read_energy(PhaseEnergy.end_phase)
        self._phase = phase

    def usage(self) -> Usage:
        """What was used from the first reading to the last."""
        measured_s = 0.0 if self._start_s is None else self._end_s - self._start_s
        device_mib, process_mib = self._device_mib.peak(), self._process_mib.peak()
        throttling = self._throttle_reads.peak()
        cpu_only = Missing("measured on CPU runs only")
        values = self._energy(measured_s) | {
            "gpu_utilization_percent": self._utilization.mean(),
            "peak_temperature_c": self._temperature.peak(),
            "mean_sm_clock_mhz": self._clock.mean(),
            "throttle_reasons": throttling
            if isinstance(throttling, Missing)
            else tuple(sorted(self._throttling)),
            "peak_process_gpu_mib": process_mib,
            "peak_device_gpu_mib": device_mib,
            "sum_process_gpu_mib": process_mib,
            "sum_device_gpu_mib": device_mib,
            "peak_tree_mib": cpu_only,
            "tree_memory_method": cpu_only,
        }
        return make_usage(self._name, measured_s, values)

    def _read_energy(self, take: Callable[[PhaseEnergy, float, float | Missing, str | None], None]) -> None:
        power_w, count_j = self._device.power_w(), self._device.energy_j()
        at_s = self._end_s = self._now()
        if self._start_s is None:
            self._start_s = at_s
        self._power.add(at_s, power_w)
        take(self._counted, at_s, count_j, self._phase)
        power_j = power_w if isinstance(power_w, Missing) else self._power.integral
        take(self._integrated, at_s, power_j, self._phase)

    def _energy(self, measured_s: float) -> dict[str, Any]:
        """Energy by the counter or, where that does not count, by the power."""
        total_j = self._counted.total_j()
        if not isinstance(total_j, Missing):
            return energy_values(self._counted, COUNTER, measured_s)
        power_w = self._power.mean()
        if isinstance(power_w, Missing):
            why = total_j.reason if total_j == power_w else f"{total_j.reason}; power: {power_w.reason}"
            return dict.fromkeys(_ENERGY, Missing(why))
        return energy_values(self._integrated, INTEGRATED, measured_s)


class CpuMeter:
    """Energy of the processors; memory of this process and of what it started."""

    def __init__(self, powercap: Path, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._rapl = Rapl(powercap)
        self._tree = ProcessTree()
        self._energy = PhaseEnergy("RAPL counter")
        self._tree_mib = Series()
        self._phase: str | None = None
        self._start_s: float | None = None
        self._end_s = 0.0

    def sample(self) -> None:
        """Read everything."""
        self._read_energy(PhaseEnergy.add)
        self._tree_mib.add(self._end_s, self._tree.read_mib())

    def mark(self, phase: str | None) -> None:
        """Begin a phase: energy counted from now on is its own."""
        self._read_energy(PhaseEnergy.end_phase)
        self._phase = phase

    def usage(self) -> Usage:
        """What was used from the first reading to the last."""
        measured_s = 0.0 if self._start_s is None else self._end_s - self._start_s
        tree_mib = self._tree_mib.peak()
        no_gpu = Missing("no CUDA device in this run")
        values = dict.fromkeys(MEASURED, no_gpu) | energy_values(self._energy, RAPL, measured_s)
        values["peak_tree_mib"] = tree_mib
        values["tree_memory_method"] = tree_mib if isinstance(tree_mib, Missing) else self._tree.method
        return make_usage(host_name(), measured_s, values)

    def _read_energy(self, take: Callable[[PhaseEnergy, float, float | Missing, str | None], None]) -> None:
        count_j = self._rapl.read_j()
        at_s = self._end_s = self._now()
        if self._start_s is None:
            self._start_s = at_s
        take(self._energy, at_s, count_j, self._phase)


_ENERGY = ("energy_j", "train_energy_j", "evaluate_energy_j", "energy_method", "mean_power_w")


def energy_values(energy: PhaseEnergy, method: str, measured_s: float) -> dict[str, Any]:
    """The values of a usage that an account of energy gives."""
    total_j = energy.total_j()
    if isinstance(total_j, Missing):
        return dict.fromkeys(_ENERGY, total_j)
    return {
        "energy_j": total_j,
        "train_energy_j": energy.phase_j(TRAIN),
        "evaluate_energy_j": energy.phase_j(EVALUATE),
        "energy_method": method,
        "mean_power_w": total_j / measured_s,
    }


def host_name() -> str:
    """What is the same for all containers of a machine, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
