from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.wide_resnet import PreactivationBlock, wrn_16_4, wrn_28_10
from tests.models.same_function import draw_state


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("num_in", "num_out", "stride"), [(16, 16, 1), (16, 64, 1), (64, 128, 2)])
def test_the_block_computes_what_that_of_timm_computes(
    num_in: int, num_out: int, stride: int, training: bool
) -> None:
    resnetv2 = pytest.importorskip("timm.models.resnetv2")
    layers = pytest.importorskip("timm.layers")
    theirs = resnetv2.PreActBasic(
        num_in,
        num_out,
        stride=stride,
        conv_layer=layers.create_conv2d,
        norm_layer=layers.BatchNormAct2d,
        proj_layer=resnetv2.DownsampleConv,
    )
    draw_state(theirs)
    ours = PreactivationBlock(num_in, num_out, stride)
    for name, tensor in ours.state_dict().items():
        tensor.copy_(theirs.state_dict()[name.replace("projection", "downsample.conv")])
    assert len(ours.state_dict()) == len(theirs.state_dict())
    features = torch.randn(2, num_in, 8, 8)
    torch.testing.assert_close(ours.train(training)(features), theirs.train(training)(features))


def test_the_shortcut_of_a_block_that_keeps_its_shape_is_the_raw_input() -> None:
    block = PreactivationBlock(16, 16, stride=1)
    nn.init.zeros_(block.conv2.weight)
    features = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(features.clone()), features)


@pytest.mark.parametrize(("make", "depth"), [(wrn_16_4, 16), (wrn_28_10, 28)])
def test_the_depth_in_the_name_counts_the_convolutions(
    make: Callable[[int, int], nn.Module], depth: int
) -> None:
    with torch.device("meta"):
        model = make(10, 32)
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == depth


def test_the_last_stage_is_followed_by_a_norm_and_a_relu_at_a_quarter_of_the_size() -> None:
    model = wrn_16_4(num_classes=10, image_size=32)
    maps: Tensor = model.blocks(model.stem(torch.randn(2, 3, 32, 32)))
    assert maps.shape == (2, 256, 8, 8)
    assert maps.min() == 0
    assert 0.3 < float((maps == 0).float().mean()) < 0.7
