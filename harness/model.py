"""From a cell to its model: the architecture, the weights it starts with, what of it is trained when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from harness.cell import CellSpec
from harness.errors import UsageError
from harness.record import ModelFacts
from harness.seeding import seed_everything
from harness.tuning import num_trained_groups, train_top, trainable_groups
from models.complexity import measure_complexity
from models.errors import ModelError
from models.external import build_external
from models.pretrained import load_weights
from models.registry import MODELS, build_model


@dataclass(frozen=True)
class BuiltModel:
    """A model on its device, ready to be trained."""

    module: nn.Module
    notes: tuple[str, ...]
    """What was adapted or replaced, and where the weights came from."""

    mean: tuple[float, ...] | None = None
    """Of each channel, for pixels scaled to 0..1, as the weights want it; None: the training images' own."""

    std: tuple[float, ...] | None = None


def make_model(cell: CellSpec, num_classes: int, device: torch.device) -> BuiltModel:
    """Build the cell's model and load the weights it starts with.

    Raises:
        UsageError: there is no such model, it cannot be adapted, or the weights are not to be had or
            do not fit.
    """
    seed_everything(cell.seed, "weights")
    try:
        model, notes = _architecture(cell, num_classes)
        built = BuiltModel(model, notes)
        if cell.pretrained is not None:
            weights = load_weights(model, cell.model, cell.pretrained, cell.image_size)
            built = BuiltModel(model, (*notes, weights.note), weights.mean, weights.std)
    except ModelError as error:
        raise UsageError(str(error)) from None
    model.to(device).to(memory_format=torch.channels_last)
    return built


def _architecture(cell: CellSpec, num_classes: int) -> tuple[nn.Module, tuple[str, ...]]:
    if cell.model in MODELS:
        return build_model(cell.model, num_classes, cell.image_size), ()
    return build_external(cell.model, num_classes, cell.image_size, cell.small_stem)


def count_compute(cell: CellSpec, num_classes: int, num_fit: int, steps_per_epoch: int) -> ModelFacts:
    """Size and compute of the cell's model, counted on shapes alone.

    Images of progressive resizing count at the size they had, frozen layers without their gradients,
    and the features of a linear probe once.

    Args:
        cell: the cell.
        num_classes: of the data set.
        num_fit: training images.
        steps_per_epoch: optimizer steps.
    """
    with torch.device("meta"):
        model, _ = _architecture(cell, num_classes)
    groups = trainable_groups(model)
    whole = measure_complexity(model, cell.image_size)
    images_per_epoch = steps_per_epoch * cell.recipe.batch_size
    stages = Counter(
        (cell.image_size_at(epoch), num_trained_groups(cell.recipe, epoch, len(groups)))
        for epoch in range(cell.recipe.epochs)
    )
    total = 0
    for (image_size, num_trained), num_epochs in stages.items():
        train_top(groups, num_trained)
        flops = measure_complexity(model, image_size).train_flops_per_image
        if cell.recipe.tuning == "head":
            total += num_fit * whole.forward_flops_per_image
            flops = 2 * (flops - whole.forward_flops_per_image)  # as much forward as for the gradient
        total += num_epochs * images_per_epoch * flops
    return ModelFacts(
        num_params=whole.num_params,
        forward_flops_per_image=whole.forward_flops_per_image,
        train_flops_per_image=whole.train_flops_per_image,
        total_train_flops=total,
    )
