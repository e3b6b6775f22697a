"""Parameters counted on shapes alone, against what the papers and the models' authors state."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import nn

from models.complexity import count_params
from models.registry import build_model
from models.token_models import MLPMixer, VisionTransformer


def count(name: str, num_classes: int = 10) -> int:
    with torch.device("meta"):
        return count_params(build_model(name, num_classes, image_size=32))


@pytest.mark.parametrize(
    ("name", "num_params", "millions"),
    [
        ("resnet20", 269_722, "0.27"),  # He et al. 2016, table 6
        ("resnet32", 464_154, "0.46"),
        ("resnet56", 853_018, "0.85"),
        ("resnet18", 11_173_962, "11.17"),  # mmpretrain, configs/resnet/README.md, CIFAR-10
        ("resnet34", 21_282_122, "21.28"),
        ("resnet50", 23_520_842, "23.52"),
        ("resnext29", 34_426_698, "34.4"),  # Xie et al. 2017, table 7
        ("wrn_28_10", 36_479_194, "36.5"),  # Zagoruyko & Komodakis 2016, table 4
        ("densenet_bc_100_12", 769_162, "0.8"),  # Huang et al. 2017, table 2
        # no table of a paper has these at 10 classes; other tests compare them layer by layer
        ("wrn_16_4", 2_748_890, "2.7"),
        ("vgg11", 9_231_114, "9.23"),
        ("vgg16", 14_728_266, "14.73"),
        ("convmixer", 594_186, "0.59"),
        ("mlp_mixer", 4_360_970, "4.36"),
    ],
)
def test_parameters_at_ten_classes(name: str, num_params: int, millions: str) -> None:
    assert count(name) == num_params
    decimals = len(millions.partition(".")[2])
    assert f"{num_params / 1e6:.{decimals}f}" == millions


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0"])
@pytest.mark.parametrize("num_classes", [10, 1000])
def test_parameters_of_the_mobile_nets_are_those_of_torchvision(name: str, num_classes: int) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, num_classes=num_classes)
    assert count(name.removesuffix("_x1_0"), num_classes) == count_params(theirs)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("efficientnet_b0", 5.3), ("shufflenet_v2", 2.3)],  # Tan & Le 2019, table 2; Ma et al. 2018, table 5
)
def test_parameters_of_the_mobile_nets_at_a_thousand_classes_are_as_published(
    name: str, millions: float
) -> None:
    assert count(name, 1000) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("name", "millions"), [("vgg11", 133), ("vgg16", 138)])
def test_vgg_with_the_linear_layers_of_the_paper_is_as_large_as_published(name: str, millions: int) -> None:
    """Simonyan & Zisserman 2015, table 2: without BatchNorm, with three linear layers on 7x7 maps."""
    with torch.device("meta"):
        model = build_model(name, 10, image_size=32)
    convolutions = sum(count_params(layer) for layer in model.modules() if isinstance(layer, nn.Conv2d))
    linear = (512 * 7**2 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert round((convolutions + linear) / 1e6) == millions


def test_the_transformer_with_patches_of_sixteen_is_as_large_as_deit_ti() -> None:
    """5,717,416 parameters: timm, deit_tiny_patch16_224. Its 14x14 patches are those of 56x56 here."""
    with torch.device("meta"):
        model = VisionTransformer(image_size=56, num_classes=1000, width=192, depth=12, num_heads=3)
    assert count_params(model) + 3 * (16**2 - 4**2) * 192 == 5_717_416


def test_the_mixer_with_patches_of_sixteen_and_twice_the_width_is_as_large_as_mixer_s() -> None:
    """18M without the head: Tolstikhin et al. 2021, table 1, S/16 at 224x224."""
    with torch.device("meta"):
        model = MLPMixer(
            image_size=56, num_classes=1000, width=512, depth=8, token_width=256, channel_width=2048
        )
    num_params = count_params(model) - count_params(model.head) + 3 * (16**2 - 4**2) * 512
    assert round(num_params / 1e6) == 18
