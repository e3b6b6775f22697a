"""Images changed within a small bound so that the model errs: FGSM and PGD, both white-box and untargeted.

    attacked = attack(model, images, indices, normalize, process)
    attacked.predicted[KINDS.index("pgd")]      # classes that the model sees in the images that PGD made

FGSM is one step along the sign of the gradient: Goodfellow et al. 2015, arXiv 1412.6572, section 4. PGD is
many, from a random start, each followed by a projection: Madry et al. 2018, arXiv 1706.06083, section 2.1.
Both stay within `EPSILON` of every pixel, for pixels scaled to 0..1, as they are before the normalising and
resizing, which are part of what is attacked. The last iterate counts, found without restarts. The images
are not rounded to whole grey levels again.

Where the loss of an image is so small that its gradient is 0 in float32, its pixels stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.asking import Answers, as_answers
from harness.batches import Preprocess, Samples
from harness.out_of_memory import is_out_of_memory
from harness.process import Process
from harness.seeding import generator_for

EPSILON = 8 / 255
"""Largest change of a pixel value, for values of 0..1."""

STEP = 2 / 255
"""Change of a pixel value in one step of PGD."""

NUM_STEPS = 20
ATTACK_BATCH_SIZE = 200  # at 32x32, and of as many pixels at other sizes

KINDS = ("clean", "fgsm", "pgd")
"""What `attack` asks the model about, in this order."""


def fgsm(
    model: nn.Module, normalize: Preprocess, pixels: Tensor, labels: Tensor, epsilon: float = EPSILON
) -> Tensor:
    """Images that one step of `epsilon` along the sign of the gradient leads to, within 0..1.

    Args:
        model: in evaluation mode.
        normalize: from pixels of 0..255 to model input.
        pixels: float32 [B, 3, H, W] of 0..1.
        labels: int64 [B], the true classes.
        epsilon: size of the step, for pixels of 0..1.
    """
    return (pixels + epsilon * _gradient(model, normalize, pixels, labels).sign()).clamp(0, 1)


def pgd(
    model: nn.Module,
    normalize: Preprocess,
    pixels: Tensor,
    labels: Tensor,
    indices: Tensor,
    epsilon: float = EPSILON,
    step: float = STEP,
    num_steps: int = NUM_STEPS,
    beat: Callable[[], None] | None = None,
) -> Tensor:
    """Images after `num_steps` steps of `step` from a random start, within `epsilon` and 0..1.

    Args:
        model: in evaluation mode.
        normalize: from pixels of 0..255 to model input.
        pixels: float32 [B, 3, H, W] of 0..1.
        labels: int64 [B], the true classes.
        indices: int64 [B], of the images in their data set: the random start of an image follows from it
            alone, whatever the batch and the number of processes.
        epsilon: largest change, for pixels of 0..1.
        step: likewise of one step.
        num_steps: how many.
        beat: called after each of them, as a sign of life.
    """
    low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    found = pixels + epsilon * random_start(indices, pixels)
    found = torch.clamp(found, low, high)
    for _ in range(num_steps):
        found = torch.clamp(found + step * _gradient(model, normalize, found, labels).sign(), low, high)
        if beat is not None:
            beat()
    return found


def random_start(indices: Tensor, like: Tensor) -> Tensor:
    """Uniform noise of -1..1 for each image, [B, 3, H, W] as `like`, drawn from its index alone."""
    noise = [
        torch.rand(like.shape[1:], generator=generator_for(0, "pgd", index)) for index in indices.tolist()
    ]
    return (2 * torch.stack(noise) - 1).to(like.device)


def attack(
    model: nn.Module,
    images: Samples,
    indices: np.ndarray[Any, np.dtype[np.int64]],
    normalize: Preprocess,
    process: Process,
    beat: Callable[[], None] | None = None,
) -> Answers:
    """Answers [3, N] to the images as they are and as FGSM and PGD change them, on every process.

    All in float32, whatever the precision of the cell: the sign of a gradient rounded to bf16 would make
    a weaker attack, and so a model that seems robust. Each process attacks its own part; that every image
    was attacked once is asserted on the counts. No gradient is left on the weights, and neither they nor
    the running statistics change.

    Args:
        model: the model itself with whole weights, not wrapped for training.
        images: what to attack.
        indices: of each of them in its data set, [N].
        normalize: from uint8 to model input, differentiable in float pixels of 0..255.
        process: who else attacks.
        beat: called after each step, as a sign of life.
    """
    model.eval()
    own = torch.arange(process.rank, len(images), process.world_size)
    batch_size = max(1, ATTACK_BATCH_SIZE * 32**2 // normalize.image_size**2)
    predicted = torch.zeros(len(KINDS), len(images), dtype=torch.int64, device=process.device)
    confidence = torch.zeros(len(KINDS), len(images), device=process.device)
    num_attacked = torch.zeros(len(images), dtype=torch.int64, device=process.device)
    num_classes = start = 0
    while start < len(own):
        batch = own[start : start + batch_size]
        try:
            with _full_precision(process.device):
                logits = _attack_batch(model, images, indices, normalize, batch, beat)
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            batch_size = -(-batch_size // 2)
            continue
        num_classes = logits.shape[-1]
        place = batch.to(process.device)
        confidence[:, place], predicted[:, place] = logits.softmax(dim=-1).max(dim=-1)
        num_attacked[place] += 1
        start += batch_size
    for tensor in (predicted, confidence, num_attacked):
        process.sum(tensor)
    assert bool((num_attacked == 1).all()), "an image was attacked twice or not at all"
    return as_answers(predicted, confidence, int(process.largest(num_classes)))


def _attack_batch(
    model: nn.Module,
    images: Samples,
    indices: np.ndarray[Any, np.dtype[np.int64]],
    normalize: Preprocess,
    places: Tensor,
    beat: Callable[[], None] | None,
) -> Tensor:
    """Logits [3, B, C] of the images at `places`: as they are, after FGSM, after PGD."""
    pixels, labels = images.gather(places).float() / 255, images.labels_of(places)
    by_fgsm = fgsm(model, normalize, pixels, labels)
    by_pgd = pgd(model, normalize, pixels, labels, torch.from_numpy(indices)[places], beat=beat)
    with torch.no_grad():
        return torch.stack([model(normalize(255 * found)).float() for found in (pixels, by_fgsm, by_pgd)])


def _gradient(model: nn.Module, normalize: Preprocess, pixels: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each image's cross-entropy by its pixels of 0..1, of the shape of `pixels`."""
    with torch.enable_grad():
        leaf = pixels.detach().requires_grad_()
        # a sum, so that an image's gradient does not shrink with the batch that it is in
        loss = F.cross_entropy(model(normalize(255 * leaf)), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)  # of the pixels alone: the weights get none
    return gradient


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """float32 in the block, without autocast and without rounding to TF32."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
