"""How large a model is and how much it computes, counted and not estimated. 1 multiply-add = 2 FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.registry import build_model


@dataclass(frozen=True)
class Complexity:
    """Size and compute of one model at one image size."""

    num_params: int
    forward_flops_per_image: int
    train_flops_per_image: int
    """Forward and backward."""


def count_params(model: nn.Module) -> int:
    """Number of parameters, frozen ones included and buffers not."""
    return sum(parameter.numel() for parameter in model.parameters())


def measure_complexity(name: str, num_classes: int, image_size: int) -> Complexity:
    """Count the parameters and FLOPs of a model of the registry, on shapes alone (the meta device).

    Matrix products and convolutions are counted (`torch.utils.flop_counter`); element-wise work is
    not, as is usual.
    """
    with torch.device("meta"):
        model = build_model(name, num_classes, image_size)
        images = torch.empty(2, 3, image_size, image_size)  # BatchNorm refuses to train on one image
    with FlopCounterMode(display=False) as forward_counter:
        logits = model(images)
    with FlopCounterMode(display=False) as backward_counter:
        logits.sum().backward()
    forward = forward_counter.get_total_flops() // 2
    return Complexity(count_params(model), forward, forward + backward_counter.get_total_flops() // 2)
