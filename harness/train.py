"""The training loop: one explicit function, from the first step of a cell to its last.

Each optimizer step takes one global batch: an index gather, augmentation and normalisation on the
device, forward and backward in the cell's precision over its micro-batches, one update.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from harness.batches import Inputs
from harness.clock import Clock, StepTimer
from harness.datasets.device_loader import epoch_order
from harness.errors import DivergedError
from harness.evaluate import accuracy, average_running_statistics, mean_loss, predict
from harness.gradients import TRIAL_STEPS, take_gradients
from harness.in_effect import check_parts, compute_dtype
from harness.memory import read_peak, reset_peak
from harness.optimizer import WeightAverage, lr_at, set_lr
from harness.precision import Autocast
from harness.progress import CellProgress
from harness.record import EpochRow
from harness.seeding import generator_for
from harness.selection import Proxy
from harness.stopping import Ask
from harness.strategy import Strategy
from harness.training_state import Loop, Saving, Training, copy_tensors, restore_training, save_training
from harness.tuning import num_trained_groups, train_top, trainable_groups

COMPILE_PASSES = 3
CURE = "try a lower learning rate or more warm-up"


def train(
    strategy: Strategy,
    inputs: Inputs,
    autocast: Autocast,
    clock: Clock,
    progress: CellProgress,
    saving: Saving | None = None,
    on_oom: str = "shrink",
) -> Training:
    """Train the strategy's model in place and leave the weights of the selected epoch in it.

    The selected epoch is the one with the best accuracy on the held-out images (the lower loss
    where two are equal), or the last one when none are held out. With `saving`, the training goes on
    from the newest checkpoint, and the losses are those of a training that was never stopped; it may
    pause before its last epoch: then a checkpoint was written, and the weights are not the selected ones.

    Raises:
        DivergedError: the loss of a step is not a finite number.
        MemoryShortError: memory ran out where that is not to be or cannot be cured.
        HardwareError: what runs is not what the cell asks for.
        StorageError: the checkpoint of a pause cannot be written.
        KeyboardInterrupt: a signal asked for it; a checkpoint was written.
    """
    cell, recipe = strategy.cell, strategy.cell.recipe
    with clock.span("startup"):
        groups = trainable_groups(strategy.model) if recipe.tuning == "gradual" else []
        train_top(groups, num_trained_groups(recipe, 0, len(groups)))
        strategy.wrap()  # from here on the weights are the same on all processes
        loop = _make_loop(strategy, inputs, autocast, clock, progress, saving, on_oom)
        training = Training(compute_dtype=compute_dtype(cell, loop.model, inputs, autocast))
        restore_training(loop, training)
    first, until = training.epoch, _epochs_to_do(loop)
    if cell.compile != "none" and first < until:
        with clock.span("compile"):
            _compile(loop, training)
    trained = 0  # epoch whose layers are those that get gradients now

    while training.epoch < until:
        epoch = training.epoch
        changed = _unfreeze(loop, groups, epoch, since=trained)
        if changed or epoch == first or cell.image_size_at(epoch) > cell.image_size_at(epoch - 1):
            training.num_trial_steps = TRIAL_STEPS
        trained = epoch
        with clock.span("train"):
            losses = _train_epoch(loop, training)
        training.step_times_s += loop.timer.read()
        training.step_losses += losses.tolist()
        _check_finite(loop, losses, epoch)
        with clock.span("idle"):
            loop.process.wait_for_all()
        with clock.span("evaluate"), nullcontext() if loop.average is None else loop.average.applied():
            average_running_statistics(loop.model, loop.process)
            val_loss, val_accuracy = _select(loop, training)
        row = EpochRow(
            epoch=epoch + 1,
            train_loss=losses.double().mean().item(),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr=_lr(loop, epoch, loop.steps_per_epoch - 1),
            train_time_s=clock.train_s() - training.epoch_start_s,
        )
        training.history.append(row)
        progress.epoch(row, loop.steps_per_epoch * recipe.batch_size / row.train_time_s)
        training.epoch, training.step, training.epoch_losses = epoch + 1, 0, None
        training.epoch_start_s = clock.train_s()
        every = None if saving is None else saving.every_epochs
        if every is not None and (epoch + 1) % every == 0 and epoch + 1 < until:
            save_training(loop, training)

    if until < recipe.epochs:
        _pause(loop, training, is_saved=training.epoch == first)
        return training
    if training.selected_state:
        copy_tensors(training.selected_state, loop)
    strategy.check_in_step()
    return training


def _make_loop(
    strategy: Strategy,
    inputs: Inputs,
    autocast: Autocast,
    clock: Clock,
    progress: CellProgress,
    saving: Saving | None,
    on_oom: str,
) -> Loop:
    cell, recipe, device = strategy.cell, strategy.cell.recipe, strategy.process.device
    return Loop(
        strategy=strategy,
        inputs=inputs,
        average=None if recipe.ema_decay is None else WeightAverage(strategy.tensors(), recipe.ema_decay),
        proxy=None if recipe.keep_hardest == 1 else Proxy(cell, inputs, autocast, device),
        autocast=autocast,
        clock=clock,
        timer=StepTimer(device),
        progress=progress,
        saving=saving,
        on_oom=on_oom,
    )


def _epochs_to_do(loop: Loop) -> int:
    """The epochs that are over when this attempt ends: all, or as many as until the pause."""
    num_epochs = loop.cell.recipe.epochs
    until = None if loop.saving is None else loop.saving.until_epoch
    return num_epochs if until is None else min(until, num_epochs)


def _pause(loop: Loop, training: Training, is_saved: bool) -> None:
    """Leave a checkpoint, to go on from another time."""
    if not is_saved:
        save_training(loop, training, is_needed=True)
    training.is_paused = True
    loop.progress.line(f"  paused after epoch {training.epoch}")
    loop.progress.phase("paused")


def _select(loop: Loop, training: Training) -> tuple[float | None, float | None]:
    """Score the held-out images and keep the weights if they are the best yet; loss and accuracy."""
    inputs, epoch = loop.inputs, training.epoch
    if inputs.val is None:
        if epoch + 1 == loop.cell.recipe.epochs:
            _keep_weights(loop, training)
        return None, None
    in_parts = loop.strategy.is_sharded
    logits = predict(
        loop.model,
        inputs.val,
        inputs.normalize,
        loop.autocast,
        loop.process,
        in_parts=in_parts,
        beat=loop.progress.beat,
    )
    val_accuracy, val_loss = accuracy(logits, inputs.val.labels), mean_loss(logits, inputs.val.labels)
    if not math.isfinite(val_loss):
        raise DivergedError(f"the validation loss became {val_loss} in epoch {epoch + 1}: {CURE}")
    if training.selected_score is None or (val_accuracy, -val_loss) > training.selected_score:
        training.selected_score = (val_accuracy, -val_loss)
        training.val_logits = logits
        _keep_weights(loop, training)
    return val_loss, val_accuracy


def _keep_weights(loop: Loop, training: Training) -> None:
    """Select the weights of this epoch: a copy, but of the last one's, which stay in the model."""
    training.selected_epoch, training.selected_state = training.epoch + 1, {}  # frees those selected before
    is_last = training.epoch + 1 == loop.cell.recipe.epochs
    if not is_last or loop.average is not None:  # an average is in the model for the evaluation only
        training.selected_state = _snapshot(loop)


def _unfreeze(loop: Loop, groups: list[list[nn.Parameter]], epoch: int, since: int) -> bool:
    """Let the groups of layers get gradients whose time has come in `epoch`, if there are new ones."""
    recipe = loop.cell.recipe
    num_trained = num_trained_groups(recipe, epoch, len(groups))
    if num_trained == num_trained_groups(recipe, since, len(groups)):
        return False
    train_top(groups, num_trained)
    loop.strategy.wrap()
    return True


def _train_epoch(loop: Loop, training: Training) -> Tensor:
    """Take the steps of an epoch that are not taken; the mean loss of each batch, [steps_per_epoch]."""
    cell, recipe, epoch = loop.cell, loop.cell.recipe, training.epoch
    loop.strategy.train_mode()
    order = epoch_order(len(loop.inputs.fit), generator_for(cell.seed, "order", epoch))
    order = order.to(loop.inputs.fit.index_device)  # once, so that no step waits for a copy
    if training.epoch_losses is None:
        training.epoch_losses = torch.zeros(loop.steps_per_epoch, device=loop.process.device)
    loop.timer.mark()
    for step in range(training.step, loop.steps_per_epoch):
        batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        training.lr = _lr(loop, epoch, step)
        set_lr(loop.strategy.optimizer, training.lr)
        with nullcontext() if training.held else loop.clock.span("first_step"):
            training.epoch_losses[step] = take_gradients(loop, training, batch)
            loop.strategy.step()
        if not training.held:
            training.held = check_parts(loop.strategy)
            training.peak_before = read_peak(loop.process.device, was_reset=True)
            reset_peak(loop.process.device)
        if loop.average is not None:
            loop.average.update()
        loop.timer.mark()
        loop.process.beat(f"epoch {epoch + 1}, step {step + 1}")
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


def _compile(loop: Loop, training: Training) -> None:
    """Go forth and back a few times, so that compiling is over before the first step is timed.

    CUDA graphs are recorded the second time and replayed the third.
    """
    cell, device = loop.cell, loop.process.device
    kept = _snapshot(loop)
    num_images = cell.micro_batch_size_in(training.accumulation_steps)
    images = torch.zeros(num_images, 3, cell.image_size, cell.image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    loop.strategy.train_mode()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for _ in range(COMPILE_PASSES):
            with loop.autocast.context():
                logits = loop.strategy.wrapped(images)
            logits.float().sum().backward()
            loop.strategy.drop_gradients()
    copy_tensors(kept, loop)


def _lr(loop: Loop, epoch: int, step: int) -> float:
    recipe, steps_per_epoch = loop.cell.recipe, loop.steps_per_epoch
    return lr_at(recipe, epoch * steps_per_epoch + step, recipe.epochs * steps_per_epoch)


def _snapshot(loop: Loop) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in loop.strategy.tensors().items()}


def _check_finite(loop: Loop, losses: Tensor, epoch: int) -> None:
    finite = torch.isfinite(losses)
    if bool(finite.all()):
        return
    step = int((~finite).nonzero()[0].item())
    raise DivergedError(
        f"the loss became {losses[step].item()} at epoch {epoch + 1}, step {step + 1} of {len(losses)}, "
        f"at a learning rate of {_lr(loop, epoch, step):g} (its peak is {loop.cell.recipe.lr:g}): {CURE}"
    )
