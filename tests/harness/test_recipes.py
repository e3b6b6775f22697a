from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.recipes import DEFAULT_RECIPES, recipe_for
from models.registry import MODELS


def test_every_model_has_a_default_recipe_and_no_recipe_is_left_over() -> None:
    assert DEFAULT_RECIPES.keys() == MODELS.keys()


@pytest.mark.parametrize("model", MODELS)
def test_without_overrides_the_default_is_used(model: str) -> None:
    assert recipe_for(model, {}) == DEFAULT_RECIPES[model]


def test_an_override_replaces_one_field_only() -> None:
    changed = recipe_for("resnet20", {"epochs": 3})
    assert changed == DEFAULT_RECIPES["resnet20"].model_copy(update={"epochs": 3})


@pytest.mark.parametrize(
    ("model", "batch_size", "ratio"),
    [("resnet20", 512, 4), ("resnet20", 32, 1 / 4), ("mlp", 1024, 2), ("mlp", 64, 1 / 2)],
)
def test_the_learning_rate_follows_the_batch_size_in_proportion_for_sgd_and_as_the_root_for_adamw(
    model: str, batch_size: int, ratio: float
) -> None:
    recipe = recipe_for(model, {"batch_size": batch_size})
    default = DEFAULT_RECIPES[model]
    assert recipe.batch_size == batch_size
    assert recipe.lr == pytest.approx(ratio * default.lr)
    assert recipe.model_copy(update={"batch_size": default.batch_size, "lr": default.lr}) == default


def test_a_learning_rate_that_is_given_stays_as_it_is() -> None:
    assert recipe_for("resnet20", {"batch_size": 512, "lr": 0.3}).lr == 0.3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning_rate": 0.1}, "recipe: there is no 'learning_rate'"),
        ({"epochs": 0}, "recipe: epochs: .* not 0"),
        ({"batch_size": "many"}, "recipe: batch_size: .* not 'many'"),
        ({"optimizer": "lion"}, "recipe: optimizer: .* not 'lion'"),
        ({"lr": None}, "recipe: lr: .* not None"),
    ],
)
def test_a_bad_field_is_one_line_that_names_it(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        recipe_for("mlp", overrides)
