"""How the processes share the work of one cell: alone, or data-parallel (DDP)."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.cell import CellSpec
from harness.process import Process


def wrap_model(model: nn.Module, cell: CellSpec, process: Process) -> nn.Module:
    """The model as the cell's strategy trains it; DDP averages the gradients over all processes.

    Running statistics stay each process's own while training, and are averaged before an evaluation.
    """
    if cell.compile != "none":
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


def gradient_exchange(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """A context for one micro-batch: gradients are exchanged with the last one of a batch only."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
