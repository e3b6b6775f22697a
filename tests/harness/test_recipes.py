from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.recipes import RECIPES, recipe_for
from models.registry import MODELS


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("model", [*MODELS, "timm:resnet18d"])
def test_every_recipe_has_an_answer_for_every_model(model: str, name: str) -> None:
    recipe = recipe_for(model, name, {})
    assert recipe in RECIPES[name].by_model.values()


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_or_kind_of_a_recipe_exists(name: str) -> None:
    assert set(RECIPES[name].by_model) <= {*MODELS, "cnn", "any"}


def test_convolutional_models_are_trained_by_sgd_and_those_of_patches_or_from_elsewhere_by_adamw() -> None:
    optimizers = {model: recipe_for(model, "fast", {}).optimizer for model in [*MODELS, "timm:x"]}
    assert optimizers["wrn_28_10"] == optimizers["mobilenet_v2"] == "sgd"
    assert optimizers["vit_tiny"] == optimizers["mlp_mixer"] == optimizers["timm:x"] == "adamw"


def test_the_fast_nets_are_trained_by_muon_and_the_large_one_on_the_hardest_half() -> None:
    assert recipe_for("fast_cnn", "fast", {}).optimizer == "muon"
    large = recipe_for("fast_cnn_large", "standard", {})
    assert (large.optimizer, large.keep_hardest) == ("muon", 0.5)


def test_an_override_replaces_one_field_only() -> None:
    changed = recipe_for("resnet20", "fast", {"epochs": 3})
    assert changed == recipe_for("resnet20", "fast", {}).model_copy(update={"epochs": 3})


def test_an_unknown_recipe_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^unknown recipe 'fats': did you mean fast"):
        recipe_for("mlp", "fats", {})


@pytest.mark.parametrize(
    ("model", "batch_size", "ratio"),
    [("resnet20", 512, 4), ("resnet20", 32, 1 / 4), ("mlp", 1024, 2), ("mlp", 64, 1 / 2)],
)
def test_the_learning_rate_follows_the_batch_size_in_proportion_for_sgd_and_as_the_root_for_adamw(
    model: str, batch_size: int, ratio: float
) -> None:
    recipe = recipe_for(model, "fast", {"batch_size": batch_size})
    default = recipe_for(model, "fast", {})
    assert recipe.batch_size == batch_size
    assert recipe.lr == pytest.approx(ratio * default.lr)
    assert recipe.model_copy(update={"batch_size": default.batch_size, "lr": default.lr}) == default


def test_the_learning_rate_of_muon_that_is_given_stays_as_it_is() -> None:
    muon = {"optimizer": "muon", "muon_lr": 0.1}
    recipe = recipe_for("resnet20", "fast", muon | {"batch_size": 512})
    assert recipe.lr == pytest.approx(0.4)
    assert recipe.muon_lr == 0.1


def test_a_learning_rate_that_is_given_stays_as_it_is() -> None:
    assert recipe_for("resnet20", "fast", {"batch_size": 512, "lr": 0.3}).lr == 0.3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning_rate": 0.1}, "recipe: there is no 'learning_rate'"),
        ({"epochs": 0}, "recipe: epochs: .* not 0"),
        ({"batch_size": "many"}, "recipe: batch_size: .* not 'many'"),
        ({"optimizer": "lion"}, "recipe: optimizer: .* not 'lion'"),
        ({"optimizer": "muon"}, "recipe: optimizer 'muon' needs muon_lr.*"),
        ({"lr": None}, "recipe: lr: .* not None"),
    ],
)
def test_a_bad_field_is_one_line_that_names_it(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        recipe_for("mlp", "fast", overrides)
