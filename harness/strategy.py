"""How the processes share the work of one cell.

single            one process
ddp               each process has all weights and a part of each batch; gradients are averaged
fsdp              each has a part of weights, gradients and optimizer state (`harness/fsdp.py`)
zero1 zero2 zero3 each has a part of the optimizer state, of the gradients too, of the weights too
                  (`harness/zero.py`)

    strategy = make_strategy(cell, model, scaler, process)
    with strategy.micro_batch(exchange=True):
        strategy.backward(loss_of(strategy.wrapped(images)))
    strategy.step()
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from harness.cell import SHARDED, WEIGHTS_IN_PARTS, CellSpec
from harness.errors import HardwareError
from harness.optimizer import make_optimizer
from harness.process import Process
from harness.tuning import hold_frozen_statistics


@dataclass(frozen=True)
class Held:
    """How many numbers a process keeps between two steps."""

    num_params: int
    """Parameters, or elements of the parts of them."""

    num_optimizer_values: int
    """Of the optimizer's state and of copies of the weights that it works on; 0 before the first step."""


class Strategy:
    """`single` and `ddp`: every process has the whole model; the others derive from it.

    Args:
        cell: the cell.
        model: on its device, with the weights to start with; what of it is frozen now is never trained.
        scaler: of the loss, for fp16.
        process: this one.
    """

    def __init__(
        self, cell: CellSpec, model: nn.Module, scaler: torch.amp.GradScaler, process: Process
    ) -> None:
        self.cell = cell
        self.model = model
        """The model itself, which is scored."""

        self.process = process
        in_parts = cell.strategy == "fsdp"
        self.optimizer: Optimizer = make_optimizer(
            model, cell.recipe, process.device, in_parts, cell.precision
        )
        """Learning rates are those of its `param_groups`."""

        self.wrapped = model
        """What is called to train."""

        self.num_params = sum(parameter.numel() for parameter in model.parameters())
        self.num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._scaler = scaler

    def wrap(self) -> None:
        """Make `wrapped`, again after layers were frozen or unfrozen; all processes have equal weights then.

        Running statistics stay each process's own while training, and are averaged before an evaluation.
        """
        cell, process = self.cell, self.process
        wrapped = self.model
        if cell.compile != "none":
            torch.compiler.reset()  # or what the cells before have compiled would count for this one
            # shares its parameters with `model`, which evaluates uncompiled
            wrapped = cast(nn.Module, torch.compile(wrapped, mode=cell.compile))
        if process.world_size > 1:
            # torch 2.14 gave the switch a new name and warns about the old one
            is_new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
            switch = "forward_sync_buffers" if is_new else "broadcast_buffers"
            wrapped = DistributedDataParallel(
                wrapped,
                device_ids=[process.device.index] if process.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                **cast(Any, {switch: False}),
            )
        self.wrapped = wrapped

    def train_mode(self) -> None:
        """Put the model into training mode, but for the statistics of layers that are frozen for a time."""
        self.wrapped.train()
        if self.cell.recipe.tuning == "gradual":
            hold_frozen_statistics(self.wrapped)

    def micro_batch(self, exchange: bool) -> AbstractContextManager[None]:
        """A context for forward and backward of a micro-batch, after which gradients are averaged or not."""
        if isinstance(self.wrapped, DistributedDataParallel) and not exchange:
            return self.wrapped.no_sync()
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`, of this process's micro-batch, to what is there."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's

    def exchange_gradients(self) -> None:
        """Average the gradients over the processes where no micro-batch did it."""
        if self.process.world_size == 1:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        for gradient in gradients:
            gradient.div_(self.process.world_size)  # before the sum, as DDP does
        pending = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
        for work in pending:
            work.wait()

    def step(self) -> None:
        """Update the weights and forget the gradients."""
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def drop_gradients(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers, or the parts of them that this process has; live, to be read and set."""
        return self.model.state_dict()

    def held(self) -> Held:
        """How much this process keeps."""
        state = self.optimizer.state.values()
        return Held(_num_values(self.model.parameters()), _num_values(_tensors_in(state)))

    def optimizer_state(self) -> dict[str, Any]:
        """What the optimizer goes on from, or this process's part of it; plain values."""
        return self.optimizer.state_dict() | {"scaler": self._scaler.state_dict()}

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Go on from an `optimizer_state`."""
        self._scaler.load_state_dict(state["scaler"])
        self.optimizer.load_state_dict({name: state[name] for name in ("state", "param_groups")})

    def check_in_step(self) -> None:
        """Refuse to go on where the processes, which have the same whole weights, do not agree on them.

        Raises:
            HardwareError: they differ.
        """
        if self.process.world_size == 1 or self.cell.strategy in WEIGHTS_IN_PARTS:
            return
        bits = [p.detach().contiguous().view(torch.int32) for p in self.model.parameters()]
        sums = [int(tensor.sum(dtype=torch.int64)) for tensor in bits]  # in whichever order
        everyone = self.process.agree(self.process.gather(sums))
        strays = [rank for rank, theirs in enumerate(everyone) if theirs != everyone[0]]
        if strays:
            raise HardwareError(
                f"the weights of process(es) {', '.join(map(str, strays))} are not those of process 0 after "
                "training: their gradients were not exchanged as they should be"
            )

    def close(self) -> None:
        """Let go of what outlives the object."""

    @property
    def is_sharded(self) -> bool:
        """Whether weights or optimizer are in parts, such that each process has a state of its own."""
        return self.cell.strategy in SHARDED


def make_strategy(
    cell: CellSpec, model: nn.Module, scaler: torch.amp.GradScaler, process: Process
) -> Strategy:
    """The strategy of the cell, over `model`.

    Raises:
        HardwareError: it needs a package or a platform that is not there.
    """
    if cell.strategy == "fsdp":
        from harness.fsdp import FullyShard  # takes a second to import

        return FullyShard(cell, model, scaler, process)
    if cell.strategy in SHARDED:
        from harness.zero import Zero

        return Zero(cell, model, scaler, process)
    return Strategy(cell, model, scaler, process)


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


def _num_values(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors if tensor.ndim > 0)


def _tensors_in(states: Iterable[dict[str, Any]]) -> list[Tensor]:
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]
