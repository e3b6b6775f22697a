"""BatchNorm over the batches of all processes, so that its statistics do not depend on their number.

    synchronize_batchnorm(model, device)     # before DDP wraps it; on every process

Only training is different: in evaluation, or where no other process has joined, the converted layers are
plain ones. On a GPU it is torch's own SyncBatchNorm, which has nothing for the CPU; there it is ours. Both
stay instances of the class they were made from.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import UsageError


def synchronize_batchnorm(model: nn.Module, device: torch.device) -> int:
    """Let every BatchNorm layer train with the statistics of all processes; returns how many were changed.

    Each layer, on inputs [B, C] or [B, C, ...] that may differ in B between the processes, then computes
    what Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 1, gives for the batches put together. The
    layers are changed in place: parameters, buffers, settings and hooks stay, and so do the names in the
    state. Losses are averaged over the processes, as DDP does: a layer's gradient of weight and bias is
    that of its own process.

    Args:
        model: any.
        device: that it is trained on.

    Raises:
        UsageError: a layer is of a class that is not known here; no layer was changed.
    """
    norms = [norm for norm in model.modules() if isinstance(norm, _BatchNorm)]
    norms = [norm for norm in norms if not is_synchronized(norm)]
    classes = [_synchronized_class(type(norm), device.type == "cuda") for norm in norms]
    _hide_from_compiler()
    for norm, synchronized in zip(norms, classes, strict=True):
        norm.__class__ = synchronized
    return len(norms)


def is_synchronized(module: nn.Module) -> bool:
    """Whether this is a layer that `synchronize_batchnorm` has changed."""
    return isinstance(module, _OnCpu | _OnGpu)


@functools.cache
def _hide_from_compiler() -> None:
    """Let exchanges stay in the order that they are written in.

    Not at import: `disable` loads the compiler, which takes seconds.
    """
    _OnCpu.forward = torch.compiler.disable(_OnCpu.forward)  # type: ignore[method-assign, no-untyped-call]


class _OnCpu(_BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        is_alone = not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1
        if is_alone or not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]  # torch's
        input = input.contiguous(memory_format=_layout(input))
        mean, variance, count = _statistics_of_all(input)
        self._track(mean, variance * (count / (count - 1)))
        dtype = _dtype_of_statistics(input)
        output: Tensor = _Normalize.apply(
            input, self.weight, self.bias, mean.to(dtype), variance.to(dtype), count, self.eps
        )
        return output

    def _track(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Move the running statistics towards these, as `nn.BatchNorm2d` does; the variance is unbiased."""
        if not self.track_running_stats or self.running_mean is None:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance_C.to(self.running_var.dtype), share)


class _Normalize(torch.autograd.Function):
    """The normalisation by statistics that depend on the inputs of all processes.

    The formulas of the gradients are those of Ioffe & Szegedy 2015, arXiv 1502.03167, section 3.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean_C: Tensor,
        variance_C: Tensor,
        count: int,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean_C, variance_C)
        ctx.count, ctx.eps = count, eps
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (weight, bias)]
        weight, bias = (None if t is None else t.to(mean_C.dtype) for t in (weight, bias))
        return F.batch_norm(x, mean_C, variance_C, weight, bias, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean_C, variance_C = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        # torch rounds the sums to the gradient's bfloat16 where the two are laid out differently
        grad = grad.contiguous(memory_format=_layout(x))
        own_C, own_product_C = _own_sums(grad, x, mean_C, variance_C, ctx.eps)
        grad_x = None
        if needs_x:
            sums = torch.stack([own_C, own_product_C])
            dist.all_reduce(sums)
            grad_x = _input_gradient(grad, x, weight, mean_C, variance_C, sums / ctx.count, ctx.eps)
        grad_weight = own_product_C.to(ctx.dtypes[0]) if needs_weight else None
        grad_bias = own_C.to(ctx.dtypes[1]) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None, None, None


@torch.no_grad()
def _statistics_of_all(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance, [C] in float64, over all processes, and the number of values of a channel.

    Every process gets the same bits. What each has found is put together by the formulas of Chan, Golub
    & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", which do
    not cancel where the mean is large.
    """
    num_channels = x.shape[1]
    own = torch.zeros(2 * num_channels + 1, dtype=torch.float64, device=x.device)
    if x.numel():
        # the buffers make torch compute the statistics of bfloat16 in float32
        buffers = torch.zeros(2, num_channels, dtype=_dtype_of_statistics(x), device=x.device)
        mean, variance = torch.batch_norm_update_stats(x, buffers[0], buffers[1], 0.0)
        own[:num_channels], own[num_channels:-1], own[-1] = mean, variance, x.numel() // num_channels
    of_all = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(of_all, own)
    means, variances, counts = torch.split(torch.stack(of_all), [num_channels, num_channels, 1], dim=1)
    count = int(counts.sum())
    if count < 2:
        raise UsageError(
            f"BatchNorm has {count} value(s) per channel in the batches of all processes and needs 2 "
            "or more: try a larger batch size"
        )
    mean = (counts * means).sum(dim=0) / count
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / count
    return mean, variance, count


def _own_sums(
    grad: Tensor, x: Tensor, mean_C: Tensor, variance_C: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Of this process: the sum of the gradient, and that of its products with the normalised input."""
    if not x.numel():
        return torch.zeros_like(mean_C), torch.zeros_like(mean_C)
    # as in evaluation, where the statistics are given too: bias and weight have these gradients
    _, product_C, sum_C = torch.ops.aten.native_batch_norm_backward(
        grad, x, None, mean_C, variance_C, None, None, False, eps, [False, True, True]
    )
    return sum_C, product_C


def _input_gradient(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean_C: Tensor,
    variance_C: Tensor,
    averages_2C: Tensor,
    eps: float,
) -> Tensor:
    """The gradient of the input, given the averages over all processes of what `_own_sums` sums."""
    inverse_std = (variance_C + eps).rsqrt()
    scale = inverse_std if weight is None else inverse_std * weight
    shape = [1, -1] + [1] * (x.ndim - 2)
    offset = (-scale * averages_2C[0]).view(shape)
    slope = (-scale * inverse_std * averages_2C[1]).view(shape)
    result = x - mean_C.view(shape)  # first: a large mean would cancel
    torch.addcmul(offset, result, slope, out=result)
    return result.addcmul_(grad.to(result.dtype), scale.view(shape)).to(x.dtype)


def _dtype_of_statistics(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _layout(x: Tensor) -> torch.memory_format:
    """The memory format that `x` is in, or that of a copy to be made."""
    for layout in (torch.channels_last, torch.channels_last_3d):
        if x.is_contiguous(memory_format=layout):
            return layout
    return torch.contiguous_format


class _ThenActivation(_BatchNorm):
    """As timm's BatchNormAct2d goes on; its own `SyncBatchNormAct` is for GPUs alone."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.act(self.drop(super().forward(input)))
        return output


class _OnGpu(nn.SyncBatchNorm):
    process_group = None  # all processes

    def forward(self, input: Tensor) -> Tensor:
        # torch would send zeros, and in bfloat16 where the others send float32
        if self.training and not input.numel():
            raise UsageError(
                "BatchNorm over all processes needs an image in the batch of each: try larger batches"
            )
        return super().forward(input)


class _BatchNorm1dOnCpu(nn.BatchNorm1d, _OnCpu): ...


class _BatchNorm2dOnCpu(nn.BatchNorm2d, _OnCpu): ...


class _BatchNorm3dOnCpu(nn.BatchNorm3d, _OnCpu): ...


class _BatchNormAct2dOnCpu(_ThenActivation, _BatchNorm2dOnCpu): ...


class _BatchNorm1dOnGpu(nn.BatchNorm1d, _OnGpu): ...


class _BatchNorm2dOnGpu(nn.BatchNorm2d, _OnGpu): ...


class _BatchNorm3dOnGpu(nn.BatchNorm3d, _OnGpu): ...


class _BatchNormAct2dOnGpu(_ThenActivation, _BatchNorm2dOnGpu): ...


_SYNCHRONIZED: dict[type[_BatchNorm], tuple[type[_BatchNorm], type[_BatchNorm]]] = {
    nn.BatchNorm1d: (_BatchNorm1dOnCpu, _BatchNorm1dOnGpu),
    nn.BatchNorm2d: (_BatchNorm2dOnCpu, _BatchNorm2dOnGpu),
    nn.BatchNorm3d: (_BatchNorm3dOnCpu, _BatchNorm3dOnGpu),
}
_SYNCHRONIZED_WITH_ACTIVATION = (_BatchNormAct2dOnCpu, _BatchNormAct2dOnGpu)


def _synchronized_class(kind: type[_BatchNorm], on_gpu: bool) -> type[_BatchNorm]:
    if kind in _SYNCHRONIZED:
        return _SYNCHRONIZED[kind][on_gpu]
    timm = sys.modules.get("timm.layers")  # where there is a layer of timm, it is loaded
    if timm is not None and kind is timm.BatchNormAct2d:
        return _SYNCHRONIZED_WITH_ACTIVATION[on_gpu]
    raise UsageError(
        f"a BatchNorm layer of class {kind.__module__}.{kind.__qualname__} cannot use the statistics of all "
        "processes: use another model, or let each process use its own"
    )
