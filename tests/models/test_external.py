from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import timm
import torch
import torchvision.models

from models.errors import ModelError
from models.external import build_external, check_external, create, split_name

CNN = "timm:test_resnet"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("timm:resnet18d", ("timm", "resnet18d")),
        ("torchvision:vgg11", ("torchvision", "vgg11")),
        ("resnet20", ("", "resnet20")),
    ],
)
def test_a_name_is_split_into_its_source_and_the_rest(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["keras:resnet50", "timm:", ":resnet18"])
def test_an_unknown_source_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"unknown model '{name}': write timm:NAME or torchvision:NAME"):
        split_name(name)


@pytest.mark.parametrize(
    "name", ["timm:resnet18d", "timm:resnet18.a1_in1k", "torchvision:resnet18", "torchvision:googlenet"]
)
def test_the_classifiers_of_both_libraries_are_known(name: str) -> None:
    check_external(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet18dd", "did you mean .*resnet18d.*timm.list_models"),
        ("timm:resnet18.no_such_tag", "did you mean .*resnet18"),
        ("timm:hf-hub:timm/resnet18.a1_in1k", "unknown model"),
        ("torchvision:resnt18", "did you mean .*resnet18.*models.list_models"),
        ("torchvision:zzz", "unknown model 'torchvision:zzz': list them with"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision.models.detection: only classifiers"),
        ("torchvision:fcn_resnet50", "torchvision.models.segmentation: only classifiers"),
        ("torchvision:r3d_18", "torchvision.models.video: only classifiers"),
        ("torchvision:quantized_resnet18", "torchvision.models.quantization: only classifiers"),
        ("resnet20", "no model of a library"),
    ],
)
def test_what_is_no_classifier_of_a_library_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        check_external(name)
    assert "\n" not in str(error.value)


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'verdict-bench\[timm\]'"):
        check_external(CNN)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        (CNN, 32),
        ("timm:resnet18d", 32),
        ("torchvision:resnet18", 32),
        ("torchvision:squeezenet1_1", 40),
        ("torchvision:googlenet", 32),  # has auxiliary heads unless told not to
    ],
)
def test_a_model_gives_one_logit_a_class_in_training_and_in_evaluation(name: str, image_size: int) -> None:
    model, notes = build_external(name, num_classes=7, image_size=image_size, small_stem=False)
    assert model.training
    assert notes == ()
    images = torch.randn(2, 3, image_size, image_size)
    for training in (True, False):
        logits = model.train(training)(images)
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("torchvision:vit_b_16", 48), ("timm:vit_tiny_patch16_224", 48)],
)
def test_a_model_made_for_one_image_size_is_built_for_ours(name: str, image_size: int) -> None:
    with torch.device("meta"):
        model, _ = build_external(name, num_classes=7, image_size=image_size, small_stem=False)
        assert model(torch.empty(2, 3, image_size, image_size)).shape == (2, 7)


def test_a_model_that_must_know_the_image_size_is_told() -> None:
    with torch.device("meta"):
        create("torchvision:maxvit_t", num_classes=7, image_size=224)
        with pytest.raises(ValueError, match="Input size"):
            create("torchvision:maxvit_t", num_classes=7, image_size=32)


@pytest.mark.parametrize("name", [CNN, "torchvision:shufflenet_v2_x0_5", "torchvision:regnet_x_400mf"])
def test_the_weights_are_those_that_the_library_draws(name: str) -> None:
    torch.manual_seed(0)
    model, _ = build_external(name, num_classes=10, image_size=32, small_stem=False)
    torch.manual_seed(0)
    library, _, bare = name.partition(":")
    create = timm.create_model if library == "timm" else torchvision.models.get_model
    expected = create(bare, num_classes=10).state_dict()
    assert model.state_dict().keys() == expected.keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


@pytest.mark.parametrize("name", [CNN, "torchvision:regnet_x_400mf"])
def test_on_the_meta_device_a_model_has_no_data_and_draws_no_random_numbers(name: str) -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        model, _ = build_external(name, num_classes=10, image_size=32, small_stem=True)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("image_size", "fits"), [(12, False), (16, False), (20, True)])
def test_an_image_is_refused_where_the_model_itself_fails(image_size: int, fits: bool) -> None:
    model = torchvision.models.squeezenet1_1(num_classes=10)
    with nullcontext() if fits else pytest.raises(RuntimeError):
        model(torch.randn(2, 3, image_size, image_size))
    expected = (
        nullcontext() if fits else pytest.raises(ModelError, match=r"cannot take \d+x\d+ images: try 32x32$")
    )
    with expected:
        build_external("torchvision:squeezenet1_1", 10, image_size, small_stem=False)


def test_an_image_that_patches_do_not_cover_is_refused_with_a_size_that_they_do() -> None:
    with pytest.raises(ModelError, match=r"vit_b_16 cannot take 40x40 images: try 48x48$"):
        build_external("torchvision:vit_b_16", 10, image_size=40, small_stem=False)


@pytest.mark.parametrize("training", [False, True])
def test_a_model_that_gives_no_logits_in_one_of_its_modes_is_refused(
    monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    forward = timm.models.resnet.ResNet.forward
    monkeypatch.setattr(
        timm.models.resnet.ResNet,
        "forward",
        lambda self, images: (
            (forward(self, images), 0) if self.training == training else forward(self, images)
        ),
    )
    with pytest.raises(ModelError, match=f"{CNN} does not give 10 logits for each image"):
        build_external(CNN, 10, 32, small_stem=False)


def test_a_small_stem_is_noted() -> None:
    model, notes = build_external(CNN, num_classes=10, image_size=32, small_stem=True)
    assert notes == ("conv1.0 3x3 stride 2 -> 3x3 stride 1; maxpool removed",)
    assert model.conv1[0].stride == (1, 1)  # type: ignore[index]  # torch types no submodules


def test_a_small_stem_lets_a_model_take_images_that_were_too_small() -> None:
    model, _ = build_external("torchvision:squeezenet1_1", 10, image_size=12, small_stem=True)
    assert model(torch.randn(2, 3, 12, 12)).shape == (2, 10)


def test_a_small_stem_that_breaks_a_model_is_refused() -> None:
    # The first pooling of Inception-v4 runs beside a convolution with the same stride.
    with pytest.raises(
        ModelError, match=r"with a small stem cannot take 256x256 images.*leave the small stem out"
    ):
        build_external("timm:inception_v4", 10, image_size=256, small_stem=True)
