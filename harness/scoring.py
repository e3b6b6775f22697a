"""What a trained model says about the test images, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.batches import Inputs
from harness.datasets.base import Dataset
from harness.errors import DivergedError
from harness.evaluate import predict
from harness.precision import Autocast
from harness.strategy import Strategy
from harness.train import CURE
from harness.training_state import Training

Arrays = dict[str, np.ndarray[Any, Any]]


def score(
    strategy: Strategy, inputs: Inputs, autocast: Autocast, beat: Callable[[], None]
) -> dict[str, Tensor]:
    """Logits of the test images, by the name that they are kept under.

    Raises:
        DivergedError: they are not finite.
    """

    def logits_of(mirror: bool) -> Tensor:
        return predict(
            strategy.model,
            inputs.test,
            inputs.normalize,
            autocast,
            strategy.process,
            mirror,
            in_parts=strategy.is_sharded,
            beat=beat,
        )

    logits = logits_of(mirror=False)
    scored = {"test_logits": logits}
    if strategy.cell.mirror_tta:
        scored["test_tta_logits"] = (logits + logits_of(mirror=True)) / 2
    if not all(bool(torch.isfinite(tensor).all()) for tensor in scored.values()):
        raise DivergedError(f"the selected weights give logits that are not finite numbers: {CURE}")
    return scored


def predictions_of(
    scored: dict[str, Tensor],
    dataset: Dataset,
    training: Training,
    val_indices: np.ndarray[Any, np.dtype[np.int64]],
) -> Arrays:
    """The arrays of `predictions.npz`."""
    val_logits = training.val_logits
    num_classes = len(dataset.class_names)
    return {name: tensor.cpu().numpy() for name, tensor in scored.items()} | {
        "test_labels": dataset.test.labels,
        "val_logits": np.zeros((0, num_classes), np.float32)
        if val_logits is None
        else val_logits.cpu().numpy(),
        "val_labels": dataset.train.labels[val_indices],
        "val_indices": val_indices,
        "class_names": np.array(dataset.class_names),
        "test_fingerprint": np.array(dataset.provenance.test_fingerprint),
    }
