"""fp32, tf32, bf16 and fp16: autocast, the gradient scaler, and whether the device can do it."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from harness.cell import Precision
from harness.errors import HardwareError


@dataclass(frozen=True)
class Autocast:
    """How the forward pass and the loss are computed in one precision."""

    device_type: str
    dtype: torch.dtype | None
    """None: no autocast."""

    scaler: torch.amp.GradScaler
    """Scales the loss so that fp16 gradients do not underflow; does nothing in other precisions."""

    def context(self) -> AbstractContextManager[None]:
        """A context in which matrix products and convolutions run in the precision."""
        enabled = self.dtype is not None
        return torch.autocast(self.device_type, dtype=self.dtype or torch.bfloat16, enabled=enabled)


def slow_precision(precision: Precision, device: torch.device) -> str | None:
    """A warning where the device computes in `precision`, but has no instructions for it; None elsewhere."""
    if precision != "bf16" or device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    asked = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if None in asked or any(ask() for ask in asked if ask is not None):
        return None  # a torch that does not tell, or a processor that has them
    return (
        "this processor has no bf16 instructions (AVX512-BF16 or AMX), and is many times slower in bf16 than "
        "in fp32: try --precision fp32"
    )


def make_autocast(precision: Precision, device: torch.device) -> Autocast:
    """Set up `precision` on `device`.

    Raises:
        HardwareError: the device cannot compute in that precision.
    """
    if precision == "fp16" and device.type == "cpu":
        raise HardwareError(
            "precision fp16 is not available on the CPU, where its backward pass is hundreds of times "
            "slower than bf16: use --precision bf16 or fp32"
        )
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        name = torch.cuda.get_device_name(device)
        raise HardwareError(f"precision bf16 is not available on {name}: use --precision fp16 or fp32")
    if precision == "tf32" and (device.type == "cpu" or torch.cuda.get_device_capability(device) < (8, 0)):
        name = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
        raise HardwareError(
            f"precision tf32 is not available on {name}, but on NVIDIA GPUs since Ampere: "
            "use --precision fp32 or bf16"
        )
    # one switch for the whole process; cells run one after the other
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return Autocast(device.type, dtype, torch.amp.GradScaler(device.type, enabled=precision == "fp16"))
