"""Images are classified as the test images were, and what cannot be read is told, not swallowed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import export, predict
from harness.classifier import Classifier, open_classifier
from harness.console import run_command
from harness.datasets.base import Dataset
from harness.datasets.digits import load_digits
from harness.errors import DataError, UsageError
from harness.predicted import Prediction, as_csv, as_json, best_classes
from harness.stored_model import weights_path
from tests.harness.run_helpers import run_one

NUM_IMAGES = 12
needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the extra export")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(16)


@pytest.fixture(scope="module")
def run_dir(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("runs")
    run_one(digits, parent, image_size=16, model="simple_cnn", recipe={"epochs": 1})
    return parent / "run"


@pytest.fixture(scope="module")
def exported(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "export"
    assert main(export, str(run_dir), "--out", str(out)) == 0
    return out


@pytest.fixture
def photos(digits: Dataset, tmp_path: Path) -> Path:
    """Test images of the digits as files, in folders, beside files that are no images."""
    folder = tmp_path / "photos"
    for index in range(NUM_IMAGES):
        path = folder / f"{index % 2}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.test.images[index].transpose(1, 2, 0)).save(path)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image either")
    return folder


def main(module: object, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        return run_command(module.app)  # type: ignore[attr-defined]  # of both commands


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def expected_classes(run_dir: Path) -> list[str]:
    logits = np.load(run_dir / "predictions.npz")["test_logits"][:NUM_IMAGES]
    return [str(index) for index in logits.argmax(axis=1)]


def by_number(rows: list[dict[str, str]]) -> list[str]:
    return [row["class"] for row in sorted(rows, key=lambda row: Path(row["file"]).name)]


def test_a_folder_is_searched_to_the_bottom_and_classified_as_the_run_did(
    run_dir: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: str(tmp_path / f"answers.{name}") for name in ("csv", "json")}
    arguments = ["--csv", files["csv"], "--json", files["json"], "--batch-size", "5", "--top", "2"]
    assert main(predict, str(run_dir), str(photos), *arguments) == 0
    rows = rows_of(Path(files["csv"]).read_text())
    assert len(rows) == NUM_IMAGES
    assert by_number(rows) == expected_classes(run_dir)
    assert list(rows[0]) == ["file", "class", "probability", "class_2", "probability_2"]
    content = json.loads(Path(files["json"]).read_text())
    assert [one["best"][0]["class"] for one in content["images"]] == [row["class"] for row in rows]
    assert content["left_out"] == []
    assert "001.png" in capsys.readouterr().out


@needs_onnx
def test_an_export_and_its_onnx_file_answer_as_the_run_does(
    run_dir: Path, exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for model in (run_dir, exported, exported / "model.onnx"):
        assert main(predict, str(model), str(photos), "--csv", "-", "--top", "1") == 0
        said.append(rows_of(capsys.readouterr().out))
    for rows in said[1:]:
        assert [row["class"] for row in rows] == [row["class"] for row in said[0]]
        found, expected = ([float(row["probability"]) for row in each] for each in (rows, said[0]))
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_images_of_other_shapes_are_read_as_the_image_folder_reads_them(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGBA", (90, 40), (10, 20, 30, 40)).save(path)
    assert main(predict, str(run_dir), str(path), "--json", "-") == 0
    assert len(json.loads(capsys.readouterr().out)["images"][0]["best"]) == 3


def test_unreadable_images_are_reported_and_left_out(
    run_dir: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "0" / "000.png").write_bytes(b"\x89PNG not really")
    assert main(predict, str(run_dir), str(photos), "--json", "-") == 1
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert len(content["images"]) == NUM_IMAGES - 1
    assert [Path(one["file"]).name for one in content["left_out"]] == ["000.png"]
    assert "000.png: " in captured.err
    assert f"1 of {NUM_IMAGES} image(s) left out" in captured.err


def test_nothing_but_unreadable_images_is_still_an_answer(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert main(predict, str(run_dir), str(tmp_path / "a.png"), "--csv", "-") == 1
    assert capsys.readouterr().out == "file,class,probability\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{empty}"], "no image in there"),
        (["{empty}/missing.png"], "no such file or folder"),
        (["{photos}", "--csv", "-", "--json", "-"], "printed into each other"),
        (["{photos}", "--device", "tpu"], "expected cpu or cuda"),
        (["{photos}", "--top", "0"], "--top"),
        ([], "IMAGE_OR_FOLDER"),
    ],
)
def test_bad_input_is_one_line(
    run_dir: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "photos": photos}
    assert main(predict, str(run_dir), *(text.format(**places) for text in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@needs_onnx
def test_a_model_that_is_none_or_was_changed_is_refused(exported: Path, photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(DataError, match="sha256 differs"):
        open_classifier(copy, "cpu")
    (copy / "model.onnx").unlink()
    with pytest.raises(DataError, match="missing from the export"):
        open_classifier(copy, "cpu")
    shutil.copy(exported / "model.onnx", copy / "other.onnx")
    with pytest.raises(DataError, match=r"not a file that model\.json lists"):
        open_classifier(copy / "other.onnx", "cpu")
    (copy / "model.json").unlink()
    with pytest.raises(UsageError, match=r"no model\.json beside it"):
        open_classifier(copy / "other.onnx", "cpu")
    with pytest.raises(UsageError, match="no such folder"):
        open_classifier(tmp_path / "nowhere", "cpu")
    with pytest.raises(UsageError, match="expected the folder of a run"):
        open_classifier(photos / "notes.txt", "cpu")


def test_damaged_weights_are_not_used(run_dir: Path, photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "copy")
    weights_path(copy).write_bytes(b"spoilt")
    assert main(predict, str(copy), str(photos)) == 2


def test_files_of_answers_are_whole_or_absent(
    run_dir: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(predict, str(run_dir), str(photos), "--csv", str(photos / "notes.txt" / "x.csv")) == 2
    assert "cannot write" in capsys.readouterr().err
    assert (photos / "notes.txt").read_text() == "no image"


def test_the_likeliest_classes_come_first_and_shares_add_up() -> None:
    logits = np.array([[1000.0, 1001.0, 999.0], [2.0, 2.0, -np.inf]], np.float32)
    first, second = best_classes(logits, ("a", "b", "c"), 5)
    assert [name for name, _ in first] == ["b", "a", "c"]
    assert sum(share for _, share in first) == pytest.approx(1)
    assert second[:2] == [("a", 0.5), ("b", 0.5)]


def test_names_are_neither_run_as_formulas_nor_lost() -> None:
    odd = Path(os.fsdecode(b"caf\xe9.png"))
    predictions = [
        Prediction(Path("=cmd|x.png"), [("@class", 0.5)]),
        Prediction(Path('a,"b"\n.png'), [("c", 0.5)]),
        Prediction(odd, [("c", 0.5)]),
    ]
    rows = rows_of(as_csv(predictions, top=1))
    assert [row["file"] for row in rows] == ["'=cmd|x.png", 'a,"b"\n.png', "caf\ufffd.png"]
    assert rows[0]["class"] == "'@class"
    as_json("m", predictions, {odd: f"{odd}: no"}).encode()


def test_the_model_is_opened_by_what_it_is(run_dir: Path) -> None:
    classifier: Classifier = open_classifier(run_dir, "cpu")
    assert classifier.class_names == tuple("0123456789")
    assert classifier.source_size == 16
    assert classifier.name.startswith("simple_cnn ")
    assert classifier.logits(np.zeros((2, 3, 16, 16), np.uint8)).dtype == np.float32
    assert not torch.is_inference_mode_enabled()
