"""The models that a cell can name; torch is loaded only when one is built.

model = build_model("resnet20", num_classes=10, image_size=32)
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelEntry:
    """Where a model is built, and where it comes from."""

    module: str
    function: str
    source: str
    """The paper, with its section or table, or the code that the shape is taken from."""

    min_image_size: int = 8
    """Smallest height and width, in pixels, that leave something to pool."""


MODELS: dict[str, ModelEntry] = {
    "mlp": ModelEntry("models.simple", "mlp", "a floor: two hidden layers on raw pixels"),
    "simple_cnn": ModelEntry(
        "models.simple",
        "simple_cnn",
        "PyTorch tutorial 'Training a Classifier' (a LeNet-5 for CIFAR-10)",
        min_image_size=16,
    ),
    "fast_cnn": ModelEntry(
        "models.fast_cnn",
        "fast_cnn",
        "in the spirit of airbench94: Jordan 2024, arXiv 2404.00498, section 3",
        min_image_size=16,
    ),
    "resnet20": ModelEntry("models.resnet", "resnet20", "He et al. 2016, arXiv 1512.03385, section 4.2"),
    "resnet18": ModelEntry(
        "models.resnet",
        "resnet18",
        "He et al. 2016, arXiv 1512.03385, table 1, with a 3x3 stem for 32x32 images",
    ),
}


def build_model(name: str, num_classes: int, image_size: int) -> nn.Module:
    """Build the model `name`; it maps float [B, 3, image_size, image_size] to logits [B, num_classes].

    `name` is a key of `MODELS`. Weights are drawn from torch's global generator.
    """
    entry = MODELS[name]
    model: nn.Module = getattr(importlib.import_module(entry.module), entry.function)(
        num_classes=num_classes, image_size=image_size
    )
    return model
