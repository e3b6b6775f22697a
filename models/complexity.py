"""How large a model is and how much it computes, counted and not estimated. 1 multiply-add = 2 FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


@dataclass(frozen=True)
class Complexity:
    """Size and compute of one model at one image size."""

    num_params: int
    forward_flops_per_image: int
    train_flops_per_image: int
    """Forward and backward."""


def count_params(model: nn.Module) -> int:
    """Number of parameters, frozen ones included and buffers not."""
    return sum(parameter.numel() for parameter in model.parameters())


def measure_complexity(model: nn.Module, image_size: int) -> Complexity:
    """Count the parameters and FLOPs of a model whose parameters are on the meta device.

    Matrix products and convolutions are counted (`torch.utils.flop_counter`); element-wise work is
    not, as is usual. Parameters that need no gradient have none computed. Attention counts as its two
    products, and twice that backward: what a fused kernel computes again is no work of the model's.
    """
    images = torch.empty(2, 3, image_size, image_size, device="meta")  # BatchNorm refuses one image
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward_flops}
    # torch does not count the fused attention of a CPU, and counts what the others compute again
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward_counter:
            logits = model(images)
        with FlopCounterMode(display=False, custom_mapping=formulas) as backward_counter:
            logits.sum().backward()
    forward = forward_counter.get_total_flops() // 2
    return Complexity(count_params(model), forward, forward + backward_counter.get_total_flops() // 2)


def _convolution_backward_flops(
    grad_shape: list[int],
    input_shape: list[int],
    weight_shape: list[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    wanted: list[bool],
    **_: object,
) -> int:
    """As much for each of the two gradients as for the forward pass; torch's own formula ignores groups."""
    forward: int = conv_flop_count(input_shape, weight_shape, grad_shape, transposed)
    return forward * (wanted[0] + wanted[1])
