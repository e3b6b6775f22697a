from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import nn

from models.complexity import count_params
from models.errors import ModelError
from models.external import create
from models.resnet import resnet18
from models.stem import cut_kernel, first_conv_name, use_small_stem

CUT = ", its weights cut from the centre and scaled to the norm they had"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_resnet18_of_torchvision_becomes_ours() -> None:
    theirs = torchvision.models.resnet18(num_classes=10)
    sentence = use_small_stem(theirs)
    assert sentence == f"conv1 7x7 stride 2 -> 3x3 stride 1{CUT}; maxpool removed"
    assert count_params(theirs) == 11_173_962

    ours = resnet18(num_classes=10, image_size=32)
    values = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(theirs.eval()(images), ours.eval()(images))


@pytest.mark.parametrize(
    ("name", "sentence", "side"),
    [
        (
            "torchvision:densenet121",
            f"features.conv0 7x7 stride 2 -> 3x3 stride 1{CUT}; features.pool0 removed",
            32,
        ),
        ("torchvision:googlenet", f"conv1.conv 7x7 stride 2 -> 3x3 stride 1{CUT}; maxpool1 removed", 32),
        ("torchvision:mobilenet_v2", "features.0.0 3x3 stride 2 -> 3x3 stride 1", 32),
        ("torchvision:shufflenet_v2_x0_5", "conv1.0 3x3 stride 2 -> 3x3 stride 1; maxpool removed", 32),
        ("torchvision:convnext_tiny", f"features.0.0 4x4 stride 4 -> 2x2 stride 2{CUT}", 16),
        ("timm:resnet18d", "conv1.0 3x3 stride 2 -> 3x3 stride 1; maxpool removed", 32),
        ("timm:resnetblur18", f"conv1 7x7 stride 2 -> 3x3 stride 1{CUT}; maxpool removed", 32),
        ("timm:tf_efficientnet_lite0", "conv_stem 3x3 stride 2 -> 3x3 stride 1", 32),
        ("timm:mobilenet_edgetpu_v2_s", f"conv_stem 5x5 stride 2 -> 3x3 stride 1{CUT}", 32),
        ("timm:convnext_atto", f"stem.0 4x4 stride 4 -> 2x2 stride 2{CUT}", 16),
    ],
)
def test_the_sentence_says_what_the_model_now_does(name: str, sentence: str, side: int) -> None:
    with torch.device("meta"):
        model = create(name, num_classes=10, image_size=32)
        assert use_small_stem(model) == sentence
        shapes = []
        convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
        convs[0].register_forward_hook(lambda *call: shapes.append(call[2].shape[2:]))
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(side, side)]


def test_without_its_pooling_the_first_stage_sees_every_pixel() -> None:
    with torch.device("meta"):
        model = create("timm:resnetblur18", num_classes=10, image_size=32)
        use_small_stem(model)
        shapes = []
        model.get_submodule("layer1").register_forward_hook(lambda *call: shapes.append(call[2].shape))
        model(torch.empty(2, 3, 32, 32))
    assert shapes == [(2, 64, 32, 32)]


@pytest.mark.parametrize(("kernel_size", "small"), [(7, 3), (5, 3), (4, 2)])
def test_the_kernel_is_the_centre_of_the_old_one_at_its_norm(kernel_size: int, small: int) -> None:
    weight = torch.randn(8, 3, kernel_size, kernel_size)
    cut = cut_kernel(weight, small)
    assert cut.shape == (8, 3, small, small)
    torch.testing.assert_close(cut.norm(), weight.norm())
    margin = (kernel_size - small) // 2
    ratio = cut / weight[:, :, margin:-margin, margin:-margin]
    torch.testing.assert_close(ratio, ratio[0, 0, 0, 0].expand_as(ratio))


def test_a_fresh_kernel_has_the_spread_of_one_made_for_its_size() -> None:
    model = torchvision.models.resnet18()
    use_small_stem(model)
    expected = (2 / (9 * 64)) ** 0.5  # He et al. 2015, over the outputs, as torchvision draws it
    assert model.conv1.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert model.conv1.weight.requires_grad


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:test_vit", "VisionTransformer is built for a fixed grid of patches"),
        ("torchvision:vit_b_16", "VisionTransformer, whose first convolution is 16x16 with stride 16"),
        ("torchvision:vgg11", "VGG, whose first convolution is 3x3 with stride 1"),
        ("timm:repvgg_a0", "ByobNet reads the image with several convolutions"),
        ("timm:tresnet_m", "TResNet does not start with a convolution"),
        ("timm:nf_resnet26", "the first convolution of NormFreeNet has a scale of its own"),
    ],
)
def test_a_model_without_a_known_stem_is_refused(name: str, message: str) -> None:
    with torch.device("meta"):
        model = create(name, num_classes=10, image_size=32)
    with pytest.raises(ModelError, match=f"{message}.*: leave the small stem out") as error:
        use_small_stem(model)
    assert "\n" not in str(error.value)


def test_our_own_models_have_a_small_stem_already() -> None:
    with torch.device("meta"), pytest.raises(ModelError, match="3x3 with stride 1: leave the small stem out"):
        use_small_stem(resnet18(num_classes=10, image_size=32))


def test_the_first_convolution_is_the_one_that_reads_colours() -> None:
    assert first_conv_name(torchvision.models.shufflenet_v2_x0_5()) == "conv1.0"
    assert first_conv_name(nn.Sequential(nn.Flatten(), nn.Linear(12, 2))) is None
