from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError, UsageError
from results.metrics import Array
from results.predictions import PredictionSet, read_human_counts, read_prediction_set

RunFactory = Callable[..., Path]

LABELS = np.array([0, 1, 2, 1])
LOGITS = np.array([[3, 1, 0], [0, 2, 1], [0, 1, 1], [5, 0, 0]], np.float32)
CLASSES = [0, 1, 1, 0]
PROBS = np.array([[0.8, 0.1, 0.1], [0, 1, 0], [0.2, 0.4, 0.4], [0.9, 0.05, 0.05]])


@pytest.fixture
def labels_path(tmp_path: Path) -> Path:
    return _save(tmp_path / "labels.npy", LABELS)


def _save(path: Path, content: Any) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        np.savez(path, **content)
    return path


def _softmax(logits: Array) -> Array:
    exponentials = np.exp(logits)
    probs: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probs


@pytest.mark.parametrize(
    ("name", "content", "known"),
    [
        ("classes.json", CLASSES, "classes"),
        ("classes.npy", np.array(CLASSES, np.uint8), "classes"),
        ("logits.npy", LOGITS, "logits"),
        ("probs.npy", PROBS, "probabilities"),
        ("classes.npz", {"classes": CLASSES}, "classes"),
        ("probs.npz", {"probs": PROBS}, "probabilities"),
        ("logits.npz", {"logits": LOGITS}, "logits"),
        ("both.npz", {"logits": LOGITS, "probs": _softmax(LOGITS), "labels": LABELS}, "logits"),
        ("all.npz", {"logits": LOGITS, "classes": CLASSES}, "logits"),
    ],
)
def test_each_kind_of_file_is_read_as_what_it_is(
    tmp_path: Path, labels_path: Path, name: str, content: Any, known: str
) -> None:
    found = read_prediction_set(_save(tmp_path / name, content), labels_path)

    assert found.known == known
    assert found.classes.tolist() == CLASSES
    assert found.labels.tolist() == LABELS.tolist()
    assert (found.name, found.class_names, found.run_dir) == (name, ("0", "1", "2"), None)
    assert found.val_logits is found.val_labels is None
    distributions = found.distributions()
    if known == "classes":
        assert found.scores is None
        assert distributions is None
    else:
        expected = PROBS if known == "probabilities" else _softmax(LOGITS)
        assert distributions is not None
        assert distributions.probs == pytest.approx(expected, abs=1e-6)


def test_labels_may_be_in_the_file_itself(tmp_path: Path) -> None:
    found = read_prediction_set(_save(tmp_path / "own.npz", {"probs": PROBS, "labels": LABELS}))

    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("name", "content"), [("given.json", LABELS.tolist()), ("given.npz", {"labels": LABELS})]
)
def test_labels_may_be_a_list_or_part_of_an_archive(tmp_path: Path, name: str, content: Any) -> None:
    path = _save(tmp_path / "classes.json", CLASSES)

    assert read_prediction_set(path, _save(tmp_path / name, content)).labels.tolist() == LABELS.tolist()


def test_a_run_brings_its_validation_images_and_class_names(make_run: RunFactory) -> None:
    run_dir = make_run()

    found = read_prediction_set(run_dir)

    assert (found.known, found.run_dir) == ("logits", run_dir)
    assert found.class_names == ("cat", "dog", "[bold]ship[/bold]")
    assert int((found.classes == found.labels).sum()) == 180
    assert found.val_logits is not None
    assert found.val_labels is not None
    assert len(found.val_logits) == len(found.val_labels) == 40
    assert "fast_cnn" in found.name
    assert run_dir.name in found.name


def test_a_run_says_which_images_it_is_about_and_in_which_league_it_is(make_run: RunFactory) -> None:
    found = read_prediction_set(make_run())

    assert found.fingerprint == "fedcba9876543210" * 4
    assert found.league == "from scratch"


def test_a_file_may_say_what_its_classes_and_images_are(tmp_path: Path) -> None:
    content = {"classes": CLASSES, "labels": LABELS, "class_names": np.array(["cat", "dog", "ship", "deer"])}

    found = read_prediction_set(_save(tmp_path / "a.npz", content | {"test_fingerprint": np.array("ab")}))

    assert found.class_names == ("cat", "dog", "ship", "deer")
    assert found.has_class_names
    assert found.fingerprint == "ab"


def test_a_file_that_says_nothing_of_its_images_has_numbered_classes(tmp_path: Path) -> None:
    found = read_prediction_set(_save(tmp_path / "a.npz", {"classes": CLASSES, "labels": LABELS}))

    assert not found.has_class_names
    assert found.fingerprint is found.league is None


def test_the_folder_of_an_audit_goes_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "detectocorp"
    folder.mkdir()
    (folder / "audit.json").write_text("{}")
    _save(folder / "predictions.npz", {"classes": CLASSES, "labels": LABELS})

    found = read_prediction_set(folder)

    assert (found.name, found.run_dir) == ("detectocorp", None)
    assert found.classes.tolist() == CLASSES


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"class_names": np.array(["cat", "dog"])}, "class_names is <U3 .2,., not 3 names"),
        ({"class_names": np.array([1, 2, 3])}, "class_names is int64"),
        ({"class_names": np.array("cat")}, "class_names is <U3"),
        ({"test_fingerprint": np.array(7)}, "test_fingerprint is int64"),
        ({"test_fingerprint": np.array(["a", "b"])}, "test_fingerprint is <U1"),
    ],
)
def test_names_and_fingerprints_that_are_none_are_refused(
    tmp_path: Path, extra: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_prediction_set(_save(tmp_path / "a.npz", {"probs": PROBS, "labels": LABELS} | extra))


def test_the_predictions_file_of_a_run_is_the_run(make_run: RunFactory) -> None:
    run_dir = make_run()

    assert read_prediction_set(run_dir / "predictions.npz").run_dir == run_dir


def test_a_run_without_validation_images_has_none(make_run: RunFactory) -> None:
    nothing = {
        "val_logits": np.zeros((0, 3), np.float32),
        "val_labels": np.zeros(0, np.int64),
        "val_indices": np.zeros(0, np.int64),
    }

    found = read_prediction_set(make_run(record={"num_val_images": 0}, arrays=nothing))

    assert found.val_logits is found.val_labels is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.json", CLASSES[:3], "3 predictions for 4 labels"),
        ("short.npy", LOGITS[:3], "3 predictions for 4 labels"),
        ("words.json", ["cat", "dog", "cat", "cat"], "not a list of class indices"),
        ("floats.json", [0.0, 1.0, 2.0, 1.0], "not a list of class indices"),
        ("nan.json", [0, float("nan"), 1, 1], "not a list of class indices"),
        ("flags.json", [True, False, True, True], "not a list of class indices"),
        ("object.json", {"classes": CLASSES}, "not a list of class indices"),
        ("huge.json", [0, 1, 2, 10**30], "cannot be read"),
        ("large.json", [0, 1, 2, 3], "classes up to 3, but there are only 3 classes"),
        ("far.json", [0, 1, 2, 10**12], "class indices outside of 0 to 4,999"),
        ("negative.json", [0, 1, 2, -1], "class indices outside of 0"),
        ("wrapped.npy", np.array([0, 1, 2, 2**64 - 1], np.uint64), "class indices outside of 0"),
        ("floats.npy", np.array([0.0, 1, 2, 1]), "not a list of class indices"),
        ("empty.json", [], "not a list of class indices"),
        ("cube.npy", np.zeros((4, 3, 2)), "not numbers by image and class"),
        ("integers.npy", np.eye(4, 3, dtype=np.int64), "not numbers by image and class"),
        ("one.npy", np.zeros((4, 1)), "not numbers by image and class"),
        ("few.npy", LOGITS[:, :2], "labels up to 2, but there are only 2 classes"),
        ("nan.npy", np.where(LOGITS == 5, np.nan, LOGITS), "not finite"),
        ("infinite.npy", np.where(LOGITS == 5, np.inf, LOGITS), "not finite"),
        ("sum.npz", {"probs": PROBS * 0.99}, "do not sum to 1"),
        ("nan.npz", {"probs": np.where(PROBS == 1, np.nan, PROBS)}, "not finite"),
        ("negative.npz", {"probs": PROBS + np.array([0.5, -0.5, 0])}, "negative"),
        ("differ.npz", {"logits": LOGITS, "probs": PROBS}, "not the softmax of its logits"),
        ("shapes.npz", {"logits": LOGITS, "probs": np.full((4, 4), 0.25)}, "differ in shape"),
        ("classes.npz", {"logits": LOGITS, "classes": [0, 1, 0, 0]}, "not those of the largest logits"),
        ("far.npz", {"logits": LOGITS, "classes": [0, 1, 3, 0]}, "not those of the largest logits"),
        ("labels.npz", {"logits": LOGITS, "labels": [0, 1, 2, 2]}, "labels are not those of"),
        ("nothing.npz", {"scores": LOGITS}, "holds neither logits nor probs nor classes"),
        ("pickle.npz", {"logits": np.array([{}])}, "cannot be read"),
    ],
)
def test_a_file_that_no_figure_should_come_from_is_refused(
    tmp_path: Path, labels_path: Path, name: str, content: Any, message: str
) -> None:
    path = _save(tmp_path / name, content)

    with pytest.raises(DataError, match=message) as caught:
        read_prediction_set(path, labels_path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["damaged.json", "damaged.npy", "damaged.npz"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00nonsense", b"PK\x03\x04"])
def test_damaged_bytes_are_a_clear_error(
    tmp_path: Path, labels_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match="cannot be read"):
        read_prediction_set(tmp_path / name, labels_path)


def test_what_the_user_can_cure_is_a_usage_error(
    tmp_path: Path, labels_path: Path, make_run: RunFactory, make_failed_run: RunFactory
) -> None:
    run_dir = make_run()
    for path, labels, message in (
        (tmp_path / "nowhere.npz", None, "there is no such file"),
        (tmp_path / "predictions.txt", None, r"\.json, \.npy or \.npz"),
        (_save(tmp_path / "classes.json", CLASSES), None, "--labels FILE.npy"),
        (tmp_path / "classes.json", tmp_path / "none.npy", "there is no such file"),
        (run_dir, labels_path, "leave out --labels"),
        (run_dir.parent, None, "no finished run in"),
        (make_failed_run(), None, "failed and left no predictions"),
    ):
        with pytest.raises(UsageError, match=message):
            read_prediction_set(path, labels)


def test_labels_that_are_scores_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "classes.json", CLASSES)

    with pytest.raises(DataError, match="holds no list of labels"):
        read_prediction_set(path, _save(tmp_path / "scores.npy", LOGITS))


def test_human_counts_are_read_and_checked(tmp_path: Path) -> None:
    counts = np.array([[3, 0], [1, 2]])

    assert read_human_counts(_save(tmp_path / "counts.npy", counts), 2, 2).tolist() == counts.tolist()
    for content, num_classes, message in (
        (counts, 3, "judges 2 classes, but the predictions know 3"),
        (counts[:1], 2, "do not fit 2 images"),
        (counts[0], 2, "do not fit 2 images"),
        (counts / 2, 2, "whole numbers"),
        (np.array([["a", "b"]] * 2), 2, "do not fit 2 images"),
    ):
        with pytest.raises(DataError, match=message):
            read_human_counts(_save(tmp_path / "bad.npy", content), 2, num_classes)
    with pytest.raises(UsageError, match=r"give a \.npy file"):
        read_human_counts(tmp_path / "counts.csv", 2, 2)


def test_of_equal_scores_the_first_class_is_predicted(tmp_path: Path) -> None:
    found: PredictionSet = read_prediction_set(
        _save(tmp_path / "tied.npz", {"logits": np.ones((2, 3)), "labels": np.array([0, 1])})
    )

    assert found.classes.tolist() == [0, 0]


def test_of_equal_scores_the_class_that_is_stated_is_predicted(tmp_path: Path) -> None:
    content = {"probs": np.full((2, 4), 0.25), "classes": [3, 1], "labels": np.array([3, 0])}

    found = read_prediction_set(_save(tmp_path / "tied.npz", content))

    assert found.classes.tolist() == [3, 1]
