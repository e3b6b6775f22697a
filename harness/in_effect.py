"""What runs is what was asked: looked at where it happens, checked against the cell, kept in the record."""

from __future__ import annotations

import socket
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.batches import Inputs
from harness.cell import WEIGHTS_IN_PARTS, CellSpec
from harness.errors import HardwareError
from harness.precision import Autocast
from harness.process import Process
from harness.record import InEffect
from harness.strategy import Held, Strategy
from harness.sync_batchnorm import is_synchronized
from harness.training_state import Training

_DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_PADDING = 1.25
"""Parts are padded to equal sizes: together they may be so many times the whole."""


def device_name(process: Process) -> str:
    """Host and device of this process; a GPU by its identity, which no other one has."""
    host = socket.gethostname()
    if process.device.type != "cuda":
        return f"{host} {process.device.type}"
    properties = torch.cuda.get_device_properties(process.device)
    return f"{host} {properties.name} {getattr(properties, 'uuid', process.device.index)}"


def check_devices(process: Process) -> list[str]:
    """The device of every process, in order of rank, on every process.

    Raises:
        HardwareError: two processes share a GPU, or some are on GPUs and others are not.
    """
    devices = process.agree(process.gather((device_name(process), process.device.type)))
    names, kinds = [name for name, _ in devices], {kind for _, kind in devices}
    if len(kinds) > 1:
        raise HardwareError(f"the processes are on devices of different kinds: {', '.join(names)}")
    shared = {name for name in names if names.count(name) > 1} if kinds == {"cuda"} else set()
    if shared:
        ranks = [str(rank) for rank, name in enumerate(names) if name in shared]
        raise HardwareError(
            f"processes {', '.join(ranks)} share a GPU ({min(shared)}): start no more processes than GPUs"
        )
    return names


def check_backend(cell: CellSpec, process: Process) -> None:
    """Refuse processes that are joined in another way than their device needs.

    Raises:
        HardwareError: see above.
    """
    if cell.num_processes == 1:
        return
    expected = "nccl" if process.device.type == "cuda" else "gloo"
    backend = dist.get_backend() if dist.is_available() and dist.is_initialized() else process.backend
    if backend is None or expected not in backend:
        raise HardwareError(
            f"{cell.num_processes} processes on {process.device.type} need {expected}, and were joined by "
            f"{backend} ({process.distributed_type})"
        )


@torch.no_grad()
def compute_dtype(cell: CellSpec, model: nn.Module, inputs: Inputs, autocast: Autocast) -> str:
    """The type that the model's first convolution or dense layer computes in, as it comes out of it.

    Raises:
        HardwareError: it is not that of the cell's precision.
    """
    seen: list[torch.dtype] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        del module, inputs
        seen.append(output.dtype)

    layer = next((m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None)
    if layer is None:
        return "unknown"
    handle = layer.register_forward_hook(note)
    was_training = model.training
    model.eval()
    try:
        images = inputs.normalize(inputs.fit.gather(torch.arange(2)))
        with autocast.context():
            model(images)
    finally:
        handle.remove()
        model.train(was_training)
    found = str(seen[0]).removeprefix("torch.")
    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    if found != _DTYPES[cell.precision] or tf32 != (cell.precision == "tf32"):
        raise HardwareError(f"precision {cell.precision} was asked for, and the model computes in {found}")
    return "tf32" if cell.precision == "tf32" else found


def check_parts(strategy: Strategy) -> list[Held]:
    """What every process keeps, after the first step, if it is what the strategy says.

    Raises:
        HardwareError: weights or optimizer are not in parts, or are when they should not be.
    """
    cell, num_params, num_trained = strategy.cell, strategy.num_params, strategy.num_trained
    held = strategy.process.agree(strategy.process.gather(strategy.held()))
    params = sum(part.num_params for part in held)
    values = sum(part.num_optimizer_values for part in held)
    wholes = 2 if cell.recipe.optimizer == "adamw" else 1  # moments
    slack = 1024 * cell.num_processes
    problems = {
        "the weights are": (cell.strategy in WEIGHTS_IN_PARTS) and params > _PADDING * num_params + slack,
        "the optimizer is": strategy.is_sharded and values > _PADDING * wholes * num_trained + slack,
    }
    for what, is_whole in problems.items():
        if is_whole:
            raise HardwareError(f"strategy {cell.strategy} was asked for, and {what} not in parts: {held}")
    if cell.strategy not in WEIGHTS_IN_PARTS and any(part.num_params != num_params for part in held):
        raise HardwareError(f"strategy {cell.strategy} keeps whole weights, and a process has parts: {held}")
    return held


def describe(strategy: Strategy, training: Training) -> InEffect:
    """What the record says about it."""
    devices = check_devices(strategy.process)
    return InEffect(
        devices=tuple(devices),
        num_nodes=len({name.partition(" ")[0] for name in devices}),
        compute_dtype=training.compute_dtype,
        wrapper=type(strategy.wrapped).__name__,
        params_per_process=tuple(part.num_params for part in training.held),
        optimizer_values_per_process=tuple(part.num_optimizer_values for part in training.held),
        accumulation_steps=training.accumulation_steps,
        num_synchronized_norms=sum(is_synchronized(module) for module in strategy.model.modules()),
    )
