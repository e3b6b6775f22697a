from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.complexity import Complexity, count_params, measure_complexity
from models.registry import MODELS, build_model
from models.token_models import SelfAttention


@cache
def measured(name: str, num_classes: int = 10, image_size: int = 32) -> Complexity:
    with torch.device("meta"):
        model = build_model(name, num_classes, image_size)
    return measure_complexity(model, image_size)


@cache
def layer_flops(name: str, num_classes: int = 10, image_size: int = 32) -> list[tuple[nn.Module, int]]:
    """Every layer with products in the order of the forward pass, with its FLOPs for one image."""
    flops: list[tuple[nn.Module, int]] = []

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            per_output = 2 * layer.weight[0].numel()
            flops.append((layer, per_output * output[0].numel()))
        elif isinstance(layer, nn.Linear):
            flops.append((layer, 2 * layer.in_features * output[0].numel()))
        elif isinstance(layer, SelfAttention):
            tokens, width = output.shape[1:]
            flops.append((layer, 2 * 2 * tokens * tokens * width))  # queries by keys, and by values

    with torch.device("meta"):
        model = build_model(name, num_classes, image_size)
        for module in model.modules():
            module.register_forward_hook(count)
        model(torch.empty(2, 3, image_size, image_size))
    return flops


def test_frozen_parameters_count_and_buffers_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, kernel_size=1), nn.BatchNorm2d(4))
    model[0].requires_grad_(False)
    assert count_params(model) == (12 + 4) + (4 + 4)


@pytest.mark.parametrize("name", MODELS)
def test_forward_flops_are_the_sum_over_the_layers(name: str) -> None:
    assert measured(name).forward_flops_per_image == sum(flops for _, flops in layer_flops(name))


@pytest.mark.parametrize("name", MODELS)
def test_backward_flops_are_those_of_the_two_gradients_of_each_layer(name: str) -> None:
    layers = layer_flops(name)
    of_weights = sum(
        flops for layer, flops in layers if isinstance(layer, SelfAttention) or layer.weight.requires_grad
    )
    # nobody asks for the gradient of the images, nor for that of what a first layer gives that is not trained
    needless = 1 if isinstance(layers[0][0], SelfAttention) or layers[0][0].weight.requires_grad else 2
    of_inputs = sum(flops for _, flops in layers[needless:])
    complexity = measured(name)
    backward = complexity.train_flops_per_image - complexity.forward_flops_per_image
    assert backward == of_weights + of_inputs


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_grouped_convolutions_cost_as_much_as_they_do(transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 1), kind(8, 8, 3, padding=1, groups=4), nn.Flatten())
    complexity = measure_complexity(model, 8)
    first, second = 2 * 3 * 8 * 64, 2 * 2 * 9 * 8 * 64
    assert complexity.forward_flops_per_image == first + second
    assert complexity.train_flops_per_image == 2 * first + 3 * second


def test_resnet18_takes_the_known_compute() -> None:
    complexity = measured("resnet18")
    assert complexity.forward_flops_per_image / 1e9 == pytest.approx(1.1108, abs=5e-5)
    assert complexity.train_flops_per_image / 1e9 == pytest.approx(3.329, abs=5e-4)


@pytest.mark.parametrize(("name", "num_features"), [("resnet20", 64), ("resnet18", 512)])
def test_compute_of_convolutions_grows_with_the_area(name: str, num_features: int) -> None:
    at_32 = measured(name, 10, 32).forward_flops_per_image - 2 * num_features * 10
    at_64 = measured(name, 100, 64).forward_flops_per_image - 2 * num_features * 100
    assert at_64 == 4 * at_32


def test_measuring_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    measured.__wrapped__("mlp", num_classes=10, image_size=32)
    assert torch.equal(torch.get_rng_state(), before)
