from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from models.complexity import Complexity, count_params, measure_complexity
from models.registry import MODELS, build_model
from models.token_models import SelfAttention

SDP_BACKENDS = (
    SDPBackend.MATH,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)


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


class Tokens(nn.Module):
    """Each pixel of an image as a token."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(2).mT


class FusedAttention(nn.Module):
    """Two heads of width 3, from channels of 6, in one call of torch's."""

    def forward(self, x_BND: Tensor) -> Tensor:
        heads = x_BND.view(len(x_BND), -1, 2, 3).transpose(1, 2)
        out: Tensor = scaled_dot_product_attention(heads, heads, heads)
        return out


class BatchProduct(nn.Module):
    """Every token with every other one, as one product a batch."""

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND @ x_BND.mT


@pytest.mark.parametrize(
    ("layer", "flops"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), 2 * 192 * 10),
        (nn.Sequential(Tokens(), nn.Linear(3, 10)), 2 * 3 * 10 * 64),
        (nn.Conv2d(3, 6, 1), 2 * 3 * 6 * 64),
        (nn.Conv2d(3, 6, 3), 2 * 3 * 9 * 6 * 6**2),
        (nn.Conv2d(3, 6, 5, stride=2, padding=2), 2 * 3 * 25 * 6 * 4**2),
        (nn.Conv2d(3, 6, 3, padding=1, dilation=2), 2 * 3 * 9 * 6 * 6**2),
        (nn.Conv2d(3, 6, (1, 3), bias=False), 2 * 3 * 3 * 6 * 8 * 6),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 2 * 9 * 6 * 64),
        (nn.Conv2d(3, 3, 7, padding=3, groups=3), 2 * 49 * 3 * 64),
        (nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1), 2 * 3 * 16 * 6 * 8**2),
    ],
    ids=str,
)
def test_a_layer_costs_its_closed_form_and_as_much_for_each_of_its_two_gradients(
    layer: nn.Module, flops: int
) -> None:
    layer = layer.to("meta")
    assert measure_complexity(layer, 8) == Complexity(count_params(layer), flops, 2 * flops)
    before = nn.Conv2d(3, 3, 1, device="meta")
    costs_before = 2 * 3 * 3 * 64
    complexity = measure_complexity(nn.Sequential(before, layer), 8)
    assert complexity.forward_flops_per_image == costs_before + flops
    assert complexity.train_flops_per_image == 2 * costs_before + 3 * flops


@pytest.mark.parametrize("kind", [FusedAttention, BatchProduct])
@pytest.mark.parametrize("backend", SDP_BACKENDS)
def test_products_of_activations_cost_twice_as_much_backward_under_every_backend(
    kind: type[nn.Module], backend: SDPBackend
) -> None:
    num_products = 2 if kind is FusedAttention else 1
    before, products = 2 * 3 * 6 * 64, num_products * 2 * 64 * 64 * 6
    model = nn.Sequential(nn.Conv2d(3, 6, 1), Tokens(), kind()).to("meta")
    with sdpa_kernel(backend):
        complexity = measure_complexity(model, 8)
    assert complexity.forward_flops_per_image == before + products
    assert complexity.train_flops_per_image == 2 * before + 3 * products


def test_fused_attention_costs_what_the_written_out_one_does() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), Tokens(), SelfAttention(6, 2)).to("meta")
    fused = nn.MultiheadAttention(6, 2, batch_first=True, device="meta")

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.attention = nn.Conv2d(3, 6, 1, device="meta"), fused

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.stem(images).flatten(2).mT
            out: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return out

    assert measure_complexity(Fused(), 8) == measure_complexity(model, 8)


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


@pytest.mark.parametrize(
    "name", ["resnet50", "resnext50_32x4d", "vgg16", "mobilenet_v2", "shufflenet_v2_x1_0", "vit_b_16"]
)
def test_compute_at_224_is_what_torchvision_publishes(name: str) -> None:
    """Its `_ops` are billions of multiply-adds, rounded to three decimals."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    complexity = measure_complexity(model, weights.transforms().crop_size[0])
    assert complexity.num_params == weights.meta["num_params"]
    assert complexity.forward_flops_per_image / 2e9 == pytest.approx(weights.meta["_ops"], rel=0.01)


@pytest.mark.parametrize(("name", "num_features"), [("resnet20", 64), ("resnet18", 512)])
def test_compute_of_convolutions_grows_with_the_area(name: str, num_features: int) -> None:
    at_32 = measured(name, 10, 32).forward_flops_per_image - 2 * num_features * 10
    at_64 = measured(name, 100, 64).forward_flops_per_image - 2 * num_features * 100
    assert at_64 == 4 * at_32


def test_measuring_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    measured.__wrapped__("mlp", num_classes=10, image_size=32)
    assert torch.equal(torch.get_rng_state(), before)
