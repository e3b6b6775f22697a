from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.complexity import Complexity, count_params, measure_complexity
from models.registry import MODELS, build_model


@cache
def measured(name: str, num_classes: int = 10, image_size: int = 32) -> Complexity:
    return measure_complexity(name, num_classes, image_size)


@cache
def layer_flops(name: str, num_classes: int, image_size: int) -> list[tuple[nn.Module, int]]:
    """Every convolution and linear layer in the order of the forward pass, with its FLOPs for one image."""
    flops: list[tuple[nn.Module, int]] = []

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            height, width = output.shape[2:]
            kernel = layer.kernel_size[0] * layer.kernel_size[1]
            flops.append((layer, 2 * layer.in_channels * kernel * layer.out_channels * height * width))
        elif isinstance(layer, nn.Linear):
            flops.append((layer, 2 * layer.in_features * layer.out_features))

    with torch.device("meta"):
        model = build_model(name, num_classes, image_size)
        for module in model.modules():
            module.register_forward_hook(count)
        model(torch.empty(2, 3, image_size, image_size))
    return flops


@pytest.mark.parametrize(
    ("name", "num_params"),
    [
        ("simple_cnn", 62_006),  # the tutorial's net
        ("resnet20", 269_722),  # "0.27M", He et al. 2016, table 6; exact with parameter-free shortcuts
        ("resnet18", 11_173_962),  # 11.17M with a 3x3 stem and 10 classes
        ("mlp", (3072 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 10),
        (
            "fast_cnn",
            (12 * 24 + 24)  # whitening
            + sum(9 * wide * (narrow + wide) + 4 * wide for narrow, wide in [(24, 64), (64, 256), (256, 256)])
            + 256 * 10,
        ),
    ],
)
def test_parameters_are_as_many_as_published(name: str, num_params: int) -> None:
    assert measured(name).num_params == num_params


def test_frozen_parameters_count_and_buffers_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, kernel_size=1), nn.BatchNorm2d(4))
    model[0].requires_grad_(False)
    assert count_params(model) == (12 + 4) + (4 + 4)


@pytest.mark.parametrize(("num_classes", "image_size"), [(10, 32), (100, 64)])
@pytest.mark.parametrize("name", MODELS)
def test_forward_flops_are_the_sum_over_the_layers(name: str, num_classes: int, image_size: int) -> None:
    expected = sum(flops for _, flops in layer_flops(name, num_classes, image_size))
    assert measured(name, num_classes, image_size).forward_flops_per_image == expected


@pytest.mark.parametrize("name", MODELS)
def test_backward_flops_are_those_of_the_two_gradients_of_each_layer(name: str) -> None:
    layers = layer_flops(name, 10, 32)
    of_weights = sum(flops for layer, flops in layers if layer.weight.requires_grad)
    of_inputs = sum(flops for _, flops in layers[1:])  # nobody asks for the gradient of the images
    complexity = measured(name)
    backward = complexity.train_flops_per_image - complexity.forward_flops_per_image
    assert backward == of_weights + of_inputs


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
    measure_complexity("mlp", num_classes=10, image_size=32)
    assert torch.equal(torch.get_rng_state(), before)
