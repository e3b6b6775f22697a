"""The gradient of one global batch, in as many micro-batches as memory asks for."""

from __future__ import annotations

from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.batches import training_batch
from harness.depthwise import fast_gradients
from harness.host_memory import release_freed_memory
from harness.out_of_memory import is_out_of_memory, memory_short, more_micro_batches
from harness.training_state import Loop, Training

TRIAL_STEPS = 2
"""Steps after whose gradients the processes ask each other whether memory was enough: the first one makes
the state of the optimizer, so the second one needs the most."""

_ASK_FOR_LESS = "use --on-oom shrink, or a larger --accumulate"
_SMALLEST = "they cannot be smaller; try a smaller model"


def take_gradients(loop: Loop, training: Training, batch: Tensor) -> Tensor:
    """Leave the gradient of the global batch's mean loss in the model; this process's mean loss.

    Where memory runs out, the same batch is taken again in smaller micro-batches. One process can do that
    at any step. Several can as long as no gradients are exchanged before all know: in the first steps,
    and again where images grow. (Later on, running statistics of a lone process have seen the images
    twice that came before the one for which memory was missing.)

    Raises:
        MemoryShortError: memory ran out where that is not to be or cannot be cured.
    """
    alone = loop.process.world_size == 1
    exchanges_early = loop.strategy.is_sharded or loop.cell.sync_batchnorm  # during the passes
    on_trial = training.num_trial_steps > 0 and not exchanges_early
    training.num_trial_steps = max(0, training.num_trial_steps - 1)
    if not (alone or on_trial):
        loss, problem = _attempt(loop, training, batch, exchange=True)
        if loss is None:
            _give_up(loop, training, problem)
        return loss
    while True:
        before = _Undo(loop) if on_trial else None
        loss, problem = _attempt(loop, training, batch, exchange=False)
        if not loop.process.largest_on_hosts([int(loss is None)])[0]:
            assert loss is not None
            loop.strategy.exchange_gradients()
            return loss
        loop.strategy.drop_gradients()
        if before is not None:
            before.restore()
        _shrink(loop, training, problem)


def _attempt(loop: Loop, training: Training, batch: Tensor, exchange: bool) -> tuple[Tensor | None, str]:
    """The loss, or None and the message of the error where memory ran out."""
    try:
        return _accumulate(loop, training, batch, exchange), ""
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None, str(error).partition("\n")[0]  # and no more: the error holds on to the tensors


def _accumulate(loop: Loop, training: Training, batch: Tensor, exchange: bool) -> Tensor:
    cell, inputs, epoch, num_parts = loop.cell, loop.inputs, training.epoch, training.accumulation_steps
    size = cell.micro_batch_size_in(num_parts)
    drawn = inputs.augmentation.draw(epoch, training.step, batch)
    image_size = cell.image_size_at(epoch)
    total = torch.zeros((), device=loop.process.device)
    for part in range(num_parts):
        start = (loop.process.rank * num_parts + part) * size
        images, targets = training_batch(inputs, batch, drawn, range(start, start + size), image_size)
        if loop.proxy is not None:
            images, targets = loop.proxy.hardest(images, targets, training.lr)
        if cell.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch's
        with loop.strategy.micro_batch(exchange and part + 1 == num_parts):
            with loop.autocast.context(), fast_gradients(cell, loop.process.device):
                logits = loop.strategy.wrapped(images)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=cell.recipe.label_smoothing)
            loss = loss / num_parts
            loop.strategy.backward(loss)
        total += loss.detach()
    return total


class _Undo:
    """What an attempt changes besides gradients: running statistics and random numbers."""

    def __init__(self, loop: Loop) -> None:
        self._buffers = [(buffer, buffer.clone()) for buffer in loop.model.buffers()]
        self._device = loop.process.device
        self._rng = torch.get_rng_state()
        self._gpu_rng = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    def restore(self) -> None:
        for buffer, kept in self._buffers:
            buffer.copy_(kept)
        torch.set_rng_state(self._rng)
        if self._gpu_rng is not None:
            torch.cuda.set_rng_state(self._gpu_rng, self._device)


def _shrink(loop: Loop, training: Training, problem: str) -> None:
    """Go over to smaller micro-batches, on every process alike."""
    if loop.process.device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        release_freed_memory()
    now = training.accumulation_steps
    if loop.on_oom == "fail":
        raise memory_short(loop.cell, now, _said(problem), _ASK_FOR_LESS)
    steps = more_micro_batches(loop.cell, now)
    if steps is None:
        raise memory_short(loop.cell, now, _said(problem), _SMALLEST)
    training.accumulation_steps, training.num_trial_steps = steps, TRIAL_STEPS
    loop.progress.line(
        f"  memory ran out in epoch {training.epoch + 1}, step {training.step + 1} ({_said(problem)}): "
        f"going on with {steps} micro-batches a step and process; the batch stays "
        f"{loop.cell.recipe.batch_size}"
    )


def _give_up(loop: Loop, training: Training, problem: str) -> NoReturn:
    cure = _ASK_FOR_LESS
    if more_micro_batches(loop.cell, training.accumulation_steps) is None:
        cure = _SMALLEST
    elif loop.on_oom == "shrink" and loop.saving is not None:
        loop.saving.shortage.note(training.accumulation_steps)
        cure = "the same command goes on from the last checkpoint with smaller ones"
    raise memory_short(loop.cell, training.accumulation_steps, problem, cure)


def _said(problem: str) -> str:
    return problem or "on another process"
