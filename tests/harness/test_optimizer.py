from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.optimizer import WeightAverage, lr_at, make_optimizer, set_lr
from harness.recipe import Recipe
from models.registry import build_model

CPU = torch.device("cpu")


def recipe(**fields: Any) -> Recipe:
    values = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.05}
    return Recipe.model_validate(values | {"schedule": "cosine"} | fields)


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def groups_by_name(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter that the optimizer changes."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_sgd_takes_nesterovs_step() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2, bias=False).double()
    weight, velocity = layer.weight.detach().numpy().copy(), np.zeros((2, 3))
    optimizer = make_optimizer(layer, recipe(momentum=0.9), CPU)
    for step in range(4):
        lr = 0.1 / (step + 1)
        set_lr(optimizer, lr)
        gradient = np.arange(6.0).reshape(2, 3) - step
        layer.weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        decayed = gradient + 0.05 * weight
        velocity = 0.9 * velocity + decayed
        weight = weight - lr * (decayed + 0.9 * velocity)
        np.testing.assert_allclose(layer.weight.detach().numpy(), weight, rtol=1e-12)


def test_sgd_without_momentum_is_gradient_descent() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    expected = layer.weight.detach() - 0.1 * torch.ones(2, 3)
    layer.weight.grad = torch.ones(2, 3).double()
    make_optimizer(layer, recipe(momentum=0, weight_decay=0), CPU).step()
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_adamw_decays_the_weights_apart_from_the_gradient() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.tensor([[1e-3, -5, 2], [3, -1e-2, 7]]).double()
    optimizer = make_optimizer(layer, recipe(optimizer="adamw", momentum=0.8), CPU)
    optimizer.step()
    # bias correction makes the first step lr * sign(gradient), whatever the betas
    expected = before * (1 - 0.1 * 0.05) - 0.1 * layer.weight.grad.sign()
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-4, atol=1e-5)
    assert all(group["betas"] == (0.8, 0.999) for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_weights_decay_and_only_norm_biases_have_their_own_rate(name: str) -> None:
    model = nn.Sequential(*small_model(), nn.LayerNorm(5))
    optimizer = make_optimizer(model, recipe(optimizer=name, norm_bias_lr_scale=64), CPU)
    set_lr(optimizer, 0.01)
    assert groups_by_name(model, optimizer) == {
        "0.weight": (0.01, 0.05),
        "0.bias": (0.01, 0),
        "1.weight": (0.01, 0),
        "1.bias": (0.64, 0),
        "3.weight": (0.01, 0.05),
        "3.bias": (0.01, 0),
        "4.weight": (0.01, 0),
        "4.bias": (0.64, 0),
    }


def test_frozen_parameters_are_left_to_rest() -> None:
    model = build_model("fast_cnn", num_classes=10, image_size=32)
    optimizer = make_optimizer(model, recipe(), CPU)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert groups_by_name(model, optimizer).keys() == trainable
    assert "whiten.weight" not in trainable


@pytest.mark.parametrize("schedule", ["cosine", "triangular"])
@pytest.mark.parametrize("num_steps", [10, 997])
def test_the_learning_rate_rises_in_a_line_to_its_peak_and_then_only_falls(
    schedule: str, num_steps: int
) -> None:
    chosen = recipe(schedule=schedule, lr=2.0, warmup_fraction=0.2, final_lr_fraction=0.1)
    rates = [lr_at(chosen, step, num_steps) for step in range(num_steps + 1)]
    warmup = round(0.2 * num_steps)
    assert rates[0] > 0
    assert rates[warmup] == 2
    assert rates[-1] == pytest.approx(0.2)
    np.testing.assert_allclose(rates[: warmup + 1], np.interp(range(warmup + 1), [-1, warmup], [0, 2]))
    assert all(later < earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_without_warmup_the_first_step_has_the_peak() -> None:
    assert lr_at(recipe(warmup_fraction=0), 0, 50) == 0.1


def test_a_run_of_one_step_has_a_learning_rate() -> None:
    assert lr_at(recipe(warmup_fraction=0.1), 0, 1) == 0.1
    assert lr_at(recipe(warmup_fraction=0.9), 0, 1) == 0.05


def test_cosine_decay_is_torchs() -> None:
    chosen = recipe(lr=2.0, warmup_fraction=0.1, final_lr_fraction=0.05)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=180, eta_min=0.1)
    for step in range(20, 200):
        assert lr_at(chosen, step, 200) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_triangular_decay_is_a_line() -> None:
    chosen = recipe(schedule="triangular", lr=2.0, warmup_fraction=0.25, final_lr_fraction=0.07)
    rates = [lr_at(chosen, step, 100) for step in range(25, 101)]
    np.testing.assert_allclose(rates, np.linspace(2, 0.14, 76))


def train_step(model: nn.Module, step: int) -> None:
    """Change every weight and every running statistic."""
    torch.manual_seed(step)
    model(torch.randn(4, 3, 4, 4)).sum()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_the_average_is_that_of_a_plain_loop_over_weights_and_running_statistics() -> None:
    model = small_model()
    average = WeightAverage(model.state_dict(), decay=0.3)
    expected = copy.deepcopy(model.state_dict())
    for step in range(1, 8):
        train_step(model, step)
        average.update()
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    own = copy.deepcopy(model.state_dict())
    expected["1.num_batches_tracked"] = own["1.num_batches_tracked"]

    with average.applied():
        assert_states_close(model.state_dict(), expected)
    assert_states_close(model.state_dict(), own, rtol=0)
    with average.applied():  # using it did not change it
        assert_states_close(model.state_dict(), expected)


def assert_states_close(state: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-5) -> None:
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=rtol, msg=name)


def test_the_models_own_weights_are_back_when_the_block_raises() -> None:
    model = small_model()
    average = WeightAverage(model.state_dict(), decay=0.9)
    train_step(model, 1)
    own = copy.deepcopy(model.state_dict())

    def fail() -> None:
        with average.applied():
            assert not torch.equal(model.state_dict()["0.weight"], own["0.weight"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert_states_close(model.state_dict(), own, rtol=0)


def test_training_goes_on_after_the_average_was_applied() -> None:
    model = small_model()
    average = WeightAverage(model.state_dict(), decay=0.9)
    optimizer = make_optimizer(model, recipe(), CPU)
    with average.applied():
        pass
    before = copy.deepcopy(dict(model.named_parameters()))
    model(torch.randn(4, 3, 4, 4)).logsumexp(dim=1).sum().backward()
    optimizer.step()
    average.update()
    for name, parameter in model.named_parameters():
        if name != "0.bias":  # the norm after it takes a constant away
            assert not torch.equal(parameter, before[name]), name


def test_a_first_step_that_the_fp16_scaler_skips_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch's fused SGD once kept uninitialised memory as momentum in this case."""
    plain_sgd = torch.optim.SGD

    def fused_sgd(groups: Any, fused: bool, **options: Any) -> torch.optim.SGD:
        return plain_sgd(groups, fused=True, **options)

    monkeypatch.setattr("torch.optim.SGD", fused_sgd)
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    expected = copy.deepcopy(model)
    optimizer = make_optimizer(model, recipe(weight_decay=0), CPU)
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    reference = plain_sgd(expected.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    images = torch.randn(4, 3)
    for step in range(3):
        optimizer.zero_grad()
        overflow = float("inf") if step == 0 else 1.0
        scaler.scale(model(images).square().mean() * overflow).backward()
        scaler.step(optimizer)
        scaler.update()
        if step > 0:
            reference.zero_grad()
            expected(images).square().mean().backward()
            reference.step()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
