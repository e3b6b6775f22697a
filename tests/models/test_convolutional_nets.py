from __future__ import annotations

from functools import partial

import pytest
import torch
import torchvision.models
from torch import nn
from torchvision.models import vgg as torchvision_vgg

from models.blocks import ConvNet
from models.convmixer import convmixer
from models.densenet import densenet_bc_100_12
from models.mobilenet import efficientnet_b0, mobilenet_v2
from models.registry import build_model
from models.shufflenet import shufflenet_v2
from tests.models.same_function import assert_same_function


@pytest.mark.parametrize(("name", "configuration"), [("vgg11", "A"), ("vgg16", "D")])
def test_vgg_computes_what_the_features_of_torchvision_and_one_linear_layer_compute(
    name: str, configuration: str
) -> None:
    def theirs() -> nn.Module:
        layers = torchvision_vgg.make_layers(torchvision_vgg.cfgs[configuration], batch_norm=True)
        return nn.Sequential(layers, nn.Flatten(), nn.Linear(512, 10))

    assert_same_function(lambda: build_model(name, 10, 32), theirs, 32)


def test_densenet_computes_what_that_of_torchvision_computes() -> None:
    def theirs() -> nn.Module:
        model = torchvision.models.DenseNet(12, (16, 16, 16), num_init_features=24, num_classes=10)
        model.features.conv0 = nn.Conv2d(3, 24, kernel_size=3, padding=1, bias=False)
        model.features.norm0 = model.features.relu0 = model.features.pool0 = nn.Identity()
        assert isinstance(model, nn.Module)
        return model

    assert_same_function(lambda: densenet_bc_100_12(10, 16), theirs, 16)


def test_mobilenet_v2_computes_what_that_of_torchvision_computes_with_two_strides_less() -> None:
    def theirs() -> nn.Module:
        model = torchvision.models.mobilenet_v2(num_classes=10, dropout=0.0)
        model.features[0][0].stride = (1, 1)
        model.features[2].conv[1][0].stride = (1, 1)
        assert isinstance(model, nn.Module)
        return model

    assert_same_function(lambda: mobilenet_v2(10, 32), theirs, 32)


def test_efficientnet_b0_computes_what_that_of_torchvision_computes_with_two_strides_less() -> None:
    def theirs() -> nn.Module:
        model = torchvision.models.efficientnet_b0(num_classes=10, dropout=0.0, stochastic_depth_prob=0.0)
        model.features[0][0].stride = (1, 1)
        model.features[2][0].block[1][0].stride = (1, 1)
        assert isinstance(model, nn.Module)
        return model

    assert_same_function(lambda: efficientnet_b0(10, 32), theirs, 32)


def test_shufflenet_v2_computes_what_that_of_torchvision_computes_with_a_stem_that_keeps_the_size() -> None:
    def theirs() -> nn.Module:
        model = torchvision.models.shufflenet_v2_x1_0(num_classes=10)
        model.conv1[0].stride = (1, 1)
        model.maxpool = nn.Identity()
        assert isinstance(model, nn.Module)
        return model

    assert_same_function(lambda: shufflenet_v2(10, 32), theirs, 32)


def test_convmixer_computes_what_that_of_timm_computes() -> None:
    timm_convmixer = pytest.importorskip("timm.models.convmixer")
    theirs = partial(timm_convmixer.ConvMixer, 256, 8, kernel_size=5, patch_size=2, num_classes=10)
    assert_same_function(lambda: convmixer(10, 32), theirs, 32)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "shufflenet_v2", "resnet50"])
def test_small_images_end_as_maps_of_four_by_four(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 10, 32)
        assert isinstance(model, ConvNet)
        assert model.blocks(model.stem(torch.empty(2, 3, 32, 32))).shape[2:] == (4, 4)


@pytest.mark.parametrize("name", ["resnet20", "resnext29", "mobilenet_v2"])
def test_convolutions_start_with_the_variance_that_keeps_gradients_alike(name: str) -> None:
    torch.manual_seed(0)
    for layer in build_model(name, 10, 32).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 2000:
            fan_out = layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_biases_before_a_norm_start_at_zero() -> None:
    model = build_model("vgg11", 10, 32)
    biases = [layer.bias for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert len(biases) == 8
    assert not any(bias.any() for bias in biases if bias is not None)
