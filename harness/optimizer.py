"""Optimizers, the learning rate over a run, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.cell import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> Optimizer:
    """The recipe's optimizer over the trainable parameters.

    Weight decay acts on weights of two or more dimensions, not on biases and normalisation scales
    (He et al. 2019, arXiv 1812.01187, section 3.1). Normalisation biases have their own factor on
    the learning rate.
    """
    norm_biases = {
        id(module.bias) for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
    }
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = [p for p in trainable if p.ndim >= 2]
    shifts = [p for p in trainable if p.ndim < 2 and id(p) in norm_biases]
    others = [p for p in trainable if p.ndim < 2 and id(p) not in norm_biases]
    groups = [
        {"params": weights, "lr_scale": 1.0, "weight_decay": recipe.weight_decay},
        {"params": others, "lr_scale": 1.0, "weight_decay": 0.0},
        {"params": shifts, "lr_scale": recipe.norm_bias_lr_scale, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = device.type == "cuda"
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), fused=fused)
    nesterov = recipe.momentum > 0
    sgd = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
    if nesterov:
        # torch's fused kernel leaves them unset when the fp16 scaler skips the first step
        for parameter in trainable:
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def lr_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The learning rate of step `step` (from 0) of `num_steps`: linear warm-up, then decay.

    Cosine decay is Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5, without restarts.
    """
    warmup = round(recipe.warmup_fraction * num_steps)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, num_steps - warmup)
    shape = 1 - progress if recipe.schedule == "triangular" else (1 + math.cos(math.pi * progress)) / 2
    return recipe.lr * (recipe.final_lr_fraction + (1 - recipe.final_lr_fraction) * shape)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give every parameter group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


class WeightAverage:
    """An exponential moving average of the weights, bias-corrected by a decay that warms up.

    The decay at step t is min(decay, (1 + t) / (10 + t)), so that the first steps are forgotten.
    Running statistics are averaged alike.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._num_updates = 0
        self._live = _float_state(model)
        self._average = [tensor.detach().clone() for tensor in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        self._num_updates += 1
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        torch._foreach_lerp_(self._average, self._live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model carry the average inside the block, and its own weights again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, average in zip(self._live, self._average, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)


def _float_state(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
