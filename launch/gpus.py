"""The GPUs of this machine and who uses them, as NVML tells it. No torch here."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_MIB = 2**20


@dataclass(frozen=True)
class Use:
    """A process that computes on a GPU."""

    pid: int
    used_mib: float | None
    """None: the driver does not say, as inside of containers."""


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    index: int
    """As nvidia-smi counts."""

    uuid: str
    """What CUDA_VISIBLE_DEVICES takes, whatever the order in which CUDA counts."""

    name: str
    total_mib: float
    processes: tuple[Use, ...] = ()


def list_gpus() -> tuple[list[Gpu], str | None]:
    """The GPUs that CUDA may use here, and why there are none where there are none.

    CUDA_VISIBLE_DEVICES counts: what it hides from CUDA is not ours.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"no GPU can be asked for: {error}"
    try:
        gpus = [_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [], f"NVML does not answer: {error}"
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus, None
    found = []
    for word in (part.strip() for part in visible.split(",")):
        matching = [gpu for gpu in gpus if word == str(gpu.index) or (word and gpu.uuid.startswith(word))]
        if not matching:
            break  # CUDA stops at the first that it does not know
        found += matching
    return found, None if found else f"CUDA_VISIBLE_DEVICES={visible} hides all GPUs"


def _read(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    try:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        running = []  # not every card tells; then nobody is known to use it
    return Gpu(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        total_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total / _MIB,
        processes=tuple(
            Use(use.pid, None if use.usedGpuMemory is None else use.usedGpuMemory / _MIB) for use in running
        ),
    )


def _text(value: str | bytes) -> str:
    """Older versions of pynvml give bytes."""
    return value.decode() if isinstance(value, bytes) else value
