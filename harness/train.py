"""The training loop: one explicit function, from the first step of a cell to its last.

Each optimizer step takes one global batch: an index gather, augmentation and normalisation on the
device, forward and backward in the cell's precision over its micro-batches, one update.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.batches import Inputs, training_batch
from harness.cell import CellSpec
from harness.clock import Clock, StepTimer
from harness.datasets.device_loader import epoch_order
from harness.depthwise import fast_gradients
from harness.errors import DivergedError
from harness.evaluate import accuracy, average_running_statistics, mean_loss, predict
from harness.optimizer import WeightAverage, lr_at, make_optimizer, set_lr
from harness.precision import Autocast
from harness.process import Process
from harness.progress import CellProgress
from harness.record import EpochRow
from harness.seeding import generator_for
from harness.selection import Proxy
from harness.strategy import gradient_exchange, wrap_model
from harness.tuning import hold_frozen_statistics, num_trained_groups, train_top, trainable_groups

COMPILE_PASSES = 3
CURE = "try a lower learning rate or more warm-up"


@dataclass
class Training:
    """What a training left; the model carries the weights of the selected epoch."""

    history: list[EpochRow] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    """Mean loss of every global batch."""

    step_times_s: list[float] = field(default_factory=list)
    selected_epoch: int = 0
    """From 1."""

    val_logits: Tensor | None = None
    """Of the selected epoch."""


@dataclass(frozen=True)
class _Loop:
    """What stays the same from the first step to the last."""

    cell: CellSpec
    model: nn.Module
    """As wrapped by the strategy."""

    inputs: Inputs
    optimizer: Optimizer
    average: WeightAverage | None
    proxy: Proxy | None
    """Chooses the images of a batch that are trained on; None: all of them."""

    autocast: Autocast
    process: Process
    timer: StepTimer
    progress: CellProgress

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: the images left over differ from epoch to epoch."""
        return len(self.inputs.fit) // self.cell.recipe.batch_size


def train(
    cell: CellSpec,
    model: nn.Module,
    inputs: Inputs,
    autocast: Autocast,
    process: Process,
    clock: Clock,
    progress: CellProgress,
) -> Training:
    """Train `model` in place and leave the weights of the selected epoch in it.

    The selected epoch is the one with the best accuracy on the held-out images (the lower loss
    where two are equal), or the last one when none are held out.

    Raises:
        DivergedError: the loss of a step is not a finite number.
    """
    recipe = cell.recipe
    groups = trainable_groups(model) if recipe.tuning == "gradual" else []
    loop = _start(cell, model, groups, inputs, autocast, process, progress)
    average = loop.average
    if cell.compile != "none":
        with clock.span("compile"):
            _compile(loop)
    training = Training()
    best: tuple[float, float] | None = None
    best_state: dict[str, Tensor] = {}

    for epoch in range(recipe.epochs):
        before_s = clock.spans_s["train"]
        loop = _unfreeze(loop, model, groups, epoch)
        with clock.span("train"):
            losses = _train_epoch(loop, epoch)
        training.step_times_s += loop.timer.read()
        training.step_losses += losses.tolist()
        _check_finite(cell, losses, epoch)

        with clock.span("evaluate"), nullcontext() if average is None else average.applied():
            average_running_statistics(model, process)
            val_loss = val_accuracy = None
            if inputs.val is not None:
                val_logits = predict(model, inputs.val, inputs.normalize, autocast, process)
                val_accuracy = accuracy(val_logits, inputs.val.labels)
                val_loss = mean_loss(val_logits, inputs.val.labels)
                if not math.isfinite(val_loss):
                    raise DivergedError(f"the validation loss became {val_loss} in epoch {epoch + 1}: {CURE}")
                if best is None or (val_accuracy, -val_loss) > best:
                    best = (val_accuracy, -val_loss)
                    training.selected_epoch, training.val_logits = epoch + 1, val_logits
                    best_state = _copy_state(model)
            elif epoch + 1 == recipe.epochs:
                training.selected_epoch, best_state = epoch + 1, _copy_state(model)
        row = EpochRow(
            epoch=epoch + 1,
            train_loss=losses.double().mean().item(),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr=_lr(loop, epoch, loop.steps_per_epoch - 1),
            train_time_s=clock.spans_s["train"] - before_s,
        )
        training.history.append(row)
        progress.epoch(row, loop.steps_per_epoch * recipe.batch_size / row.train_time_s)

    model.load_state_dict(best_state)
    return training


def _start(
    cell: CellSpec,
    model: nn.Module,
    groups: list[list[nn.Parameter]],
    inputs: Inputs,
    autocast: Autocast,
    process: Process,
    progress: CellProgress,
) -> _Loop:
    recipe = cell.recipe
    optimizer = make_optimizer(model, recipe, process.device)  # while every layer is trainable
    train_top(groups, num_trained_groups(recipe, 0, len(groups)))
    wrapped = wrap_model(model, cell, process)  # from here on the weights are the same on all processes
    average = None if recipe.ema_decay is None else WeightAverage(model, recipe.ema_decay)
    proxy = None if recipe.keep_hardest == 1 else Proxy(cell, inputs, autocast, process.device)
    timer = StepTimer(process.device)
    return _Loop(cell, wrapped, inputs, optimizer, average, proxy, autocast, process, timer, progress)


def _unfreeze(loop: _Loop, model: nn.Module, groups: list[list[nn.Parameter]], epoch: int) -> _Loop:
    """Let the groups of layers get gradients whose time comes with this epoch."""
    recipe = loop.cell.recipe
    num_trained = num_trained_groups(recipe, epoch, len(groups))
    if epoch == 0 or num_trained == num_trained_groups(recipe, epoch - 1, len(groups)):
        return loop
    train_top(groups, num_trained)
    return replace(loop, model=wrap_model(model, loop.cell, loop.process))


def _train_epoch(loop: _Loop, epoch: int) -> Tensor:
    """Take every step of an epoch; the mean loss of each global batch, [steps_per_epoch]."""
    cell, recipe = loop.cell, loop.cell.recipe
    loop.model.train()
    if recipe.tuning == "gradual":
        hold_frozen_statistics(loop.model)
    order = epoch_order(len(loop.inputs.fit), generator_for(cell.seed, "order", epoch))
    order = order.to(loop.inputs.fit.index_device)  # once, so that no step waits for a copy
    losses = torch.zeros(loop.steps_per_epoch, device=loop.process.device)
    loop.timer.mark()
    for step in range(loop.steps_per_epoch):
        batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        set_lr(loop.optimizer, _lr(loop, epoch, step))
        losses[step] = _accumulate_gradients(loop, batch, epoch, step)
        loop.autocast.scaler.step(loop.optimizer)
        loop.autocast.scaler.update()
        loop.optimizer.zero_grad(set_to_none=True)
        if loop.average is not None:
            loop.average.update()
        loop.timer.mark()
        loop.progress.step()
    return loop.process.sum(losses).div_(loop.process.world_size)


def _accumulate_gradients(loop: _Loop, batch: Tensor, epoch: int, step: int) -> Tensor:
    """Leave the gradient of the global batch's mean loss in the model; this process's mean loss."""
    cell, inputs = loop.cell, loop.inputs
    size = cell.micro_batch_size
    drawn = inputs.augmentation.draw(epoch, step, batch)
    image_size = cell.image_size_at(epoch)
    total = torch.zeros((), device=loop.process.device)
    for micro_step in range(cell.accumulation_steps):
        start = (loop.process.rank * cell.accumulation_steps + micro_step) * size
        images, targets = training_batch(inputs, batch, drawn, range(start, start + size), image_size)
        if loop.proxy is not None:
            images, targets = loop.proxy.hardest(images, targets, _lr(loop, epoch, step))
        is_last = micro_step + 1 == cell.accumulation_steps
        if cell.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch's
        with gradient_exchange(loop.model, is_last):
            with loop.autocast.context(), fast_gradients(cell, loop.process.device):
                logits = loop.model(images)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=cell.recipe.label_smoothing)
            loss = loss / cell.accumulation_steps
            loop.autocast.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
        total += loss.detach()
    return total


def _compile(loop: _Loop) -> None:
    """Go forth and back a few times, so that compiling is over before the first step is timed.

    CUDA graphs are recorded the second time and replayed the third.
    """
    cell, device = loop.cell, loop.process.device
    kept = _copy_state(loop.model)
    images = torch.zeros(cell.micro_batch_size, 3, cell.image_size, cell.image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    loop.model.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for _ in range(COMPILE_PASSES):
            with loop.autocast.context():
                logits = loop.model(images)
            logits.float().sum().backward()
            loop.optimizer.zero_grad(set_to_none=True)
    loop.model.load_state_dict(kept)


def _lr(loop: _Loop, epoch: int, step: int) -> float:
    recipe, steps_per_epoch = loop.cell.recipe, loop.steps_per_epoch
    return lr_at(recipe, epoch * steps_per_epoch + step, recipe.epochs * steps_per_epoch)


def _copy_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _check_finite(cell: CellSpec, losses: Tensor, epoch: int) -> None:
    finite = torch.isfinite(losses)
    if bool(finite.all()):
        return
    step = int((~finite).nonzero()[0].item())
    raise DivergedError(
        f"the loss became {losses[step].item()} at epoch {epoch + 1}, step {step + 1} of {len(losses)}, "
        f"at a peak learning rate of {cell.recipe.lr:g}: {CURE}"
    )
