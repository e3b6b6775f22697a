"""The default recipe of each model, for CIFAR-10. No torch here.

Any field can be overridden; see `Recipe` for what each means.
"""

from __future__ import annotations

from typing import Any

from harness.cell import Recipe, make_recipe
from harness.errors import unknown_name

_RESNET = Recipe(
    epochs=15,
    batch_size=128,
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    schedule="cosine",
    warmup_fraction=0.1,
)

DEFAULT_RECIPES: dict[str, Recipe] = {
    "mlp": Recipe(
        epochs=10, batch_size=256, optimizer="adamw", lr=1e-3, weight_decay=0.01, schedule="cosine"
    ),
    "simple_cnn": Recipe(
        epochs=20, batch_size=128, optimizer="adamw", lr=2e-3, weight_decay=0.01, schedule="cosine"
    ),
    # airbench94's, arXiv 2404.00498 section 3 and listing 4, in terms of the mean loss and half the
    # batch; a plain moving average takes the place of its lookahead
    "fast_cnn": Recipe(
        epochs=10,
        batch_size=512,
        optimizer="sgd",
        lr=0.75,
        momentum=0.85,
        weight_decay=1.3e-3,
        schedule="triangular",
        warmup_fraction=0.23,
        final_lr_fraction=0.07,
        norm_bias_lr_scale=64,
        label_smoothing=0.2,
        crop_padding=2,
        ema_decay=0.99,
    ),
    "resnet20": _RESNET,
    "resnet18": _RESNET,
}


def recipe_for(model: str, overrides: dict[str, Any]) -> Recipe:
    """The recipe of `model` with some fields replaced.

    Where the batch size is replaced and the learning rate is not, SGD's learning rate follows in
    proportion (Goyal et al. 2017, arXiv 1706.02677, section 2.1), AdamW's with the square root.

    Raises:
        UsageError: the model or a field is unknown, or a value out of range.
    """
    if model not in DEFAULT_RECIPES:
        raise unknown_name("model", model, DEFAULT_RECIPES)
    default = DEFAULT_RECIPES[model]
    recipe = make_recipe(default.model_dump() | overrides)
    if "batch_size" not in overrides or "lr" in overrides:
        return recipe
    ratio = recipe.batch_size / default.batch_size
    scale = ratio if recipe.optimizer == "sgd" else ratio**0.5
    return recipe.model_copy(update={"lr": recipe.lr * scale})
