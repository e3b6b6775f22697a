"""Weights come back as they were scored, whatever the strategy; what is wrong with a folder is said."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.datasets.base import Dataset
from harness.errors import DataError, UsageError
from harness.record import read_record
from harness.stored_model import StoredModel, load_stored_model, save_weights, weights_path
from models.registry import build_model
from tests.harness.run_helpers import run_one, run_two
from tests.harness.zero_processes import Net

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(striped_images: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small cell that was trained."""
    parent = tmp_path_factory.mktemp("stored")
    run_one(striped_images, parent, model="resnet20", recipe={"epochs": 1})
    return parent / "run"


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return shutil.copytree(finished, tmp_path / "run")


def logits_of(stored: StoredModel, data: Dataset) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        images = torch.from_numpy(data.test.images)
        logits: Tensor = stored.module(stored.normalize(images))
    return logits.numpy()


def test_a_stored_model_gives_the_logits_that_were_scored(finished: Path, striped_images: Dataset) -> None:
    stored = load_stored_model(finished, CPU)
    expected = np.load(finished / "predictions.npz")["test_logits"]
    np.testing.assert_allclose(logits_of(stored, striped_images), expected, atol=1e-5)
    assert not stored.module.training
    assert stored.class_names == ("r", "g", "b")
    assert (stored.image_size, stored.source_size) == (32, (32, 32))


def test_loading_leaves_the_random_numbers_of_the_caller_alone(finished: Path) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    load_stored_model(finished, CPU)
    assert (torch.rand(1), np.random.rand()) == expected


def test_the_file_says_what_it_is_of(finished: Path, striped_images: Dataset) -> None:
    with safe_open(weights_path(finished), framework="pt") as file:
        metadata = file.metadata()
    record = read_record(finished)
    assert record is not None
    assert metadata["cell_id"] == record.cell_id
    assert metadata["data_fingerprint"] == striped_images.provenance.fingerprint
    assert json.loads(metadata["class_names"]) == ["r", "g", "b"]
    assert all(
        value.dtype in (torch.float32, torch.int64) for value in load_file(weights_path(finished)).values()
    )


def test_a_linear_probe_keeps_the_whole_model(striped_images: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "first.safetensors"
    first = build_model("resnet20", 3, 32)
    save_file(first.state_dict(), file)
    recipe = {"tuning": "head", "epochs": 1}
    changes: dict[str, Any] = {
        "model": "resnet20",
        "pretrained": f"file:{file}",
        "augmentation": "none",
        "recipe": recipe,
    }
    _, predictions, _ = run_one(striped_images, tmp_path, **changes)
    file.unlink()  # the first weights are not needed again
    stored = load_stored_model(tmp_path / "run", CPU)
    np.testing.assert_allclose(logits_of(stored, striped_images), predictions["test_logits"], atol=1e-5)
    state = stored.module.state_dict()
    changed = [name for name, tensor in first.state_dict().items() if not torch.equal(state[name], tensor)]
    assert changed
    assert all(name.startswith("head") or "fc" in name or "linear" in name for name in changed), changed


def test_images_of_another_size_are_resized_as_in_training(striped_images: Dataset, tmp_path: Path) -> None:
    _, predictions, _ = run_one(striped_images, tmp_path, image_size=24, recipe={"epochs": 1})
    stored = load_stored_model(tmp_path / "run", CPU)
    assert (stored.image_size, stored.source_size) == (24, (32, 32))
    np.testing.assert_allclose(logits_of(stored, striped_images), predictions["test_logits"], atol=1e-5)


def test_no_folder_no_record_and_no_weights_are_said(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_stored_model(tmp_path / "nowhere", CPU)
    with pytest.raises(UsageError, match=r"no record\.json"):
        load_stored_model(tmp_path, CPU)
    weights_path(run_dir).unlink()
    with pytest.raises(UsageError, match="--no-weights or by an older"):
        load_stored_model(run_dir, CPU)


def test_a_failed_run_has_no_model(run_dir: Path) -> None:
    path = run_dir / "record.json"
    path.write_text(path.read_text().replace('"finished"', '"failed"', 1))
    with pytest.raises(UsageError, match="failed"):
        load_stored_model(run_dir, CPU)


@pytest.mark.parametrize("what", ["cut", "flipped", "not_weights", "empty"])
def test_a_damaged_file_is_never_loaded(run_dir: Path, what: str) -> None:
    path = weights_path(run_dir)
    content = path.read_bytes()
    flipped = content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]
    contents = {"cut": content[:-8], "flipped": flipped, "not_weights": b"no weights" * 99, "empty": b""}
    path.write_bytes(contents[what])
    with pytest.raises(DataError, match=r"model\.safetensors: damaged"):
        load_stored_model(run_dir, CPU)


def test_weights_that_others_wrote_are_refused(run_dir: Path) -> None:
    save_file(load_file(weights_path(run_dir)), weights_path(run_dir))
    with pytest.raises(DataError, match="not weights that this version"):
        load_stored_model(run_dir, CPU)


def test_weights_of_another_cell_or_architecture_are_refused(run_dir: Path) -> None:
    record = read_record(run_dir)
    assert record is not None
    assert record.data is not None
    weights = load_file(weights_path(run_dir))
    mean = std = (0.5, 0.5, 0.5)
    other = record.cell.model_copy(update={"seed": 5})
    save_weights(run_dir, weights, other, record.data, mean, std)
    with pytest.raises(DataError, match="of cell"):
        load_stored_model(run_dir, CPU)
    first = next(iter(weights))
    changed = {name: value for name, value in weights.items() if name != first} | {"new": torch.zeros(2)}
    save_weights(run_dir, changed, record.cell, record.data, mean, std)
    with pytest.raises(DataError, match=f"1 missing .{first}.*; 1 unknown .new.*use Verdict"):
        load_stored_model(run_dir, CPU)


def gathered(tmp_path: Path, names: str) -> None:
    (tmp_path / "strategies").write_text(names)
    script = Path(__file__).with_name("stored_processes.py")
    (first, second), _ = run_two(script, tmp_path, timeout_s=200)
    for name in names.split():
        prefix = f"{name}/weights/"
        weights = {key.removeprefix(prefix): torch.from_numpy(first[key]) for key in first if prefix in key}
        model: nn.Module = Net()
        assert all(weights[key].shape == tensor.shape for key, tensor in model.state_dict().items())
        model.load_state_dict(weights)
        with torch.inference_mode():
            logits = model.eval()(torch.ones(2, 3, 8, 8))
        np.testing.assert_allclose(logits.numpy(), first[f"{name}/before"], atol=1e-5, err_msg=name)
        for arrays in (first, second):  # training could go on
            np.testing.assert_array_equal(arrays[f"{name}/before"], arrays[f"{name}/after"], err_msg=name)


def test_whole_weights_come_from_two_processes(tmp_path: Path) -> None:
    gathered(tmp_path, "ddp fsdp")


@pytest.mark.slow
def test_whole_weights_come_from_two_processes_of_zero(tmp_path: Path) -> None:
    if find_spec("deepspeed") is None:
        pytest.skip("needs deepspeed")
    gathered(tmp_path, "zero1 zero2 zero3")
