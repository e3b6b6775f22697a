from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from results.store import load_runs, one_line

RunFactory = Callable[..., Path]


def test_finished_failed_and_unfinished_runs_are_told_apart(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    finished = make_run(180)
    failed = make_failed_run(seed=1)
    (runs / "unfinished").mkdir()
    (runs / "unfinished" / "cell.json").write_text("{}")
    (runs / "something else").mkdir()
    (runs / "results.csv").write_text("")

    stored = load_runs(runs)

    by_dir = {run.run_dir: run for run in stored.runs}
    assert set(by_dir) == {finished, failed}
    assert by_dir[failed].scores is None
    scores = by_dir[finished].scores
    assert scores is not None
    assert (scores.test_correct, scores.num_test, scores.val_correct, scores.num_val) == (180, 200, 20, 40)
    assert (stored.num_unfinished, stored.warnings) == (1, [])


def test_predictions_are_those_of_the_file(make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run()

    predictions = load_runs(runs).runs[0].predictions

    with np.load(run_dir / "predictions.npz") as arrays:
        assert np.array_equal(predictions.test_logits, arrays["test_logits"])
        assert np.array_equal(predictions.val_labels, arrays["val_labels"])
        assert predictions.class_names == tuple(arrays["class_names"])
    assert predictions.test_tta_logits is None


def test_accuracy_with_test_time_augmentation_comes_from_its_own_logits(
    make_run: RunFactory, runs: Path
) -> None:
    labels = np.arange(200) % 3
    make_run(180, arrays={"test_tta_logits": np.eye(3, dtype=np.float32)[labels]})

    scores = load_runs(runs).runs[0].scores

    assert scores is not None
    assert (scores.test_accuracy_percent, scores.test_tta_accuracy_percent) == (90, 100)


def test_a_run_without_validation_images_has_no_validation_accuracy(make_run: RunFactory, runs: Path) -> None:
    none = np.zeros(0, np.int64)
    make_run(
        record={"num_val_images": 0},
        arrays={"val_logits": np.zeros((0, 3), np.float32), "val_labels": none, "val_indices": none},
    )

    stored = load_runs(runs)

    assert stored.warnings == []
    assert stored.runs[0].scores is not None
    assert stored.runs[0].scores.val_accuracy_percent is None


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no_such_folder.*No such file.*name the folder"):
        load_runs(tmp_path / "no_such_folder")


def test_a_file_in_place_of_the_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory"):
        load_runs(tmp_path / "file")


def test_a_folder_without_runs_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no runs in"):
        load_runs(tmp_path)


def _set_nan(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    logits[3, 1] = np.nan
    return logits


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("test_logits", lambda _: None, "no array 'test_logits'"),
        ("val_indices", lambda _: None, "no array 'val_indices'"),
        ("test_fingerprint", lambda _: None, "no array 'test_fingerprint'"),
        ("test_logits", lambda a: a[:-1], "does not fit"),
        ("test_logits", lambda a: a[:, :2], "does not fit"),
        ("test_labels", lambda a: a.astype(np.float32), "does not fit"),
        ("val_labels", lambda a: a[:-1], "does not fit"),
        ("class_names", lambda a: a[:2], "does not fit"),
        ("test_logits", _set_nan, "test_logits holds values that are not finite"),
        ("val_logits", lambda a: a * np.inf, "val_logits holds values that are not finite"),
        ("test_labels", lambda a: a + 1, "outside of 0 to 2"),
        ("val_labels", lambda a: a - 1, "outside of 0 to 2"),
        ("class_names", lambda a: a[::-1], "class names"),
        ("test_fingerprint", lambda _: np.array("0" * 64), "other test images"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")
def test_predictions_that_do_not_fit_the_record_leave_the_run_out(
    make_run: RunFactory, runs: Path, name: str, change: Callable[[Any], Any], problem: str
) -> None:
    make_run(cell={"seed": 1})
    run_dir = make_run()
    with np.load(run_dir / "predictions.npz") as arrays:
        changed = change(arrays[name])
    make_run(arrays={name: changed})

    stored = load_runs(runs)

    assert [run.record.cell.seed for run in stored.runs] == [1]
    (warning,) = stored.warnings
    assert warning.startswith(f"{run_dir / 'predictions.npz'}: ")
    assert problem in warning
    assert "\n" not in warning


def test_wrong_test_time_augmentation_logits_leave_the_run_out(make_run: RunFactory, runs: Path) -> None:
    make_run(arrays={"test_tta_logits": np.full((200, 3), np.nan, np.float32)})

    assert "test_tta_logits holds values that are not finite" in load_runs(runs).warnings[0]


def test_a_finished_run_without_predictions_is_left_out(make_run: RunFactory, runs: Path) -> None:
    (make_run() / "predictions.npz").unlink()

    stored = load_runs(runs)

    assert stored.runs == []
    assert "predictions.npz: missing" in stored.warnings[0]


def test_no_damage_to_the_predictions_stops_the_others_from_loading(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1})
    path = make_run() / "predictions.npz"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    left_out = 0
    for position in generator.integers(0, len(whole), 80):
        damaged = bytearray(whole)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(bytes(damaged) if position % 2 else whole[:position])

        stored = load_runs(runs)

        assert len(stored.runs) + len(stored.warnings) == 2
        left_out += len(stored.warnings)
    assert left_out > 70


def test_pickled_predictions_are_not_unpickled(make_run: RunFactory, runs: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    run_dir = make_run(arrays={"class_names": np.array([Trap(), 1, 2], dtype=object)})
    assert pickle.dumps(Trap())  # the trap itself is sound
    trap.unlink(missing_ok=True)

    stored = load_runs(runs)

    assert f"{run_dir / 'predictions.npz'}: cannot be read" in stored.warnings[0]
    assert not trap.exists()


def _future(record: dict[str, Any]) -> None:
    record["schema_version"] = 99


def _unknown_model(record: dict[str, Any]) -> None:
    record["cell"]["model"] = "resnet9000"


def _no_measurements(record: dict[str, Any]) -> None:
    record["measurements"] = None


def _no_flops(record: dict[str, Any]) -> None:
    record["model"]["total_train_flops"] = 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_future, "schema_version"),
        (_unknown_model, "unknown model 'resnet9000'"),
        (_no_measurements, "says finished, but lacks"),
        (_no_flops, "says finished, but lacks"),
    ],
)
def test_a_record_that_cannot_be_used_leaves_the_run_out(
    make_run: RunFactory, runs: Path, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    make_run(cell={"seed": 1})
    path = make_run() / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))

    stored = load_runs(runs)

    assert [run.record.cell.seed for run in stored.runs] == [1]
    (warning,) = stored.warnings
    assert warning.startswith(f"{path}: ")
    assert problem in warning


def test_a_truncated_record_leaves_the_run_out(make_run: RunFactory, runs: Path) -> None:
    path = make_run() / "record.json"
    path.write_bytes(path.read_bytes()[:1000])

    stored = load_runs(runs)

    assert stored.runs == []
    assert stored.warnings[0].startswith(f"{path}: ")
    assert "\n" not in stored.warnings[0]


def test_one_line_has_no_breaks_and_nothing_that_a_terminal_obeys() -> None:
    assert one_line("a\r\nb\tc\x1b[31m") == "a b c?[31m"
    assert one_line("abcdef", max_length=3) == "abc ..."
    assert one_line("abc", max_length=3) == "abc"
