"""The GPUs of this machine and who uses them, as NVML tells it. No torch here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from harness.nvml import MIB, Use, list_uses, started, text_of
from harness.usage import Missing


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
        with started() as nvml:
            try:
                gpus = [_read(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
            except pynvml.NVMLError as error:
                return [], f"NVML does not answer: {error}"
    except pynvml.NVMLError as error:
        return [], f"no GPU can be asked for: {error}"
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


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uses = list_uses(nvml, handle)
    return Gpu(
        index=index,
        uuid=text_of(nvml.nvmlDeviceGetUUID(handle)),
        name=text_of(nvml.nvmlDeviceGetName(handle)),
        total_mib=nvml.nvmlDeviceGetMemoryInfo(handle).total / MIB,
        processes=() if isinstance(uses, Missing) else tuple(uses),  # not every card tells who uses it
    )
