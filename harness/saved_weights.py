"""Weights that are taken apart between the forward and the backward pass are not kept by the graph either.

A dense layer saves a view of its weights for its backward pass. In stage 3 of ZeRO that view keeps them
in memory although deepspeed has let go of them, and so all weights at the end of the forward pass. What is
saved instead is which weights they are: deepspeed has put them together again when they are needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def look_up_weights(model: nn.Module) -> None:
    """Let the model's backward pass look its weights up where they are then."""
    forward: Callable[..., Tensor] = model.forward
    by_size: dict[int, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        by_size.setdefault(parameter.numel(), []).append(parameter)

    def pack(tensor: Tensor) -> Any:
        start = tensor.untyped_storage().data_ptr()
        for parameter in by_size.get(tensor.numel(), ()):
            if start and parameter.data.untyped_storage().data_ptr() == start:
                offset = tensor.storage_offset() - parameter.data.storage_offset()
                return parameter, tensor.size(), tensor.stride(), offset
        return tensor

    def unpack(packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        parameter, size, stride, offset = packed
        data: Tensor = parameter.data
        return data.as_strided(size, stride, data.storage_offset() + offset)

    @functools.wraps(forward)
    def looking_up(*inputs: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            return forward(*inputs)

    model.forward = looking_up
