from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from models.complexity import count_params
from models.errors import ModelError
from models.external import build_external, create
from models.fast_cnn import fast_cnn
from models.pretrained import find_head, layer_groups, load_weights, split_head
from models.resnet import resnet18, resnet20
from models.simple import mlp, simple_cnn
from models.stem import cut_kernel

LITE = "timm:tf_efficientnet_lite0"
PALACE, DAISY = 698, 985
"""Classes of ImageNet."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[str, dict[str, Tensor]]:
    """A ResNet-20 for 100 classes in a file, as a source, and its weights."""
    state = resnet20(num_classes=100, image_size=32).state_dict()
    torch.save(state, tmp_path / "resnet20.pth")
    return f"file:{tmp_path / 'resnet20.pth'}", state


def make(name: str) -> nn.Module:
    """A model of ours or of a library, for 10 classes of 32x32 images."""
    ours = {
        "resnet18": resnet18,
        "resnet20": resnet20,
        "mlp": mlp,
        "simple_cnn": simple_cnn,
        "fast_cnn": fast_cnn,
    }
    return ours[name](10, 32) if name in ours else create(name, num_classes=10, image_size=32)


def save(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "weights.pth")
    return f"file:{folder / 'weights.pth'}"


def test_weights_are_loaded_with_their_head_where_the_classes_are_as_many(
    saved: tuple[str, dict[str, Tensor]],
) -> None:
    source, state = saved
    model = resnet20(num_classes=100, image_size=32)
    weights = load_weights(model, "resnet20", source, image_size=32)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    assert weights.note == "weights of resnet20.pth"


def test_a_head_for_other_classes_starts_at_zero(saved: tuple[str, dict[str, Tensor]]) -> None:
    source, state = saved
    model = resnet20(num_classes=10, image_size=32)
    weights = load_weights(model, "resnet20", source, image_size=32)
    for key, tensor in model.state_dict().items():
        expected_tensor = torch.zeros_like(tensor) if key.startswith("head.") else state[key]
        assert torch.equal(tensor, expected_tensor), key
    expected = "weights of resnet20.pth; head for 100 classes left out, the one for 10 starts at zero"
    assert weights.note == expected


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda state: state.pop("stem.0.weight"), r"1 missing \(stem\.0\.weight\)"),
        (lambda state: state.pop("head.bias"), r"1 missing \(head\.bias\)"),
        (lambda state: state.update(extra=torch.ones(1)), r"1 unknown \(extra\)"),
        (
            lambda state: state.update({"head.weight": torch.ones(100, 65)}),
            r"1 of another shape \(head\.weight \(100, 65\) for \(100, 64\)\)",
        ),
        (
            lambda state: state.update({"stem.0.weight": torch.ones(16, 3, 1, 1)}),
            r"1 of another shape \(stem\.0\.weight \(16, 3, 1, 1\) for \(16, 3, 3, 3\)\)",
        ),
        (
            lambda state: [state.pop(key) for key in list(state)[:5]],
            r"5 missing \(stem\.0\.weight, stem\.1\.weight, stem\.1\.bias, \.\.\.\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_one_clear_error_and_change_nothing(
    tmp_path: Path, change: object, fault: str
) -> None:
    state = resnet20(num_classes=100, image_size=32).state_dict()
    assert callable(change)
    change(state)
    model = resnet20(num_classes=100, image_size=32)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ModelError, match=f"do not fit resnet20: {fault}") as error:
        load_weights(model, "resnet20", save(state, tmp_path), image_size=32)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_old_files_without_batch_counters_are_loaded(tmp_path: Path) -> None:
    state = resnet20(num_classes=10, image_size=32).state_dict()
    source = save({key: state[key] for key in state if "num_batches" not in key}, tmp_path)
    model = resnet20(num_classes=10, image_size=32)
    load_weights(model, "resnet20", source, image_size=32)
    assert torch.equal(model.state_dict()["stem.0.weight"], state["stem.0.weight"])


def test_a_small_stem_takes_the_centre_of_a_large_kernel(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(num_classes=10).state_dict()
    model, _ = build_external("torchvision:resnet18", 10, image_size=32, small_stem=True)
    weights = load_weights(model, "torchvision:resnet18", save(state, tmp_path), image_size=32)
    assert torch.equal(model.state_dict()["conv1.weight"], cut_kernel(state["conv1.weight"], 3))
    assert weights.note.endswith("conv1.weight cut from the centre of 7x7 and scaled to its norm")


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'weights\.pth': expected hub, package or file:PATH"):
        load_weights(resnet20(10, 32), "resnet20", "weights.pth", image_size=32)


def test_weights_of_a_hub_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "shufflenet_v2_x0_5"
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = torchvision.models.get_model(name).state_dict()
    file_name = Path(torchvision.models.get_model_weights(name).DEFAULT.url).name
    torch.save(state, tmp_path / "checkpoints" / file_name)
    model = create(f"torchvision:{name}", num_classes=10, image_size=32)
    weights = load_weights(model, f"torchvision:{name}", "hub", image_size=32)
    assert torch.equal(model.state_dict()["conv5.0.weight"], state["conv5.0.weight"])
    assert weights.note.endswith("fc for 1000 classes left out, the one for 10 starts at zero")


def test_the_weights_of_a_package_recognise_photographs() -> None:
    model = create(LITE, num_classes=1000, image_size=224).eval()
    weights = load_weights(model, LITE, "package", image_size=224)
    assert weights.mean is not None
    assert weights.std is not None
    square = torch.stack([torch.tensor(image[:, 106:533]) for image in load_sample_images().images])
    images = F.interpolate(
        square.permute(0, 3, 1, 2) / 255, size=weights.image_size, mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (weights.mean, weights.std))
    with torch.no_grad():
        china, flower = model((images - mean) / std).topk(5).indices.tolist()
    assert PALACE in china
    assert DAISY in flower


def test_a_package_is_loaded_into_a_model_of_other_classes() -> None:
    model = create(LITE, num_classes=10, image_size=32)
    weights = load_weights(model, LITE, "package", image_size=32)
    assert weights.note.endswith("classifier for 1000 classes left out, the one for 10 starts at zero")


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "head"),
        ("mlp", "5"),
        ("torchvision:mobilenet_v2", "classifier.1"),
        ("torchvision:squeezenet1_1", "classifier.1"),
        ("torchvision:vit_b_16", "heads.head"),
        ("timm:resnet18", "fc"),
        ("timm:test_convnext", "head.fc"),
    ],
)
def test_the_head_is_the_layer_that_gives_the_logits(name: str, head: str) -> None:
    with torch.device("meta"):
        assert find_head(make(name)) == head


def test_a_model_with_two_heads_is_refused() -> None:
    with torch.device("meta"):
        model = make("timm:deit_tiny_distilled_patch16_224")
    with pytest.raises(ModelError, match=r"several heads \(head, head_dist\): use a model with one"):
        find_head(model)


def test_a_model_without_layers_has_no_head() -> None:
    with pytest.raises(ModelError, match="no linear layer that could be its head"):
        find_head(nn.Sequential(nn.ReLU()))


def first_names(model: nn.Module) -> list[str]:
    """The first parameter of each group; asserts that each parameter is in exactly one."""
    groups = layer_groups(model)
    ids = [id(parameter) for group in groups for parameter in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in model.parameters()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(group[0])].removesuffix(".weight") for group in groups]


RESNET = ["conv1", "layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1", "fc"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", ["1", "3", "5"]),
        ("simple_cnn", ["0", "3", "7", "9", "11"]),
        ("fast_cnn", ["whiten", *(f"stages.{i}.conv1" for i in range(3)), "head"]),
        ("resnet18", ["stem.0", *(f"blocks.{i}.conv1" for i in (0, 2, 4, 6)), "head"]),
        ("torchvision:resnet18", RESNET),
        ("timm:resnet18", RESNET),
        (
            LITE,
            ["conv_stem", "blocks.0.0.conv_dw", *(f"blocks.{i}.0.conv_pw" for i in (2, 4, 6)), "classifier"],
        ),
        (
            "timm:vit_tiny_patch16_224",
            ["cls_token", *(f"blocks.{i}.norm1" for i in (0, 3, 6, 9)), "head"],
        ),
        (
            "torchvision:mobilenet_v2",
            ["features.0.0", *(f"features.{i}.conv.0.0" for i in (1, 5, 10, 14)), "classifier.1"],
        ),
    ],
)
def test_layers_are_grouped_from_the_stem_to_the_head(name: str, expected: list[str]) -> None:
    with torch.device("meta"):
        assert first_names(make(name)) == expected


@pytest.mark.parametrize(
    "name", ["resnet20", "torchvision:resnet18", "torchvision:mobilenet_v2", LITE, "timm:test_vit"]
)
def test_head_of_backbone_is_the_model(name: str) -> None:
    model = make(name)
    backbone, head = split_head(model)
    assert count_params(backbone) == count_params(model)
    images = torch.randn(2, 3, 32, 32)
    backbone.eval()
    with torch.no_grad():
        features = backbone(images)
        assert features.ndim == 2
        assert torch.equal(head(features), model(images))
    assert not head._forward_hooks


def test_training_the_head_trains_the_model() -> None:
    model = resnet20(10, 32).eval()
    backbone, head = split_head(model)
    images = torch.randn(2, 3, 32, 32)
    features, before = backbone(images).detach(), model(images)
    with torch.no_grad():
        head.weight.mul_(2)  # type: ignore[operator]  # torch types no submodules
    assert not torch.equal(model(images), before)
    assert torch.equal(head(features), model(images))


@pytest.mark.parametrize("name", ["fast_cnn", "torchvision:squeezenet1_1"])
def test_a_model_that_does_more_after_its_head_cannot_be_split(name: str) -> None:
    backbone, _ = split_head(make(name))
    with pytest.raises(ModelError, match="does more after its head: it cannot be split"):
        backbone(torch.randn(2, 3, 32, 32))
