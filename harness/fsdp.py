"""Fully sharded data parallelism: each process keeps a part of weights, gradients and optimizer state.

ZeRO stage 3 (Rajbhandari et al. 2020, arXiv 1910.02054) as torch has it (Zhao et al. 2023, arXiv
2304.11277): the weights of one block of layers at a time are put together for its forward and backward
pass, in float32, and taken apart again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from harness.cell import CellSpec
from harness.process import Process
from harness.strategy import Held, Strategy

MIN_BLOCK_PARAMS = 10_000
"""Smaller blocks are exchanged with what is around them."""

_CONTAINERS = (nn.Sequential, nn.ModuleList)


class FullyShard(Strategy):
    """`fully_shard` over each block of the model and over the rest of it."""

    def __init__(
        self, cell: CellSpec, model: nn.Module, scaler: torch.amp.GradScaler, process: Process
    ) -> None:
        model.to(memory_format=torch.contiguous_format)  # parts are made of contiguous weights only
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), src=0)
        mesh = init_device_mesh(process.device.type, (process.world_size,))
        for block in blocks(model):
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        model.register_forward_hook(_take_apart)
        super().__init__(cell, model, scaler, process)

    def wrap(self) -> None:
        """Nothing: the model itself has been changed."""

    def micro_batch(self, exchange: bool) -> AbstractContextManager[None]:
        """See `Strategy.micro_batch`."""
        cast(FSDPModule, self.model).set_requires_gradient_sync(exchange)
        return nullcontext()

    def exchange_gradients(self) -> None:
        """Not possible: gradients in parts are exchanged as they are made."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """See `Strategy.tensors`."""
        return {name: local(tensor) for name, tensor in self.model.state_dict().items()}

    def held(self) -> Held:
        """See `Strategy.held`."""
        params = sum(local(parameter).numel() for parameter in self.model.parameters())
        values = [local(v) for state in self.optimizer.state.values() for v in state.values() if v.ndim > 0]
        return Held(params, sum(value.numel() for value in values))

    def optimizer_state(self) -> dict[str, Any]:
        """See `Strategy.optimizer_state`."""
        whole = super().optimizer_state()
        state = {
            index: {name: local(value) for name, value in values.items()}
            for index, values in whole["state"].items()
        }
        return whole | {"state": state}

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """See `Strategy.load_optimizer_state`."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        parts = {
            index: {name: _like(value, parameters[index]) for name, value in values.items()}
            for index, values in state["state"].items()
        }
        super().load_optimizer_state(state | {"state": parts})


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The members of the model's sequences of layers that have parameters enough, the outermost ones."""
    if not isinstance(model, _CONTAINERS):
        for child in model.children():
            yield from blocks(child)
        return
    for member in model:
        if isinstance(member, _CONTAINERS):
            yield from blocks(member)
        elif sum(parameter.numel() for parameter in member.parameters()) >= MIN_BLOCK_PARAMS:
            yield member


def _take_apart(model: nn.Module, *_: object) -> None:
    """Let nothing stay together after scoring, or weights that are set next would not be seen."""
    if not torch.is_grad_enabled():
        cast(FSDPModule, model).reshard()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has; all of it where it is not in parts."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(part: Tensor, parameter: nn.Parameter) -> Tensor:
    """A part of something that is in parts as `parameter` is; anything else as it is."""
    if not isinstance(parameter, DTensor) or part.shape != parameter.to_local().shape:
        return part
    return DTensor.from_local(
        part.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
