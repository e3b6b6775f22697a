"""A check that two models of one shape compute one function: weights are drawn, copied and compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

NORMS = (nn.BatchNorm2d, nn.LayerNorm)


def assert_same_function(
    make_ours: Callable[[], nn.Module], make_theirs: Callable[[], nn.Module], image_size: int
) -> None:
    """Compare the logits in both modes; the states agree in their order, up to axes of length 1."""
    with torch.device("meta"):  # the weights that they start with are not needed
        ours, theirs = make_ours().double(), make_theirs().double()
    ours, theirs = ours.to_empty(device="cpu"), theirs.to_empty(device="cpu")
    torch.manual_seed(0)
    draw_state(theirs)
    assert len(ours.state_dict()) == len(theirs.state_dict())
    for mine, yours in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert [side for side in mine.shape if side > 1] == [side for side in yours.shape if side > 1]
        mine.copy_(yours.reshape(mine.shape))

    images = torch.randn(2, 3, image_size, image_size, dtype=torch.float64)
    for training in (False, True):
        with torch.no_grad():
            logits, expected = ours.train(training)(images), theirs.train(training)(images)
        assert not torch.allclose(logits[0], logits[1])
        torch.testing.assert_close(logits, expected)


@torch.no_grad()
def draw_state(model: nn.Module) -> None:
    """Give a model weights and statistics that are far from the ones that it starts with."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.normal_(std=(2 / fan_in) ** 0.5)
            if isinstance(module, NORMS) and name == "weight":
                parameter.abs_().add_(0.5)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            assert module.num_batches_tracked is not None
            module.running_mean.normal_(std=0.5)
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.zero_()
