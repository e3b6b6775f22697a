"""Named recipes: how each kind of model is trained, with what to expect. No torch here.

    recipe_for("resnet18", "standard", {"epochs": 60})

Any field can be overridden; see `Recipe` for what each means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import unknown_name
from harness.recipe import Recipe, make_recipe

DEFAULT_RECIPE = "fast"

_MLP = Recipe(epochs=10, batch_size=256, optimizer="adamw", lr=1e-3, weight_decay=0.01, schedule="cosine")
_SIMPLE_CNN = Recipe(
    epochs=20, batch_size=128, optimizer="adamw", lr=2e-3, weight_decay=0.01, schedule="cosine"
)
# airbench94's, arXiv 2404.00498 section 3 and listing 4, in terms of the mean loss and half the
# batch; a plain moving average takes the place of its lookahead
_FAST_CNN_SGD = Recipe(
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
)
# the same with Muon as in airbench94_muon.py of KellerJordan/cifar10-airbench, its rate for a quarter of
# the batch, and progressive resizing (Tan & Le 2021, arXiv 2104.00298, section 4.2)
_FAST_CNN = make_recipe(
    _FAST_CNN_SGD.model_dump()
    | {
        "epochs": 7,
        "batch_size": 500,
        "optimizer": "muon",
        "lr": 0.42,
        "muon_lr": 0.12,
        "warmup_fraction": 0,
        "final_lr_fraction": 0,
        "ema_decay": None,
        "start_scale": 0.625,
        "full_scale_at": 0.6,
    }
)
# and trained on the hardest half of batches twice as large, as airbench96_faster.py is
_FAST_CNN_LARGE = make_recipe(
    _FAST_CNN.model_dump()
    | {"epochs": 30, "batch_size": 1000, "keep_hardest": 0.5, "crop_padding": 4, "full_scale_at": 0.7}
)
# He et al. 2016, arXiv 1512.03385, section 4.2, with the cosine and five times the weight decay that
# are usual since
_CNN = Recipe(
    epochs=15,
    batch_size=128,
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    schedule="cosine",
    warmup_fraction=0.1,
)
# Touvron et al. 2021, arXiv 2012.12877, table 9, for the batch size of the others
_PATCH = Recipe(
    epochs=15,
    batch_size=128,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_fraction=0.1,
    label_smoothing=0.1,
)
_TUNE = Recipe(
    epochs=4,
    batch_size=128,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.02,
    schedule="cosine",
    warmup_fraction=0.1,
    label_smoothing=0.1,
    ema_decay=0.99,
)


def _longer(recipe: Recipe, epochs: int, **fields: Any) -> Recipe:
    return make_recipe(recipe.model_dump() | {"epochs": epochs} | fields)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe for every kind of model."""

    summary: str
    augmentation: str
    """Used where no augmentation is named."""

    by_model: dict[str, Recipe]
    """By model, or `cnn` for all other convolutional models of the registry, or `any` for the rest."""

    needs_weights: bool = False
    """For models that start from weights, see `--pretrained`."""


RECIPES: dict[str, NamedRecipe] = {
    "demo": NamedRecipe(
        "six epochs, to see the whole tool at work on the built-in digits",
        "flip_crop",
        {
            "mlp": _longer(_MLP, 6, batch_size=64, lr=5e-4),
            "simple_cnn": _longer(_SIMPLE_CNN, 6, batch_size=64, lr=2e-3 / 2**0.5),
            "fast_cnn": _longer(_FAST_CNN_SGD, 6, batch_size=64, lr=0.75 / 8),
            "fast_cnn_large": _longer(_FAST_CNN_SGD, 6, batch_size=64, lr=0.75 / 8),
            "cnn": _longer(_CNN, 6, batch_size=64, lr=0.05),
            "any": _longer(_PATCH, 6, batch_size=64, lr=1e-3 / 2**0.5),
        },
    ),
    "fast": NamedRecipe(
        "7 to 20 epochs",
        "flip_crop",
        {
            "mlp": _MLP,
            "simple_cnn": _SIMPLE_CNN,
            "fast_cnn": _FAST_CNN,
            "fast_cnn_large": _FAST_CNN,
            "cnn": _CNN,
            "any": _PATCH,
        },
    ),
    "standard": NamedRecipe(
        "30 epochs",
        "flip_crop",
        {
            "mlp": _longer(_MLP, 30),
            "simple_cnn": _longer(_SIMPLE_CNN, 30),
            "fast_cnn": _longer(_FAST_CNN_SGD, 30),
            "fast_cnn_large": _FAST_CNN_LARGE,
            "cnn": _longer(_CNN, 30, ema_decay=0.995),
            "any": _longer(_PATCH, 30, ema_decay=0.995),
        },
    ),
    "strong": NamedRecipe(
        "200 epochs, a moving average of the weights, TrivialAugment and CutMix",
        "strong",
        {
            "mlp": _longer(_MLP, 200, ema_decay=0.999),
            "simple_cnn": _longer(_SIMPLE_CNN, 200, ema_decay=0.999),
            "fast_cnn": _longer(_FAST_CNN_SGD, 200, ema_decay=0.999),
            "fast_cnn_large": _longer(_FAST_CNN_SGD, 200, ema_decay=0.999),
            "cnn": _longer(_CNN, 200, ema_decay=0.999, label_smoothing=0.1),
            "any": _longer(_PATCH, 200, ema_decay=0.999),
        },
    ),
    "finetune": NamedRecipe(
        "4 epochs over all weights of a pre-trained model, lower layers slower",
        "flip_crop",
        {"any": _longer(_TUNE, 4, layer_lr_decay=0.8)},
        needs_weights=True,
    ),
    "gradual": NamedRecipe(
        "4 epochs over a pre-trained model, from the head down to all layers",
        "flip_crop",
        {"any": _longer(_TUNE, 4, tuning="gradual", layer_lr_decay=0.7)},
        needs_weights=True,
    ),
    "probe": NamedRecipe(
        "a linear layer on the features of a pre-trained model that stays as it is",
        "none",
        {"any": _longer(_TUNE, 30, tuning="head", batch_size=512, ema_decay=None)},
        needs_weights=True,
    ),
}
"""Expected accuracy and time of each are in docs/recipes.md, with the commands that measured them."""

_TOKEN_MODELS = ("convmixer", "vit_tiny", "mlp_mixer")


def recipe_named(name: str) -> NamedRecipe:
    """The recipe `name`, of every kind of model.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_for(model: str, name: str, overrides: dict[str, Any]) -> Recipe:
    """The recipe `name` as it is for `model`, with some fields replaced.

    Where the batch size is replaced and the learning rate is not, SGD's rate follows in proportion
    (Goyal et al. 2017, arXiv 1706.02677, section 2.1), AdamW's and Muon's with the square root.

    Raises:
        UsageError: the recipe or a field is unknown, or a value out of range.
    """
    by_model = recipe_named(name).by_model
    kind = "any" if model in _TOKEN_MODELS or ":" in model else "cnn"
    default = by_model.get(model) or by_model.get(kind) or by_model["any"]
    recipe = make_recipe(default.model_dump() | overrides)
    ratio = recipe.batch_size / default.batch_size
    rates = {"lr": recipe.lr * (ratio**0.5 if recipe.optimizer == "adamw" else ratio)}
    if recipe.muon_lr is not None:
        rates["muon_lr"] = recipe.muon_lr * ratio**0.5
    return recipe.model_copy(update={key: rate for key, rate in rates.items() if key not in overrides})
