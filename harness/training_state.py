"""Everything that a training consists of between two steps: to be saved, and to go on from.

What follows from the cell and the position alone (order of the images, augmentation, learning rate,
frozen layers) is not saved but made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.batches import Inputs
from harness.cell import CellSpec
from harness.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from harness.clock import Clock, StepTimer
from harness.errors import StorageError
from harness.memory import PeakMemory
from harness.optimizer import WeightAverage
from harness.out_of_memory import Shortage, more_micro_batches
from harness.precision import Autocast
from harness.process import Process
from harness.progress import CellProgress
from harness.record import EpochRow
from harness.sampler import Sampler
from harness.selection import Proxy
from harness.stopping import Stopping
from harness.strategy import Held, Strategy
from harness.usage import Usage


@dataclass
class Training:
    """Where a training stands and, at its end, what it left; the model carries the selected weights then."""

    history: list[EpochRow] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    """Mean loss of every global batch of the epochs that are over."""

    step_times_s: list[float] = field(default_factory=list)
    selected_epoch: int = 0
    """From 1."""

    selected_score: tuple[float, float] | None = None
    """Accuracy and negative loss on the held-out images."""

    selected_state: dict[str, Tensor] = field(default_factory=dict)
    """Copies of the strategy's `tensors`; empty where the model itself has the selected weights."""

    val_logits: Tensor | None = None
    """Of the selected epoch."""

    epoch: int = 0
    """The epoch that it stands in, from 0."""

    step: int = 0
    """Steps of this epoch that are taken."""

    lr: float = 0.0
    """Learning rate of the last step."""

    accumulation_steps: int = 1
    """Micro-batches of a step on each process: those of the cell, or more where memory ran out."""

    num_trial_steps: int = 0
    """Steps to come after each of which the processes ask each other whether memory was enough."""

    epoch_losses: Tensor | None = None
    """This process's mean loss of these steps, [steps_per_epoch]."""

    epoch_start_s: float = 0.0
    """Seconds of training before this epoch."""

    num_resumes: int = 0
    energies_before: dict[str, float | None] | None = None
    """That this process's earlier attempts used, as `harness.usage` keeps it; None where there was none."""

    compute_dtype: str = "unknown"
    peak_before: PeakMemory | None = None
    """Until after the first step of this attempt, where a new measurement begins."""

    held: list[Held] = field(default_factory=list)
    """By every process, after the first step of this attempt."""

    is_paused: bool = False
    """It was stopped on purpose before its last epoch, and waits to go on."""

    def used(self, now: Usage) -> Usage:
        """What this attempt has used until `now`, and the earlier ones with it."""
        return now if self.energies_before is None else now.added_to(self.energies_before)


@dataclass(frozen=True)
class Saving:
    """Where the state of a training is saved, and when."""

    folder: Path
    stopping: Stopping
    shortage: Shortage
    every_epochs: int | None = None
    until_epoch: int | None = None
    """The training pauses when so many epochs are over; None: it goes on to the end."""

    sampler: Sampler | None = None
    """Knows the energy used, which the attempts of a training have used together."""


@dataclass(frozen=True)
class Loop:
    """What stays the same from the first step to the last."""

    strategy: Strategy
    inputs: Inputs
    average: WeightAverage | None
    proxy: Proxy | None
    """Chooses the images of a batch that are trained on; None: all of them."""

    autocast: Autocast
    clock: Clock
    timer: StepTimer
    progress: CellProgress
    saving: Saving | None
    on_oom: str = "shrink"

    @property
    def cell(self) -> CellSpec:
        """That is trained."""
        return self.strategy.cell

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self.strategy.model

    @property
    def process(self) -> Process:
        """This one."""
        return self.strategy.process

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: the images left over differ from epoch to epoch."""
        return len(self.inputs.fit) // self.cell.recipe.batch_size


def save_training(loop: Loop, training: Training, is_needed: bool = False) -> None:
    """Write a checkpoint; where that fails, say so and go on, since the training is worth more.

    Raises:
        StorageError: it cannot be written, and `is_needed`.
    """
    assert loop.saving is not None
    with loop.clock.span("checkpoint"):
        training.step_times_s += loop.timer.read()
        own = loop.process.gather(_own_state(loop, training))
        if loop.process.is_main:
            step = training.epoch * loop.steps_per_epoch + training.step
            state = _shared_state(loop, training) | {"own": own}
            weights = loop.strategy.tensors()
            if loop.strategy.is_sharded:
                parts = [part.pop("tensors") for part in own]
                weights = {f"{rank}/{name}": t for rank, part in enumerate(parts) for name, t in part.items()}
            try:
                save_checkpoint(loop.saving.folder, step, weights, state)
            except StorageError as error:
                if is_needed:
                    raise
                loop.progress.line(f"warning: no checkpoint: {error}")
    loop.timer.mark()


def restore_training(loop: Loop, training: Training) -> None:
    """Go on from the newest checkpoint, where there is one."""
    training.accumulation_steps = loop.cell.accumulation_steps
    if loop.saving is None:
        return
    found, problems = newest_checkpoint(loop.saving.folder) if loop.process.is_main else (None, [])
    for problem in problems:
        loop.progress.line(f"warning: {problem}, and not used")
    found = loop.process.agree(found)
    if found is not None:
        _restore(loop, training, found)
    too_few = loop.saving.shortage.known()
    more = more_micro_batches(loop.cell, too_few) if too_few >= training.accumulation_steps else None
    if more is not None and loop.on_oom == "shrink":
        training.accumulation_steps = more
        loop.progress.line(f"  {more} micro-batches a step: memory ran out before")


def _restore(loop: Loop, training: Training, found: Checkpoint) -> None:
    rank = loop.process.rank
    own = found.state["own"][rank]
    state = found.state | own  # where the optimizer is in parts, each process has its own
    prefix = f"{rank}/" if loop.strategy.is_sharded else ""
    copy_tensors({name: found.weights[f"{prefix}{name}"] for name in loop.strategy.tensors()}, loop)
    loop.strategy.load_optimizer_state(state["optimizer"])
    if loop.average is not None:
        loop.average.load_state_dict(state["average"])
    with torch.no_grad():
        for buffer, kept in zip(_own_buffers(loop), own["buffers"], strict=True):
            buffer.copy_(kept)
    if loop.proxy is not None:
        loop.proxy.load_state_dict(state["proxy"])
    torch.set_rng_state(own["rng"])
    if own["cuda_rng"] is not None:
        torch.cuda.set_rng_state(own["cuda_rng"], loop.process.device)
    device = loop.process.device
    training.history = [EpochRow.model_validate(row) for row in state["history"]]
    training.step_losses = state["step_losses"].tolist()
    training.step_times_s = own["step_times_s"].tolist()
    training.selected_epoch = state["selected_epoch"]
    training.selected_score = state["selected_score"] and tuple(state["selected_score"])
    training.selected_state = {name: tensor.to(device) for name, tensor in state["selected_state"].items()}
    training.val_logits = None if state["val_logits"] is None else state["val_logits"].to(device)
    training.epoch, training.step = state["epoch"], state["step"]
    training.accumulation_steps = state["accumulation_steps"]
    training.epoch_losses = None if own["epoch_losses"] is None else own["epoch_losses"].to(device)
    training.epoch_start_s = state["epoch_start_s"]
    training.num_resumes = state["num_resumes"] + 1
    training.energies_before = own.get("energies", {})
    loop.clock.carry_over(state["spans_s"], state["wall_s"])
    last = training.history[-1] if training.history else None
    loop.progress.skip(training.epoch * loop.steps_per_epoch + training.step, last)
    loop.progress.line(f"  going on from epoch {training.epoch + 1}, after step {training.step}")


def _shared_state(loop: Loop, training: Training) -> dict[str, Any]:
    """What is the same on every process."""
    return ({} if loop.strategy.is_sharded else _divisible_state(loop, training)) | {
        "proxy": None if loop.proxy is None else loop.proxy.state_dict(),
        "history": [row.model_dump() for row in training.history],
        "step_losses": torch.tensor(training.step_losses, dtype=torch.float64),
        "selected_epoch": training.selected_epoch,
        "selected_score": training.selected_score and list(training.selected_score),
        "val_logits": training.val_logits,
        "epoch": training.epoch,
        "step": training.step,
        "accumulation_steps": training.accumulation_steps,
        "epoch_start_s": training.epoch_start_s,
        "num_resumes": training.num_resumes,
        "spans_s": dict(loop.clock.spans_s),
        "wall_s": loop.clock.wall_s(),
    }


def _divisible_state(loop: Loop, training: Training) -> dict[str, Any]:
    """What is the same on every process, or in parts over them."""
    return {
        "optimizer": loop.strategy.optimizer_state(),
        "average": None if loop.average is None else loop.average.state_dict(),
        "selected_state": training.selected_state,
    }


def _own_state(loop: Loop, training: Training) -> dict[str, Any]:
    """What each process has for itself: its losses, running statistics and random numbers."""
    is_cuda = loop.process.device.type == "cuda"
    losses = training.epoch_losses
    parts: dict[str, Any] = {}
    if loop.strategy.is_sharded:
        parts = _on_host(_divisible_state(loop, training) | {"tensors": loop.strategy.tensors()})
    return parts | {
        "buffers": [buffer.cpu() for buffer in _own_buffers(loop)],
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state(loop.process.device) if is_cuda else None,
        "epoch_losses": None if losses is None else losses.cpu(),
        "step_times_s": torch.tensor(training.step_times_s, dtype=torch.float64),
        "energies": _energies(loop, training),
    }


def _energies(loop: Loop, training: Training) -> dict[str, float | None]:
    if loop.saving is None or loop.saving.sampler is None:
        return {}
    return training.used(loop.saving.sampler.read()).energies()


def _on_host(value: Any) -> Any:
    """`value` with all tensors in it on the CPU, to be sent to another process."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _on_host(item) for key, item in value.items()}
    return [_on_host(item) for item in value] if isinstance(value, list) else value


def _own_buffers(loop: Loop) -> list[Tensor]:
    """Running statistics and their averages: each process has those of its part of the batches."""
    buffers = {name: buffer for name, buffer in loop.model.named_buffers() if buffer.is_floating_point()}
    averages = {} if loop.average is None else loop.average.by_name
    return [*buffers.values(), *(average for name, average in averages.items() if name in buffers)]


@torch.no_grad()
def copy_tensors(kept: dict[str, Tensor], loop: Loop) -> None:
    """Set the model's tensors to copies of them that were kept."""
    for name, tensor in loop.strategy.tensors().items():
        tensor.copy_(kept[name])
