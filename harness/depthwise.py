"""Fast gradients of depthwise convolutions on the CPU.

    with FastDepthwise():
        logits = model(images)     # whichever code it is that calls conv2d

oneDNN 3.x has fast kernels for the forward pass and for the weight gradient of 3x3 kernels. It has none
for the weight gradient of larger kernels, nor in bfloat16 for the input gradient with a stride, and
falls back to code that is 10 to 100 times slower (`benchmarks/depthwise.py`). Both are put together
here from the fast ones; the function is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from harness.cell import CellSpec

_BLOCK = 3  # side of the kernels whose weight gradient is fast


def fast_gradients(cell: CellSpec, device: torch.device) -> AbstractContextManager[object]:
    """The context for a forward pass in which the gradients of depthwise convolutions will be fast.

    It changes something in bfloat16 on the CPU only; elsewhere torch's own gradients are as fast.
    """
    pays = device.type == "cpu" and cell.precision == "bf16" and cell.compile == "none"
    return FastDepthwise() if pays else nullcontext()


class FastDepthwise(TorchFunctionMode):
    """A context in which depthwise convolutions of CPU tensors have fast gradients."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Take the place of `conv2d` where it is a depthwise convolution that a gradient is wanted of."""
        del types
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return _conv2d(*args, **kwargs)
        return func(*args, **kwargs)


def _conv2d(
    images_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    strides, paddings = _pair(stride), _pair(padding)
    channels, per_group, height, width = weight.shape
    is_known = (
        groups == channels == images_BCHW.shape[1]
        and per_group == 1
        and height == width
        and height % 2 == 1
        and strides[0] == strides[1]
        and paddings[0] == paddings[1]
        and _pair(dilation) == (1, 1)
        and not isinstance(padding, str)
        and images_BCHW.device.type == "cpu"
        and torch.is_grad_enabled()
    )
    if not is_known or paddings[0] >= height:
        return torch.conv2d(images_BCHW, weight, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        images_BCHW, weight = images_BCHW.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    out: Tensor = _Depthwise.apply(images_BCHW, weight, bias, strides[0], paddings[0])
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = _input_gradient(grad, x, weight, ctx.stride, ctx.padding) if needs_x else None
        grad_weight = _weight_gradient(grad, x, weight, ctx.stride, ctx.padding) if needs_weight else None
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution of the output's gradient, with zeros between its pixels, by the mirrored kernel."""
    side = weight.shape[2]
    if stride > 1:
        spread_size = [size + 2 * padding - side + 1 for size in x.shape[2:]]
        spread = grad.new_zeros(len(grad), *spread_size, grad.shape[1]).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = grad
        grad = spread
    return torch.conv2d(grad, weight.flip(2, 3), padding=side - 1 - padding, groups=len(weight))


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of a kernel, put together from those of 3x3 kernels that cover it."""
    side = weight.shape[2]
    if side <= _BLOCK:
        return _gradients(grad, x, weight, stride, padding)
    x = F.pad(x, [padding] * 4)
    reach = [stride * (size - 1) + _BLOCK for size in grad.shape[2:]]
    whole = torch.empty_like(weight, memory_format=torch.contiguous_format)
    small = weight[:, :, :_BLOCK, :_BLOCK].contiguous()
    offsets = range(0, side - 1, _BLOCK - 1)
    for top in offsets:
        for left in offsets:
            window = x[:, :, top : top + reach[0], left : left + reach[1]]
            window = window.contiguous(memory_format=torch.channels_last)
            block = (slice(None), slice(None), slice(top, top + _BLOCK), slice(left, left + _BLOCK))
            whole[block] = _gradients(grad, window, small, stride, padding=0)
    return whole


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    strides, paddings = [stride] * 2, [padding] * 2
    _, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, strides, paddings, [1, 1], False, [0, 0], len(weight), [False, True, False]
    )
    result: Tensor = grad_weight
    return result


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[-1]) if isinstance(value, tuple | list) else (value, value)
