from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from harness.cell import Precision
from harness.errors import UsageError
from harness.muon import Muon, hidden_weights, orthogonalized
from harness.optimizer import make_optimizer, set_lr
from harness.recipe import Recipe
from models.registry import build_model

CPU = torch.device("cpu")


def recipe(**fields: Any) -> Recipe:
    values = {"epochs": 1, "batch_size": 8, "lr": 0.1, "weight_decay": 0.05, "schedule": "cosine"}
    return Recipe.model_validate(values | {"optimizer": "muon", "muon_lr": 0.02} | fields)


@pytest.mark.parametrize("products_in", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (64, 16), (16, 64), (8, 8, 1, 1)])
def test_orthogonalized_matrices_have_the_singular_vectors_of_the_gradient_and_values_near_one(
    shape: tuple[int, ...], products_in: torch.dtype
) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape)
    update = orthogonalized(gradient, products_in, steps=5).flatten(1)
    u, _, v = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    values = torch.linalg.svdvals(update)
    assert 0.4 < values.min() < values.max() < 1.4
    rotated = u.T @ update @ v.T  # diagonal, and positive
    torch.testing.assert_close(rotated, torch.diag(rotated.diag()), rtol=0, atol=0.1)
    assert rotated.diag().min() > 0.4


def test_muon_on_matrices_is_torchs_but_for_the_norm_of_the_weights() -> None:
    torch_muon = pytest.importorskip("torch.optim", reason="torch 2.9 has Muon").Muon
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(16, 16))
    ours.data *= 16**0.5 / 2 / ours.data.norm()  # a norm that shows whether it is set to 4
    theirs = nn.Parameter(2 * ours.detach().clone())
    group = {"params": [ours], "lr": 0.1, "lr_scale": 1.0, "orthogonal": True, "momentum": 0.6}
    optimizer = Muon([group])
    reference = torch_muon(
        [theirs], lr=0.1, momentum=0.6, weight_decay=0, nesterov=True, ns_steps=3, adjust_lr_fn="original"
    )
    for _ in range(3):
        gradient = torch.randn(16, 16)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        theirs.data.mul_(4 / theirs.data.norm())
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)  # products in bfloat16


@pytest.mark.parametrize(
    ("precision", "products_in"),
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.bfloat16)],
)
def test_the_products_of_muon_are_no_less_precise_than_the_cell(
    precision: Precision, products_in: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 16)
    model = nn.Sequential(nn.Linear(16, 16), layer, nn.Linear(16, 2))
    optimizer = make_optimizer(model, recipe(lr=1.0, muon_lr=1.0), CPU, precision=precision)
    gradient = torch.randn(16, 16)
    layer.weight.grad = gradient.clone()
    before = layer.weight.detach() * (4 / layer.weight.detach().norm())
    optimizer.step()
    momentum = 0.6
    expected = before - orthogonalized(gradient + momentum * gradient, products_in)
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=0, atol=1e-6)


def test_parameters_that_are_not_hidden_weights_take_the_step_of_sgd() -> None:
    torch.manual_seed(0)
    model = build_model("fast_cnn", num_classes=10, image_size=32)
    twin = copy.deepcopy(model)
    ours = make_optimizer(model, recipe(norm_bias_lr_scale=8), CPU)
    reference = make_optimizer(twin, recipe(optimizer="sgd", muon_lr=None, norm_bias_lr_scale=8), CPU)
    for step in range(3):
        for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.clone()
        for optimizer in (ours, reference):
            set_lr(optimizer, 0.1 / (step + 1))
            optimizer.step()
    hidden = {id(weight) for weight in hidden_weights(model)}
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        if id(parameter) not in hidden:
            torch.testing.assert_close(parameter, other)


def test_hidden_weights_are_dense_filters_that_are_neither_first_nor_last() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 4, 1),
        nn.Linear(4, 2),
    )
    assert [id(weight) for weight in hidden_weights(model)] == [id(model[3].weight)]
    fast_cnn = build_model("fast_cnn", num_classes=10, image_size=32)
    assert len(hidden_weights(fast_cnn)) == 6  # all six convolutions: the frozen whitening is the first


def test_the_rate_of_muon_follows_the_schedule_in_its_own_proportion() -> None:
    model = build_model("fast_cnn", num_classes=10, image_size=32)
    optimizer = make_optimizer(model, recipe(lr=0.4, muon_lr=0.1), CPU)
    set_lr(optimizer, 0.2)
    assert {
        group["orthogonal"]: group["lr"] for group in optimizer.param_groups if group["lr_scale"] != 64
    } == {
        False: pytest.approx(0.2),
        True: pytest.approx(0.05),
    }


def test_a_parameter_without_a_gradient_stays() -> None:
    model = build_model("fast_cnn", num_classes=10, image_size=32)
    before = copy.deepcopy(model.state_dict())
    make_optimizer(model, recipe(), CPU).step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("fields", [{"muon_lr": None}, {"optimizer": "sgd"}])
def test_the_rate_of_muon_belongs_to_muon(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="needs muon_lr"):
        recipe(**fields)
