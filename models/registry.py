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

    image_size_multiple: int = 1
    """Height and width are a multiple of this: the side of a patch, for models that cut patches."""


_THIN = "He et al. 2016, arXiv 1512.03385, section 4.2"
_WIDE = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, table 1"
_IMAGENET = "He et al. 2016, arXiv 1512.03385, table 1, with a 3x3 stem for 32x32 images"
_VGG = "Simonyan & Zisserman 2015, arXiv 1409.1556, table 1, with BatchNorm and one linear layer"

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
    "fast_cnn_large": ModelEntry(
        "models.fast_cnn",
        "fast_cnn_large",
        "in the spirit of airbench96: Jordan 2024, arXiv 2404.00498, section 4",
        min_image_size=16,
    ),
    "vgg11": ModelEntry("models.vgg", "vgg11", f"{_VGG}, configuration A", min_image_size=32),
    "vgg16": ModelEntry("models.vgg", "vgg16", f"{_VGG}, configuration D", min_image_size=32),
    "resnet20": ModelEntry("models.resnet", "resnet20", _THIN),
    "resnet32": ModelEntry("models.resnet", "resnet32", _THIN),
    "resnet56": ModelEntry("models.resnet", "resnet56", _THIN),
    "resnet18": ModelEntry("models.resnet", "resnet18", _IMAGENET),
    "resnet34": ModelEntry("models.resnet", "resnet34", _IMAGENET),
    "resnet50": ModelEntry("models.resnet", "resnet50", _IMAGENET),
    "resnext29": ModelEntry(
        "models.resnet", "resnext29", "Xie et al. 2017, arXiv 1611.05431, section 5.3: ResNeXt-29, 8x64d"
    ),
    "wrn_16_4": ModelEntry("models.wide_resnet", "wrn_16_4", _WIDE),
    "wrn_28_10": ModelEntry("models.wide_resnet", "wrn_28_10", _WIDE),
    "densenet_bc_100_12": ModelEntry(
        "models.densenet", "densenet_bc_100_12", "Huang et al. 2017, arXiv 1608.06993, section 3"
    ),
    "mobilenet_v2": ModelEntry(
        "models.mobilenet",
        "mobilenet_v2",
        "Sandler et al. 2018, arXiv 1801.04381, table 2, with two strides less for 32x32 images",
    ),
    "shufflenet_v2": ModelEntry(
        "models.shufflenet",
        "shufflenet_v2",
        "Ma et al. 2018, arXiv 1807.11164, table 5 (1x), with two strides less for 32x32 images",
    ),
    "efficientnet_b0": ModelEntry(
        "models.mobilenet",
        "efficientnet_b0",
        "Tan & Le 2019, arXiv 1905.11946, table 1, with two strides less for 32x32 images",
    ),
    "convmixer": ModelEntry(
        "models.convmixer",
        "convmixer",
        "Trockman & Kolter 2022, arXiv 2201.09792, section 2: ConvMixer-256/8 with patches of 2x2",
        image_size_multiple=2,
    ),
    "vit_tiny": ModelEntry(
        "models.token_models",
        "vit_tiny",
        "Dosovitskiy et al. 2021, arXiv 2010.11929, in the size DeiT-Ti of Touvron et al. 2021, "
        "arXiv 2012.12877, table 1, with patches of 4x4",
        image_size_multiple=4,
    ),
    "mlp_mixer": ModelEntry(
        "models.token_models",
        "mlp_mixer",
        "Tolstikhin et al. 2021, arXiv 2105.01601, table 1: Mixer-S at half the width, patches of 4x4",
        image_size_multiple=4,
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
