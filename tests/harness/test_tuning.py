from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.recipe import Recipe
from harness.recipes import recipe_for
from harness.tuning import hold_frozen_statistics, num_trained_groups, train_top, trainable_groups
from models.registry import build_model


def gradual(epochs: int) -> Recipe:
    return recipe_for("resnet20", "gradual", {"epochs": epochs})


def trained_names(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("epochs", "num_trained"),
    [
        (10, [1, 2, 3, 4, 5, 6, 6, 6, 6, 6]),
        (4, [1, 3, 6, 6]),
        (1, [1]),
        (20, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]),
    ],
)
def test_gradual_unfreezing_starts_at_the_head_and_trains_everything_from_the_middle_on(
    epochs: int, num_trained: list[int]
) -> None:
    recipe = gradual(epochs)
    assert [num_trained_groups(recipe, epoch, 6) for epoch in range(len(num_trained))] == num_trained


def test_without_gradual_unfreezing_all_or_the_head_is_trained_at_all_times() -> None:
    everything, head = recipe_for("resnet20", "finetune", {}), recipe_for("resnet20", "probe", {})
    assert {num_trained_groups(everything, epoch, 6) for epoch in range(4)} == {6}
    assert {num_trained_groups(head, epoch, 1) for epoch in range(30)} == {1}


def test_only_the_top_groups_get_gradients() -> None:
    model = build_model("resnet20", num_classes=10, image_size=32)
    groups = trainable_groups(model)
    everything = trained_names(model)
    train_top(groups, 1)
    assert trained_names(model) == {"head.weight", "head.bias"}
    train_top(groups, 2)
    names = trained_names(model)
    assert {"head.weight", "head.bias"} < names < everything
    assert not any(name.startswith("stem") for name in names)
    train_top(groups, len(groups))
    assert trained_names(model) == everything


def test_weights_that_a_model_never_trains_stay_frozen() -> None:
    model = build_model("fast_cnn", num_classes=10, image_size=32)
    before = trained_names(model)
    train_top(trainable_groups(model), 99)
    assert trained_names(model) == before
    assert "whiten.weight" not in before


def test_norms_that_are_not_trained_keep_their_statistics_and_the_others_learn_theirs() -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=10, image_size=32)
    train_top(trainable_groups(model), 2)
    model.train()
    hold_frozen_statistics(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(8, 3, 32, 32))
    trained = {name.rpartition(".")[0] for name in trained_names(model)}
    norms = {name.rpartition(".")[0] for name in before}
    assert norms & trained
    assert norms - trained
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]) == (name.rpartition(".")[0] not in trained), name
