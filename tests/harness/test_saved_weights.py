from __future__ import annotations

import torch
from torch import nn

from harness.saved_weights import look_up_weights


def test_the_backward_pass_takes_weights_from_where_they_are_then() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(2, 2)
    model = nn.Sequential(first, second)
    look_up_weights(model)
    images = torch.ones(1, 3, requires_grad=True)
    logits = model(images)
    for parameter in model.parameters():  # elsewhere, and others
        parameter.data = torch.cat((torch.zeros(5), 2 * parameter.data.flatten()))[5:].view(parameter.shape)
    logits.sum().backward()
    expected = second.weight.sum(0) @ first.weight
    torch.testing.assert_close(images.grad, expected[None].detach())
