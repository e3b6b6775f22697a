"""The training loop: one explicit function, from the first step of a cell to its last.

Each optimizer step takes one global batch: an index gather, augmentation and normalisation on the
device, forward and backward in the cell's precision over its micro-batches, one update.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
from harness.stopping import Ask
from harness.strategy import gradient_exchange, wrap_model
from harness.training_state import Loop, Saving, Training, restore_training, save_training
from harness.tuning import hold_frozen_statistics, num_trained_groups, train_top, trainable_groups

COMPILE_PASSES = 3
CURE = "try a lower learning rate or more warm-up"


def train(
    cell: CellSpec,
    model: nn.Module,
    inputs: Inputs,
    autocast: Autocast,
    process: Process,
    clock: Clock,
    progress: CellProgress,
    saving: Saving | None = None,
) -> Training:
    """Train `model` in place and leave the weights of the selected epoch in it.

    The selected epoch is the one with the best accuracy on the held-out images (the lower loss
    where two are equal), or the last one when none are held out. With `saving`, the training goes on
    from the newest checkpoint, and the losses are those of a training that was never stopped.

    Raises:
        DivergedError: the loss of a step is not a finite number.
        KeyboardInterrupt: a signal asked for it; a checkpoint was written.
    """
    recipe = cell.recipe
    groups = trainable_groups(model) if recipe.tuning == "gradual" else []
    loop = _start(cell, model, groups, inputs, autocast, process, clock, progress, saving)
    if cell.compile != "none":
        with clock.span("compile"):
            _compile(loop)
    training = Training()
    restore_training(loop, training)
    trained = 0  # epoch whose layers are those that get gradients now

    while training.epoch < recipe.epochs:
        epoch = training.epoch
        loop, trained = _unfreeze(loop, groups, epoch, since=trained), epoch
        with clock.span("train"):
            losses = _train_epoch(loop, training)
        training.step_times_s += loop.timer.read()
        training.step_losses += losses.tolist()
        _check_finite(cell, losses, epoch)
        with clock.span("evaluate"), nullcontext() if loop.average is None else loop.average.applied():
            average_running_statistics(model, process)
            val_loss, val_accuracy = _select(loop, training)
        row = EpochRow(
            epoch=epoch + 1,
            train_loss=losses.double().mean().item(),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr=_lr(loop, epoch, loop.steps_per_epoch - 1),
            train_time_s=clock.spans_s["train"] - training.epoch_start_s,
        )
        training.history.append(row)
        progress.epoch(row, loop.steps_per_epoch * recipe.batch_size / row.train_time_s)
        training.epoch, training.step, training.epoch_losses = epoch + 1, 0, None
        training.epoch_start_s = clock.spans_s["train"]
        every = None if saving is None else saving.every_epochs
        if every is not None and (epoch + 1) % every == 0 and epoch + 1 < recipe.epochs:
            save_training(loop, training)

    model.load_state_dict(training.selected_state)
    return training


def _select(loop: Loop, training: Training) -> tuple[float | None, float | None]:
    """Score the held-out images and keep the weights if they are the best yet; loss and accuracy."""
    inputs, epoch = loop.inputs, training.epoch
    if inputs.val is None:
        if epoch + 1 == loop.cell.recipe.epochs:
            training.selected_epoch, training.selected_state = epoch + 1, _copy_state(loop.model)
        return None, None
    logits = predict(loop.model, inputs.val, inputs.normalize, loop.autocast, loop.process)
    val_accuracy, val_loss = accuracy(logits, inputs.val.labels), mean_loss(logits, inputs.val.labels)
    if not math.isfinite(val_loss):
        raise DivergedError(f"the validation loss became {val_loss} in epoch {epoch + 1}: {CURE}")
    if training.selected_score is None or (val_accuracy, -val_loss) > training.selected_score:
        training.selected_score = (val_accuracy, -val_loss)
        training.selected_epoch, training.val_logits = epoch + 1, logits
        training.selected_state = _copy_state(loop.model)
    return val_loss, val_accuracy


def _start(
    cell: CellSpec,
    model: nn.Module,
    groups: list[list[nn.Parameter]],
    inputs: Inputs,
    autocast: Autocast,
    process: Process,
    clock: Clock,
    progress: CellProgress,
    saving: Saving | None,
) -> Loop:
    recipe = cell.recipe
    optimizer = make_optimizer(model, recipe, process.device)  # while every layer is trainable
    train_top(groups, num_trained_groups(recipe, 0, len(groups)))
    return Loop(
        cell=cell,
        model=model,
        wrapped=wrap_model(model, cell, process),  # from here on the weights are the same on all processes
        inputs=inputs,
        optimizer=optimizer,
        average=None if recipe.ema_decay is None else WeightAverage(model, recipe.ema_decay),
        proxy=None if recipe.keep_hardest == 1 else Proxy(cell, inputs, autocast, process.device),
        autocast=autocast,
        process=process,
        clock=clock,
        timer=StepTimer(process.device),
        progress=progress,
        saving=saving,
    )


def _unfreeze(loop: Loop, groups: list[list[nn.Parameter]], epoch: int, since: int) -> Loop:
    """Let the groups of layers get gradients whose time has come in `epoch`, but not yet in `since`."""
    recipe = loop.cell.recipe
    num_trained = num_trained_groups(recipe, epoch, len(groups))
    if num_trained == num_trained_groups(recipe, since, len(groups)):
        return loop
    train_top(groups, num_trained)
    return replace(loop, wrapped=wrap_model(loop.model, loop.cell, loop.process))


def _train_epoch(loop: Loop, training: Training) -> Tensor:
    """Take the steps of an epoch that are not taken; the mean loss of each batch, [steps_per_epoch]."""
    cell, recipe, epoch = loop.cell, loop.cell.recipe, training.epoch
    loop.wrapped.train()
    if recipe.tuning == "gradual":
        hold_frozen_statistics(loop.wrapped)
    order = epoch_order(len(loop.inputs.fit), generator_for(cell.seed, "order", epoch))
    order = order.to(loop.inputs.fit.index_device)  # once, so that no step waits for a copy
    if training.epoch_losses is None:
        training.epoch_losses = torch.zeros(loop.steps_per_epoch, device=loop.process.device)
    loop.timer.mark()
    for step in range(training.step, loop.steps_per_epoch):
        batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        set_lr(loop.optimizer, _lr(loop, epoch, step))
        training.epoch_losses[step] = _accumulate_gradients(loop, batch, epoch, step)
        loop.autocast.scaler.step(loop.optimizer)
        loop.autocast.scaler.update()
        loop.optimizer.zero_grad(set_to_none=True)
        if loop.average is not None:
            loop.average.update()
        loop.timer.mark()
        loop.progress.step()
        training.step = step + 1
        _save_if_asked(loop, training)
    return loop.process.sum(training.epoch_losses).div_(loop.process.world_size)


def _save_if_asked(loop: Loop, training: Training) -> None:
    ask = Ask.NOTHING if loop.saving is None else loop.saving.stopping.asked()
    if ask is Ask.NOTHING:
        return
    save_training(loop, training)
    if ask is Ask.STOP:
        loop.progress.line(f"  stopped in epoch {training.epoch + 1}, after step {training.step}")
        raise KeyboardInterrupt


def _accumulate_gradients(loop: Loop, batch: Tensor, epoch: int, step: int) -> Tensor:
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
        with gradient_exchange(loop.wrapped, is_last):
            with loop.autocast.context(), fast_gradients(cell, loop.process.device):
                logits = loop.wrapped(images)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=cell.recipe.label_smoothing)
            loss = loss / cell.accumulation_steps
            loop.autocast.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
        total += loss.detach()
    return total


def _compile(loop: Loop) -> None:
    """Go forth and back a few times, so that compiling is over before the first step is timed.

    CUDA graphs are recorded the second time and replayed the third.
    """
    cell, device = loop.cell, loop.process.device
    kept = _copy_state(loop.model)
    images = torch.zeros(cell.micro_batch_size, 3, cell.image_size, cell.image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    loop.wrapped.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for _ in range(COMPILE_PASSES):
            with loop.autocast.context():
                logits = loop.wrapped(images)
            logits.float().sum().backward()
            loop.optimizer.zero_grad(set_to_none=True)
    loop.model.load_state_dict(kept)


def _lr(loop: Loop, epoch: int, step: int) -> float:
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
