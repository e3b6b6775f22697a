"""From a cell to its model: the architecture, the weights it starts with, what of it is trained when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from harness.cell import CellSpec
from harness.errors import UsageError
from harness.record import ModelFacts
from harness.seeding import seed_everything
from harness.tuning import num_trained_groups, train_top, trainable_groups
from models.complexity import measure_complexity
from models.errors import ModelError
from models.external import MISFITS, build_external
from models.fast_cnn import proxy_cnn
from models.pretrained import load_weights, split_head
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
    weights_sha256: str | None = None


def make_model(cell: CellSpec, num_classes: int, device: torch.device) -> BuiltModel:
    """Build the cell's model and load the weights it starts with.

    Raises:
        UsageError: there is no such model, it cannot be adapted, or the weights are not to be had or
            do not fit.
    """
    seed_everything(cell.seed, "weights")
    try:
        model, notes = _architecture(cell.model, num_classes, cell.image_size, cell.small_stem)
        built = BuiltModel(model, notes)
        if cell.pretrained is not None:
            weights = load_weights(model, cell.model, cell.pretrained, cell.image_size)
            built = BuiltModel(model, (*notes, weights.note), weights.mean, weights.std, weights.sha256)
    except ModelError as error:
        raise UsageError(str(error)) from None
    model.to(device).to(memory_format=torch.channels_last)
    return built


@cache
def check_model(
    model: str, num_classes: int, image_size: int, small_stem: bool, pretrained: str | None
) -> None:
    """Refuse a model that cannot be built, or weights that do not fit it; see `make_model`."""
    if model in MODELS and pretrained is None:
        return
    try:
        built, _ = _architecture(model, num_classes, image_size, small_stem)
        if pretrained is not None:
            load_weights(built, model, pretrained, image_size)
    except ModelError as error:
        raise UsageError(str(error)) from None


def _architecture(
    name: str, num_classes: int, image_size: int, small_stem: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    if name in MODELS:
        return build_model(name, num_classes, image_size), ()
    return build_external(name, num_classes, image_size, small_stem)


def count_compute(cell: CellSpec, num_classes: int, num_fit: int, steps_per_epoch: int) -> ModelFacts:
    """Size and compute of the cell's model, counted on shapes alone.

    Images of progressive resizing count at the size they had, frozen layers without their gradients,
    the features of a linear probe once, and the net that chooses images with all that it is shown.

    Args:
        cell: the cell.
        num_classes: of the data set.
        num_fit: training images.
        steps_per_epoch: optimizer steps.

    Raises:
        UsageError: the model cannot take the smaller images of progressive resizing, or cannot be
            taken apart.
    """
    with torch.device("meta"):
        model, _ = _architecture(cell.model, num_classes, cell.image_size, cell.small_stem)
    groups = _groups(cell, model)
    whole = measure_complexity(model, cell.image_size)
    images_per_epoch = steps_per_epoch * cell.recipe.batch_size
    stages = Counter(
        (cell.image_size_at(epoch), num_trained_groups(cell.recipe, epoch, len(groups)))
        for epoch in range(cell.recipe.epochs)
    )
    total = 0
    for (image_size, num_trained), num_epochs in stages.items():
        train_top(groups, num_trained)
        flops = _train_flops(cell, model, image_size)
        if cell.recipe.tuning == "head":
            total += num_fit * whole.forward_flops_per_image
            flops = 2 * (flops - whole.forward_flops_per_image)  # as much forward as for the gradient
        if cell.recipe.keep_hardest < 1:
            flops = flops * cell.num_kept // cell.recipe.batch_size + _proxy_flops(num_classes, image_size)
        total += num_epochs * images_per_epoch * flops
    return ModelFacts(
        num_params=whole.num_params,
        forward_flops_per_image=whole.forward_flops_per_image,
        train_flops_per_image=whole.train_flops_per_image,
        total_train_flops=total,
    )


def _proxy_flops(num_classes: int, image_size: int) -> int:
    """Compute, for each image of a batch, of the net that chooses which of them are trained on.

    It goes forth and back with the whole batch, where the loss of the images left out counts nothing.
    """
    with torch.device("meta"):
        return measure_complexity(proxy_cnn(num_classes), image_size).train_flops_per_image


def _groups(cell: CellSpec, model: nn.Module) -> list[list[nn.Parameter]]:
    """The groups of layers that are not always trained together, from the input to the head."""
    if cell.recipe.tuning == "all" and cell.recipe.layer_lr_decay == 1:
        return []
    try:
        if cell.recipe.tuning != "head":
            return trainable_groups(model)
        backbone, head = split_head(model)
        backbone(torch.empty(2, 3, cell.image_size, cell.image_size, device="meta"))
    except ModelError as error:
        raise UsageError(str(error)) from None
    top = list(head.parameters())
    is_top = {id(parameter) for parameter in top}
    return [[parameter for parameter in model.parameters() if id(parameter) not in is_top], top]


def _train_flops(cell: CellSpec, model: nn.Module, image_size: int) -> int:
    try:
        return measure_complexity(model, image_size).train_flops_per_image
    except MISFITS:
        if image_size == cell.image_size:
            raise
        raise UsageError(
            f"model '{cell.model}' is built for images of {cell.image_size} pixels and cannot take "
            f"{image_size}: leave out start_scale"
        ) from None
