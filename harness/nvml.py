"""One GPU as NVML sees it: every question is answered by a value, or by why there is none. No torch here.

    with started() as nvml:
        device = open_device(nvml, uuid="f8ad...")
        device.power_w()        # 412.3, or Missing("NVML: Not Supported")

NVML counts GPUs in an order of its own, and knows nothing of CUDA_VISIBLE_DEVICES: a GPU is found by its
UUID, or else by its place on the PCI bus. A slice of a GPU (MIG) has a UUID too; power, energy, clocks and
the like exist for the whole GPU only, where other slices may be at work, and are never shown as a slice's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from harness.usage import Missing

MIB = 2**20

_THROTTLING = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}
"""Bits of the clocks event reasons (nvml.h) that slow down a GPU which has work to do."""

_NOT_THROTTLING = 0x1 | 0x2 | 0x100  # idle, and the clocks that somebody chose

_MIG = "MIG: NVML measures this of whole GPUs only, and this process has a slice of one"
_CANNOT_BE_0 = "NVML says 0, which cannot be"
_TRIES = 3


@dataclass(frozen=True)
class Use:
    """A process that computes on a GPU."""

    pid: int
    used_mib: float | None
    """None: the driver does not say, as inside of containers."""


@contextmanager
def started() -> Iterator[Any]:
    """NVML, loaded and ready inside of the block.

    Raises:
        pynvml.NVMLError: there is no driver, or it does not answer.
    """
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def text_of(value: str | bytes) -> str:
    """Older versions of pynvml give bytes."""
    return value.decode() if isinstance(value, bytes) else value


def list_uses(nvml: Any, handle: Any) -> list[Use] | Missing:
    """The processes that compute on a GPU."""
    # the name without a version raises an error of another kind where the driver is older than pynvml
    function = "nvmlDeviceGetComputeRunningProcesses"
    listed = _ask(nvml, (f"{function}_v3", f"{function}_v2"), handle)
    return listed if isinstance(listed, Missing) else [_use(each) for each in listed]


class NvmlDevice:
    """An open GPU, or slice of one."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        is_found_slice = _number(self._ask("nvmlDeviceIsMigDeviceHandle")) == 1
        mode = self._ask("nvmlDeviceGetMigMode")
        # found by its place on the bus, a GPU that is cut into slices: which one is ours is not known
        is_cut = not isinstance(mode, Missing) and mode[0] == 1
        self._is_slice = is_found_slice or is_cut
        self._is_unknown_slice = is_cut and not is_found_slice

    def uuid(self) -> str | Missing:
        """Its name, which no other GPU has."""
        answer = self._ask("nvmlDeviceGetUUID")
        return answer if isinstance(answer, Missing) else text_of(answer)

    def power_w(self) -> float | Missing:
        """What it draws now; since Ampere a mean over the last second."""
        answer = self._ask_whole("nvmlDeviceGetPowerUsage")
        return answer if isinstance(answer, Missing) else answer / 1000

    def energy_j(self) -> float | Missing:
        """What it has drawn since the driver was loaded (Volta and newer)."""
        answer = self._ask_whole("nvmlDeviceGetTotalEnergyConsumption")
        return answer if isinstance(answer, Missing) else answer / 1000

    def utilization_percent(self) -> float | Missing:
        """Share of the last moment, up to a second, in which a kernel ran; it may be 0."""
        answer = self._ask_whole("nvmlDeviceGetUtilizationRates")
        return answer if isinstance(answer, Missing) else float(answer.gpu)

    def temperature_c(self) -> float | Missing:
        """Of the chip."""
        return _float(self._ask_whole("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU))

    def sm_clock_mhz(self) -> float | Missing:
        """Of the multiprocessors."""
        return _float(self._ask_whole("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM))

    def throttle_reasons(self) -> tuple[str, ...] | Missing:
        """What holds the clocks down now; being idle, and clocks that somebody chose, are not among it."""
        if self._is_slice:
            return Missing(_MIG)
        stem = "nvmlDeviceGetCurrentClocks"
        answer = self._ask((f"{stem}EventReasons", f"{stem}ThrottleReasons"))  # until driver 535 the second
        return answer if isinstance(answer, Missing) else _names(int(answer))

    def device_mib(self) -> float | Missing:
        """Memory that all processes take, and what the driver reserves."""
        if self._is_unknown_slice:
            return Missing(_MIG)
        answer = self._ask("nvmlDeviceGetMemoryInfo")
        return answer if isinstance(answer, Missing) else answer.used / MIB

    def process_mib(self, pid: int) -> float | Missing:
        """Memory that one process takes."""
        uses = list_uses(self._nvml, self._handle)
        if isinstance(uses, Missing):
            return uses
        used = [use.used_mib for use in uses if use.pid == pid]
        if not used:
            return Missing(
                f"NVML lists no process {pid} on the GPU: outside of a container it has another number"
            )
        if None in used:
            return Missing("NVML lists the process, but not its memory, as in containers")
        return sum(filter(None, used)) or Missing(_CANNOT_BE_0)

    def _ask_whole(self, name: str, *arguments: Any) -> Any:
        """Ask for what is measured of a whole GPU, and is never 0 while it works."""
        if self._is_slice:
            return Missing(_MIG)
        answer = self._ask(name, *arguments)
        return Missing(_CANNOT_BE_0) if isinstance(answer, int) and answer == 0 else answer

    def _ask(self, names: str | tuple[str, ...], *arguments: Any) -> Any:
        return _ask(self._nvml, names, self._handle, *arguments)


def open_device(nvml: Any, uuid: str | None, pci_bus_id: str | None = None) -> NvmlDevice | Missing:
    """The GPU, or slice of one, with this UUID, or else the GPU at this place.

    Args:
        nvml: what `started` gave.
        uuid: with the prefix that NVML gives it, or without, as CUDA does.
        pci_bus_id: such as `00000000:3B:00.0`.
    """
    ways: list[tuple[str, str]] = []
    if uuid is not None:
        prefixes = ("",) if uuid.startswith(("GPU-", "MIG-")) else ("GPU-", "MIG-")
        ways += [("nvmlDeviceGetHandleByUUID", prefix + uuid) for prefix in prefixes]
    if pci_bus_id is not None:
        ways.append(("nvmlDeviceGetHandleByPciBusId", pci_bus_id))
    reasons = ["neither a UUID nor a place on the PCI bus is known"]
    for function, name in ways:
        handle = _ask(nvml, function, name)
        if not isinstance(handle, Missing):
            return NvmlDevice(nvml, handle)
        reasons.append(handle.reason)
    return Missing(f"the GPU was not found: {reasons[min(1, len(ways))]}")


def _ask(nvml: Any, names: str | tuple[str, ...], *arguments: Any) -> Any:
    """The answer of the first of these functions that pynvml and the driver have, or why there is none."""
    answer = Missing("NVML: this version of pynvml has no such function")
    for name in (names,) if isinstance(names, str) else names:
        function = getattr(nvml, name, None)
        if function is None:
            continue
        try:
            return _patiently(nvml, function, arguments)
        except nvml.NVMLError_FunctionNotFound as error:
            answer = Missing(f"NVML: {error}")
        except nvml.NVMLError as error:
            return Missing(f"NVML: {error}")
    return answer


def _patiently(nvml: Any, function: Any, arguments: tuple[Any, ...]) -> Any:
    """Ask again where a list has grown between the questions for its length and for itself."""
    for _ in range(_TRIES - 1):
        with suppress(nvml.NVMLError_InsufficientSize):
            return function(*arguments)
    return function(*arguments)


def _number(answer: Any) -> int | None:
    """The number in an answer: pynvml leaves some in their ctypes box."""
    return None if isinstance(answer, Missing) else int(getattr(answer, "value", answer))


def _float(answer: Any) -> float | Missing:
    return answer if isinstance(answer, Missing) else float(answer)


def _use(listed: Any) -> Use:
    used = listed.usedGpuMemory
    return Use(listed.pid, None if used is None else used / MIB)


def _names(bits: int) -> tuple[str, ...]:
    known = [name for bit, name in _THROTTLING.items() if bits & bit]
    unknown = bits & ~sum(_THROTTLING) & ~_NOT_THROTTLING
    return (*known, *([f"reason {unknown:#x}"] if unknown else []))
