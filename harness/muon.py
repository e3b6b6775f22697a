"""Muon for the hidden weights of a net, and SGD with Nesterov momentum for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3


class Muon(Optimizer):
    """Steps along the momentum with all its singular values made about equal.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", as its author uses it
    for airbench: a convolution is a matrix of a row per filter, and its filters are scaled to a mean
    squared norm of 1 before each step, which takes the place of weight decay.

    Args:
        groups: parameter groups, each with `orthogonal`, `lr`, `lr_scale`, `momentum` and
            `weight_decay`; the last is not used where `orthogonal` is true.
        products_in: type of the products that orthogonalize. Its author takes bfloat16, which a processor
            without instructions for it computes thirty times more slowly than float32.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], products_in: torch.dtype = torch.bfloat16) -> None:
        super().__init__(groups, defaults={})
        self._products_in = products_in
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients; a parameter without one stays."""
        assert closure is None, "not needed here"
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step_group(group, parameters)

    def _step_group(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
        if not group["orthogonal"] and group["weight_decay"]:
            gradients = list(
                torch._foreach_add(gradients, list[Tensor](parameters), alpha=group["weight_decay"])
            )
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        updates = list(torch._foreach_add(gradients, buffers, alpha=group["momentum"]))
        if group["orthogonal"]:
            updates = [orthogonalized(update, self._products_in) for update in updates]
            for parameter in parameters:
                parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        torch._foreach_add_(list[Tensor](parameters), updates, alpha=-group["lr"])


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights Muon is made for: of dense layers and convolutions, but the first and the last one."""
    weights = [
        cast(nn.Parameter, module.weight)
        for module in model.modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    return [weight for weight in weights[1:-1] if weight.requires_grad]


def orthogonalized(
    matrix: Tensor, products_in: torch.dtype = torch.bfloat16, steps: int = NEWTON_SCHULZ_STEPS
) -> Tensor:
    """The nearest matrix with singular values near 1, by Newton-Schulz iterations.

    A tensor of more dimensions counts as a matrix of its first one by all others.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.reshape(len(matrix), -1).to(products_in)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.T if is_tall else x
    return x.reshape(matrix.shape).to(matrix.dtype)
