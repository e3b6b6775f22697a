"""Optimizers, the learning rate over a run, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.cell import Precision
from harness.muon import Muon, hidden_weights
from harness.recipe import Recipe
from harness.tuning import trainable_groups

STEP_MILESTONES = (0.5, 0.75)


def make_optimizer(
    model: nn.Module,
    recipe: Recipe,
    device: torch.device,
    in_parts: bool = False,
    precision: Precision = "bf16",
) -> Optimizer:
    """The recipe's optimizer over the trainable parameters.

    Weight decay acts on the weights of layers that have two or more dimensions, not on biases and
    normalisation scales (He et al. 2019, arXiv 1812.01187, section 3.1) nor on position embeddings.
    Normalisation biases have their own factor on the learning rate, and so have groups of layers far
    from the head. Where weights are in parts, SGD is not fused: torch has no such kernel for them. Muon's
    products are in float32 where the cell's are.
    """
    groups = _parameter_groups(model, recipe)
    fused = device.type == "cuda"
    if recipe.optimizer == "muon":
        return Muon(groups, torch.float32 if precision in ("fp32", "tf32") else torch.bfloat16)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), fused=fused)
    nesterov = recipe.momentum > 0
    fused = fused and not in_parts
    sgd = torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
    if nesterov:
        # torch's fused kernel leaves them unset when the fp16 scaler skips the first step
        for group in groups:
            for parameter in group["params"]:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Trainable parameters by what the optimizer does with them."""
    decayed = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for name, parameter in module.named_parameters(recurse=False)
        if name.endswith("weight") and parameter.ndim >= 2
    }
    norm_biases = {
        id(module.bias) for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
    }
    hidden = {id(weight) for weight in hidden_weights(model)} if recipe.optimizer == "muon" else set()
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for parameter, scale in _layer_scales(model, recipe):
        is_hidden = id(parameter) in hidden
        decay = recipe.weight_decay if id(parameter) in decayed else 0.0
        if id(parameter) in norm_biases:
            scale *= recipe.norm_bias_lr_scale
        if is_hidden:
            assert recipe.muon_lr is not None, "checked when the recipe is made"
            scale *= recipe.muon_lr / recipe.lr
        settings: dict[str, Any] = {"lr": recipe.lr, "lr_scale": scale, "weight_decay": decay}
        if recipe.optimizer == "muon":
            momentum = recipe.muon_momentum if is_hidden else recipe.momentum
            settings |= {"orthogonal": is_hidden, "momentum": momentum}
        groups.setdefault(tuple(settings.values()), settings | {"params": []})["params"].append(parameter)
    return list(groups.values())


def _layer_scales(model: nn.Module, recipe: Recipe) -> Iterator[tuple[nn.Parameter, float]]:
    """Each trainable parameter, and the factor on its learning rate that its depth gives.

    Discriminative fine-tuning: Howard & Ruder 2018, arXiv 1801.06146, section 3.2.
    """
    if recipe.layer_lr_decay == 1:
        yield from ((parameter, 1.0) for parameter in model.parameters() if parameter.requires_grad)
        return
    groups = trainable_groups(model)
    for depth, group in enumerate(reversed(groups)):
        yield from ((parameter, recipe.layer_lr_decay**depth) for parameter in group)


def lr_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The learning rate of step `step` (from 0) of `num_steps`: linear warm-up, then decay.

    The steps are those of He et al. 2016, arXiv 1512.03385, section 4.2, as shares of the training.
    Cosine decay is Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5, without restarts.
    """
    warmup = round(recipe.warmup_fraction * num_steps)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** sum(step >= share * num_steps for share in STEP_MILESTONES)
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

    Args:
        tensors: parameters and buffers by name, live; those that are not of floats are left out.
        decay: of one step, later on.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self._num_updates = 0
        live = {name: tensor.detach() for name, tensor in tensors.items() if tensor.is_floating_point()}
        self._live = list(live.values())
        self._average = [tensor.clone() for tensor in self._live]
        self.by_name = dict(zip(live, self._average, strict=True))
        """The averages."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        self._num_updates += 1
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        torch._foreach_lerp_(self._average, self._live, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """The average, to go on from."""
        return {"num_updates": self._num_updates, "average": self._average}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from an average that was saved."""
        self._num_updates = state["num_updates"]
        for average, kept in zip(self._average, state["average"], strict=True):
            average.copy_(kept)

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
