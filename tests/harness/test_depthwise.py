from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.cell import CellSpec
from harness.depthwise import FastDepthwise, fast_gradients

CPU = torch.device("cpu")
SHAPES = [  # kernel, stride, padding, height, width
    (3, 1, 1, 8, 8),
    (3, 2, 1, 9, 8),
    (3, 2, 0, 8, 11),
    (5, 1, 2, 6, 7),
    (5, 2, 2, 11, 12),
    (5, 2, 0, 9, 9),
    (5, 3, 1, 10, 13),
    (7, 1, 3, 8, 8),
    (7, 2, 3, 13, 13),
    (1, 2, 0, 5, 5),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def gradients(conv: nn.Conv2d, images: Tensor, fast: bool, dtype: torch.dtype | None = None) -> list[Tensor]:
    """The output and the gradients of input, weight and bias, for a fixed gradient of the output."""
    conv.zero_grad()
    images = images.clone().requires_grad_()
    autocast = nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype)
    with autocast, FastDepthwise() if fast else nullcontext():
        out = conv(images)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    out.backward(weights)
    assert images.grad is not None
    return [out.detach(), images.grad, *(p.grad for p in conv.parameters() if p.grad is not None)]


def depthwise(channels: int, kernel: int, stride: int, padding: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "height", "width"), SHAPES)
def test_output_and_gradients_are_those_of_conv2d(
    kernel: int, stride: int, padding: int, height: int, width: int, bias: bool
) -> None:
    conv = depthwise(16, kernel, stride, padding, bias)
    images = torch.randn(4, 16, height, width).to(memory_format=torch.channels_last)
    for fast, plain in zip(gradients(conv, images, True), gradients(conv, images, False), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding", "height", "width"), SHAPES)
def test_in_bfloat16_they_are_as_near_to_float32_as_conv2ds(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    conv = depthwise(16, kernel, stride, padding)
    images = torch.randn(4, 16, height, width).to(memory_format=torch.channels_last)
    exact = gradients(conv, images, False)
    for fast, truth in zip(gradients(conv, images, True, torch.bfloat16), exact, strict=True):
        assert (fast - truth).norm() < 0.01 * truth.norm()


def test_gradients_are_the_derivatives_by_finite_differences() -> None:
    conv = depthwise(2, 5, 2, 2).double()
    images = torch.randn(2, 2, 6, 6, dtype=torch.double, requires_grad=True)

    def function(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with FastDepthwise():
            return torch.conv2d(images, weight, bias, stride=2, padding=2, groups=2)

    assert conv.bias is not None
    assert torch.autograd.gradcheck(function, (images, conv.weight, conv.bias))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 16, 3, padding=1),
        nn.Conv2d(8, 16, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.Conv2d(8, 8, 3, padding="same", groups=8),
        nn.Conv2d(8, 8, (3, 5), padding=(1, 2), groups=8),
        nn.Conv2d(8, 8, 4, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=4, groups=8),
    ],
)
def test_other_convolutions_are_left_to_torch(conv: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.depthwise._Depthwise.apply", None)
    images = torch.randn(2, 8, 8, 8)
    for fast, plain in zip(gradients(conv, images, True), gradients(conv, images, False), strict=True):
        assert torch.equal(fast, plain)


def test_a_frozen_input_or_kernel_gets_no_gradient() -> None:
    conv = depthwise(4, 5, 1, 2)
    conv.weight.requires_grad_(False)
    with FastDepthwise():
        conv(torch.randn(2, 4, 8, 8)).sum().backward()
    assert conv.weight.grad is None
    assert conv.bias is not None
    assert conv.bias.grad is not None


@pytest.mark.parametrize(
    ("values", "device", "is_fast"),
    [
        ({"precision": "bf16"}, CPU, True),
        ({"precision": "fp32"}, CPU, False),
        ({"precision": "bf16", "compile": "default"}, CPU, False),
        ({"precision": "bf16"}, torch.device("cuda"), False),
    ],
)
def test_it_is_used_where_it_pays(
    cell: CellSpec, values: dict[str, Any], device: torch.device, is_fast: bool
) -> None:
    context = fast_gradients(cell.model_copy(update=values), device)
    assert isinstance(context, FastDepthwise) == is_fast
