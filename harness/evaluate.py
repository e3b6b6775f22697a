"""Logits of a whole set of images, each scored exactly once whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.batches import Preprocess, Samples
from harness.out_of_memory import is_out_of_memory
from harness.precision import Autocast
from harness.process import Process

EVALUATION_BATCH_SIZE = 1000  # at 32x32, and of as many pixels at other sizes


@torch.no_grad()  # in inference mode, fsdp would gather weights that can no longer be trained
def predict(
    model: nn.Module,
    images: Samples,
    normalize: Preprocess,
    autocast: Autocast,
    process: Process,
    mirror: bool = False,
    in_parts: bool = False,
    beat: Callable[[], None] | None = None,
) -> Tensor:
    """float32 logits [N, num_classes] of all images, in data set order, equal on every process.

    Each process scores its own part, in as many batches as the others, since weights that are in parts
    are put together for each batch; that every image was scored once, and by one process, is asserted
    on the counts. Where memory runs out in a model of whole weights, batches become smaller.

    Args:
        model: the model itself, not wrapped for training.
        images: what to score.
        normalize: as in training.
        autocast: as in training.
        process: who else scores.
        mirror: score the mirror images instead.
        in_parts: the model's weights are in parts over the processes.
        beat: called after each batch, as a sign of life.
    """
    model.eval()
    logits: Tensor | None = None
    num_scored = torch.zeros(len(images), dtype=torch.int64, device=process.device)
    own = torch.arange(process.rank, len(images), process.world_size)
    largest = -(-len(images) // process.world_size)
    batch_size = max(1, EVALUATION_BATCH_SIZE * 32**2 // normalize.image_size**2)
    start = 0
    while start < largest:
        indices = own[start : start + batch_size]
        batch = images.gather(indices if len(indices) else own[:1])  # a share may be one image smaller
        try:
            with autocast.context():
                part = model(normalize(batch.flip(3) if mirror else batch)).float()
        except Exception as error:
            if batch_size == 1 or in_parts or not is_out_of_memory(error):
                raise
            batch_size = -(-batch_size // 2)
            continue
        if logits is None:
            logits = torch.zeros(len(images), part.shape[1], device=process.device)
        place = indices.to(process.device)
        logits[place] = part[: len(indices)]
        num_scored[place] += 1
        start += batch_size
        if beat is not None:
            beat()
    assert logits is not None, "fewer images than processes"
    process.sum(logits)
    process.sum(num_scored)
    assert bool((num_scored == 1).all()), "an image was scored twice or not at all"
    return logits


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is at the label, from 0 to 1."""
    return (logits.argmax(dim=1) == labels).double().mean().item()


def mean_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy in nats, without label smoothing."""
    return F.cross_entropy(logits, labels).item()


def average_running_statistics(model: nn.Module, process: Process) -> None:
    """Give every process the mean of all processes' BatchNorm statistics, so that all score alike."""
    if process.world_size == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            process.sum(buffer).div_(process.world_size)
