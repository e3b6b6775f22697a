"""An export does what the original does, says so, and is whole or absent."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import export, fidelity
from harness.console import run_command
from harness.datasets.base import Dataset
from harness.datasets.digits import load_digits
from harness.errors import UsageError
from harness.fidelity import calibration_images, score
from harness.onnx_model import export_onnx, load_package, open_onnx
from harness.quantize import quantize_int8
from harness.stored_model import StoredModel, load_stored_model
from tests.harness.run_helpers import run_one

CPU = torch.device("cpu")
needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the extra export")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(16)


@pytest.fixture(scope="module")
def run_dir(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small net that has learnt the digits."""
    parent = tmp_path_factory.mktemp("runs")
    run_one(digits, parent, image_size=16, model="simple_cnn", precision="bf16", recipe={"epochs": 2})
    return parent / "run"


@pytest.fixture(scope="module")
def stored(run_dir: Path) -> StoredModel:
    return load_stored_model(run_dir, CPU)


@pytest.fixture(scope="module")
def exported(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command wrote."""
    out = tmp_path_factory.mktemp("exports") / "deep" / "handover"
    assert run_export(str(run_dir), "--out", str(out), "--int8", "static") == 0
    return out


def run_export(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export", *arguments])
        return run_command(export.app)


@needs_onnx
def test_the_exported_model_takes_uint8_images_in_batches_of_any_size(
    exported: Path, stored: StoredModel, digits: Dataset
) -> None:
    model = open_onnx(exported / "model.onnx")
    images = digits.test.images
    with torch.inference_mode():
        expected = stored.module(stored.normalize(torch.from_numpy(images))).numpy()
    for num_images in (1, 7, len(images)):
        np.testing.assert_allclose(model.logits(images[:num_images]), expected[:num_images], atol=1e-4)


@needs_onnx
def test_the_folder_describes_itself(exported: Path, stored: StoredModel, digits: Dataset) -> None:
    names = {"README.md", "model.json", "model.onnx", "model.int8.onnx", "model.safetensors"}
    assert {path.name for path in exported.iterdir()} == names
    description = json.loads((exported / "model.json").read_text())
    assert description["class_names"] == list("0123456789")
    assert description["data"]["fingerprint"] == digits.provenance.fingerprint
    for name, file in description["files"].items():
        content = (exported / name).read_bytes()
        assert (file["sha256"], file["num_bytes"]) == (sha256(content).hexdigest(), len(content))
    assert set(description["files"]) == names - {"model.json"}
    in_training, torch_fp32, onnx_fp32, int8 = description["scored"]
    assert in_training["what"] == "as scored (bf16, cpu)"
    assert torch_fp32["num_correct"] == onnx_fp32["num_correct"]
    assert onnx_fp32["num_disagreements"] == 0
    assert onnx_fp32["max_difference"] < 1e-4
    assert int8["num_bytes"] < onnx_fp32["num_bytes"] / 2
    assert abs(int8["num_correct"] - onnx_fp32["num_correct"]) < 0.05 * len(digits.test.labels)
    assert all(one["num_images"] == len(digits.test.labels) for one in description["scored"])


@needs_onnx
def test_the_card_says_what_a_user_must_know(exported: Path, stored: StoredModel, digits: Dataset) -> None:
    card = (exported / "README.md").read_text()
    model = stored.record.model
    assert model is not None
    for text in (
        digits.provenance.fingerprint,
        "byte for byte the published data set",
        f"{model.num_params:,}",
        "| 7 | ",
        "95% Wilson interval",
        "uint8 [N, 3, 16, 16]",
        "no test image was among them",
        "audited",
        "Apache License 2.0",
    ):
        assert text in card, text


@needs_onnx
def test_the_example_of_the_card_runs(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported)
    said: list[str] = []
    exec(compile(code, "card", "exec"), {"print": said.append})
    assert said[0] in "0123456789"


@needs_onnx
def test_resizing_is_part_of_the_graph(digits: Dataset, tmp_path: Path, stored: StoredModel) -> None:
    images = load_digits(24).test.images[:9]
    smaller = replace(stored, source_size=(24, 24))
    export_onnx(smaller, tmp_path / "model.onnx")
    with torch.inference_mode():
        expected = stored.module(stored.normalize(torch.from_numpy(images))).numpy()
    np.testing.assert_allclose(open_onnx(tmp_path / "model.onnx").logits(images), expected, atol=1e-4)


class Looping(nn.Module):
    """Does not know how often it loops before it has seen the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        while images_BCHW.mean().item() > 0.1:
            images_BCHW = images_BCHW * self.weight / 2
        return images_BCHW.mean(dim=(2, 3))


class OfTwo(nn.Module):
    """Reads the size of the batch as a number of Python's: 10 logits for each image all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        rows = torch.ones(images_BCHW.shape[1], 10).expand(len(images_BCHW), 3, 10)
        return (rows * images_BCHW.mean(dim=(2, 3))[:, :, None]).sum(dim=1) * self.weight


@needs_onnx
def test_a_model_that_cannot_be_exported_is_an_error_with_the_reason(
    stored: StoredModel, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"'simple_cnn' cannot be exported to ONNX: \w+: \w+"):
        export_onnx(replace(stored, module=Looping()), tmp_path / "model.onnx")


@needs_onnx
def test_a_model_that_asks_for_the_length_of_its_batch_takes_any(stored: StoredModel, tmp_path: Path) -> None:
    export_onnx(replace(stored, module=OfTwo()), tmp_path / "model.onnx")
    images = np.zeros((5, 3, 16, 16), np.uint8)
    assert open_onnx(tmp_path / "model.onnx").logits(images).shape == (5, 10)


@needs_onnx
def test_dynamic_quantisation_needs_no_images(exported: Path, digits: Dataset, tmp_path: Path) -> None:
    quantize_int8(exported / "model.onnx", tmp_path / "small.onnx", "dynamic")
    expected = open_onnx(exported / "model.onnx").logits(digits.test.images)
    found = open_onnx(tmp_path / "small.onnx").logits(digits.test.images)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.95
    assert np.abs(found - expected).max() > 0


def test_calibration_uses_held_out_training_images_and_no_test_images(
    stored: StoredModel, digits: Dataset
) -> None:
    train = {image.tobytes() for image in digits.train.images}
    test = {image.tobytes() for image in digits.test.images}
    chosen = calibration_images(stored.record, digits, 50)
    assert len(chosen) == 50
    assert len({image.tobytes() for image in chosen} & train) == 50
    assert not {image.tobytes() for image in chosen} & test
    assert stored.record.num_val_images == len(calibration_images(stored.record, digits, 10_000))


def spoil(*arguments: Any) -> np.ndarray[Any, Any]:
    logits: np.ndarray[Any, Any] = -fidelity.onnx_logits(*arguments)
    return logits


@needs_onnx
def test_a_model_that_differs_is_refused_and_the_earlier_export_stays(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "export"
    out.mkdir()
    earlier = json.dumps({"format": 1, "cell_id": "0123456789ab", "files": {}})
    (out / "model.json").write_text(earlier)
    monkeypatch.setattr(export, "onnx_logits", spoil)
    assert run_export(str(run_dir), "--out", str(out)) == 1
    assert "refused, and nothing written: the exported model puts " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (out / "model.json").read_text() == earlier


@pytest.mark.parametrize("content", ["{}", "[1]", "not JSON", '{"format": 1, "cell_id": "0123456789ab"}'])
def test_a_folder_of_somebody_else_is_not_replaced(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "model.json").write_text(content)
    assert run_export(str(run_dir), "--out", str(tmp_path)) == 2
    assert "there are other files in this folder" in capsys.readouterr().err
    assert (tmp_path / "model.json").read_text() == content


def test_logits_that_are_no_numbers_are_infinitely_far_away() -> None:
    labels = np.zeros(2, np.int64)
    original = np.zeros((2, 3), np.float32)
    broken = np.array([[np.nan, 0, 0], [0, 0, 0]], np.float32)
    assert score("x", broken, labels, original).max_difference == np.inf


def test_other_files_are_never_replaced(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run_export(str(run_dir), "--out", str(tmp_path)) == 2
    assert "other files" in capsys.readouterr().err
    assert run_export(str(run_dir), "--out", str(tmp_path / "thesis.tex")) == 2
    assert "is a file" in capsys.readouterr().err


@needs_onnx
def test_other_images_than_those_of_the_run_are_refused(
    run_dir: Path,
    tmp_path: Path,
    striped_images: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fidelity, "load_dataset", lambda *_: striped_images)
    assert run_export(str(run_dir), "--out", str(tmp_path / "export")) == 2
    assert "are not those that the run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_damaged_predictions_are_one_line(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("predictions.npz"))
    (spoilt / "predictions.npz").write_bytes(b"PK\3\4 not an archive")
    monkeypatch.setattr(export, "export_onnx", lambda _, path: path.write_bytes(b""))
    monkeypatch.setattr(export, "onnx_logits", lambda _, images, __: np.zeros((len(images), 10), np.float32))
    assert run_export(str(spoilt)) == 2
    assert "predictions.npz: damaged" in capsys.readouterr().err
    assert not (spoilt / "export").exists()


def test_a_missing_package_is_one_line_that_says_what_to_install(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name.startswith("onnx"):
            raise ImportError(f"No module named '{name}'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    assert run_export(str(run_dir)) == 2
    message = capsys.readouterr().err
    assert "pip install 'verdict-bench[export]'" in message
    assert len(message.splitlines()) == 1


def test_unknown_modes_and_folders_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_export(str(tmp_path), "--int8", "statik") == 2
    assert "did you mean static" in capsys.readouterr().err
    assert run_export(str(tmp_path / "nowhere")) == 2


@needs_onnx
def test_the_runtime_is_loaded_with_its_telemetry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    load_package("onnxruntime")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
