"""How the processes share the work of one cell: alone, or data-parallel (DDP)."""

from __future__ import annotations

import inspect
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.cell import CellSpec
from harness.errors import HardwareError
from harness.process import Process


def wrap_model(model: nn.Module, cell: CellSpec, process: Process) -> nn.Module:
    """The model as the cell's strategy trains it; DDP averages the gradients over all processes.

    Running statistics stay each process's own while training, and are averaged before an evaluation.
    """
    if cell.compile != "none":
        torch.compiler.reset()  # or what the cells before have compiled would count for this one
        # shares its parameters with `model`, which evaluates uncompiled
        model = cast(nn.Module, torch.compile(model, mode=cell.compile))
    if cell.strategy == "single":
        return model
    # torch 2.14 gave the switch a new name and warns about the old one
    is_new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    own_statistics: dict[str, Any] = {"forward_sync_buffers" if is_new else "broadcast_buffers": False}
    return DistributedDataParallel(
        model,
        device_ids=[process.device.index] if process.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **own_statistics,
    )


def check_compile(cell: CellSpec, device: torch.device) -> None:
    """Refuse to compile where that cannot be done.

    Raises:
        HardwareError: CUDA graphs are asked for and there is no GPU, or there is no C++ compiler.
    """
    if cell.compile == "none" or device.type == "cuda":
        return
    if cell.compile == "reduce-overhead":
        raise HardwareError("--compile reduce-overhead is about CUDA graphs, and this is no GPU: try default")
    names = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        raise HardwareError(
            "--compile needs a C++ compiler, and none of g++ and clang++ is there: install one"
        )


def gradient_exchange(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """A context for one micro-batch: gradients are exchanged with the last one of a batch only."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
