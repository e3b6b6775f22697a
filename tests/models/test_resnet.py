from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import nn
from torchvision.models.resnet import Bottleneck

from models.blocks import ConvNet
from models.registry import build_model
from models.resnet import PadShortcut, resnet18, resnext29
from tests.models.same_function import assert_same_function


def torchvision_resnet(name: str) -> nn.Module:
    """Torchvision's net with a stem for small images."""
    model = torchvision.models.get_model(name, num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    assert isinstance(model, nn.Module)
    return model


def torchvision_resnext29() -> nn.Module:
    model = torchvision.models.ResNet(Bottleneck, [3, 3, 3, 1], groups=8, width_per_group=64)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    model.layer4 = nn.Identity()
    model.fc = nn.Linear(1024, 10)
    assert isinstance(model, nn.Module)
    return model


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_the_imagenet_nets_compute_what_those_of_torchvision_compute(name: str) -> None:
    assert_same_function(lambda: build_model(name, 10, 16), lambda: torchvision_resnet(name), 16)


def test_resnext29_computes_what_the_blocks_of_torchvision_compute() -> None:
    assert_same_function(lambda: resnext29(10, 8), torchvision_resnext29, image_size=8)


def test_resnet18_does_not_shrink_a_small_image_before_its_first_stage() -> None:
    model = resnet18(num_classes=10, image_size=32)
    assert model.stem(torch.randn(2, 3, 32, 32)).shape == (2, 64, 32, 32)
    assert model.blocks(torch.randn(2, 64, 32, 32)).shape == (2, 512, 4, 4)


def test_shortcut_without_parameters_takes_every_second_pixel_and_adds_channels_of_zeros() -> None:
    features = torch.randn(2, 16, 8, 8)
    shortcut = PadShortcut(stride=2, num_out=32)(features)
    assert torch.equal(shortcut[:, 8:24], features[:, :, [0, 2, 4, 6]][:, :, :, [0, 2, 4, 6]])
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()


@pytest.mark.parametrize(("name", "depth"), [("resnet20", 20), ("resnet32", 32), ("resnet56", 56)])
def test_thin_nets_are_as_deep_as_their_name_says_and_end_at_a_quarter_of_the_size(
    name: str, depth: int
) -> None:
    with torch.device("meta"):
        model = build_model(name, 10, 32)
        assert isinstance(model, ConvNet)
        maps = model.blocks(model.stem(torch.empty(2, 3, 32, 32)))
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    assert maps.shape == (2, 64, 8, 8)
