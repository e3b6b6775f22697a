"""What a model answers to sets of images: asked piece by piece, so that none is asked twice.

ask = Asking(model, normalize, autocast, process)
ask.about("fog", [Changed(images, fog_1), Changed(images, fog_3)], labels)    # answers [2, N]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.batches import Preprocess, Samples
from harness.errors import DivergedError
from harness.evaluate import predict
from harness.precision import Autocast
from harness.process import Process

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Answers:
    """What a model says about a set of images; the last axis is that of the images."""

    predicted: Array
    """uint8 or int16 [..., N], the class with the largest logit."""

    confidence: Array
    """float16 [..., N], the largest softmax probability."""


def as_answers(predicted: Tensor, confidence: Tensor, num_classes: int) -> Answers:
    """The answers as they are kept: of classes int64 [..., N] and probabilities float32 [..., N].

    Raises:
        DivergedError: a probability is not a number.
    """
    if not bool(torch.isfinite(confidence).all()):
        raise DivergedError("the model gives logits that are not finite numbers for changed images")
    small = np.uint8 if num_classes <= 256 else np.int16
    # numpy halves the bits: torch's half precision is slow on a CPU
    halved = confidence.float().cpu().numpy().astype(np.float16)
    return Answers(predicted.cpu().numpy().astype(small), halved)


def stack(parts: Iterable[Answers]) -> Answers:
    """Answers with one axis more, the first."""
    parts = list(parts)
    return Answers(
        np.stack([part.predicted for part in parts]), np.stack([part.confidence for part in parts])
    )


class Changed:
    """Samples that are changed as they are gathered.

    Args:
        samples: what they are before.
        change: from uint8 images [B, 3, H, W] and their places among the samples, int64 [B], to such images.
    """

    def __init__(self, samples: Samples, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._samples = samples
        self._change = change
        self.labels = samples.labels
        self.index_device = samples.index_device

    def __len__(self) -> int:
        return len(self._samples)

    def gather(self, indices: Tensor) -> Tensor:
        """The changed samples at `indices`, int64 [B]."""
        return self._change(self._samples.gather(indices), indices)

    def labels_of(self, indices: Tensor) -> Tensor:
        """Their labels, int64 [B]."""
        return self._samples.labels_of(indices)


class Ledger:
    """The pieces of a measurement that are done; who wants to show or to save them derives from it."""

    def __init__(self, done: dict[str, Answers] | None = None) -> None:
        self.done = done or {}

    def piece(self, name: str, labels: Indices, measure: Callable[[], Answers]) -> Answers:
        """The answers of one piece, measured unless they are here already."""
        if name not in self.done:
            self.done[name] = measure()
            self.keep()
        self.tell(name, self.done[name], labels)
        return self.done[name]

    def keep(self) -> None:
        """A piece more is done."""

    def tell(self, name: str, given: Answers, labels: Indices) -> None:
        """A piece is there: answers [..., N] to images of these labels [N]."""


@dataclass(frozen=True)
class Asking:
    """Asks one model; every process must ask the same."""

    model: nn.Module
    """The whole model, not wrapped for training."""

    normalize: Preprocess
    autocast: Autocast
    process: Process
    beat: Callable[[], None] | None = None
    """Called after each batch, as a sign of life."""

    in_parts: bool = False
    """Whether weights or optimizer are spread over the processes."""

    ledger: Ledger = field(default_factory=Ledger)

    def about(self, name: str, sets: Iterable[Samples], labels: Indices) -> Answers:
        """Answers [K, N] to K sets of images of the same labels [N], which are made when they are asked."""
        return self.ledger.piece(name, labels, lambda: stack(self._answers(samples) for samples in sets))

    def _answers(self, samples: Samples) -> Answers:
        logits = predict(
            self.model,
            samples,
            self.normalize,
            self.autocast,
            self.process,
            in_parts=self.in_parts,
            beat=self.beat,
        )
        confidence, predicted = logits.softmax(dim=1).max(dim=1)
        return as_answers(predicted, confidence, logits.shape[1])
