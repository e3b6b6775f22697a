"""Which layers of a model are trained, and when: all, the head alone, or more and more from the head down."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.recipe import Recipe
from models.pretrained import layer_groups


def num_trained_groups(recipe: Recipe, epoch: int, num_groups: int) -> int:
    """How many groups of layers, counted from the head, are trained in an epoch, counted from 0.

    Gradual unfreezing (Howard & Ruder 2018, arXiv 1801.06146, section 3.3): the head first, then in
    even steps more of the layers below it; all of them from the middle of the training on.
    """
    if recipe.tuning == "all":
        return num_groups
    if recipe.tuning == "head":
        return 1
    return min(num_groups, 1 + int((num_groups - 1) * epoch / (recipe.epochs / 2)))


def trainable_groups(model: nn.Module) -> list[list[nn.Parameter]]:
    """The trainable parameters in groups of layers, from the input to the head."""
    groups = [[p for p in group if p.requires_grad] for group in layer_groups(model)]
    return [group for group in groups if group]


def train_top(groups: list[list[nn.Parameter]], num_trained: int) -> None:
    """Let only the last `num_trained` groups get gradients."""
    for index, group in enumerate(groups):
        for parameter in group:
            parameter.requires_grad_(index >= len(groups) - num_trained)


def hold_frozen_statistics(model: nn.Module) -> None:
    """Let BatchNorm layers that are not trained keep their running statistics, and use them."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
            if own and not any(own):
                module.eval()
