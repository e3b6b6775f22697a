"""`python -m results publish`, on run folders as the harness leaves them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.console import EXIT_BAD_INPUT, run_command
from harness.errors import DataError
from harness.record import Failure, read_record, write_record
from results.__main__ import app
from results.publish.best import BEST_COLUMNS, best_of_leagues
from results.publish.compact import publish_run
from results.publish.spent import time_spent
from results.store import load_runs
from tests.results.conftest import RunFactory


def publish(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["results", "publish", *map(str, arguments)])
    return run_command(app, prog_name="results")


def add_attempt(run_dir: Path, failed: Path, kind: str, burnt_s: float) -> None:
    """An earlier attempt of a run, with the failure of another."""
    record = read_record(failed)
    assert record is not None
    assert record.failure is not None
    failure = record.failure.model_copy(update={"kind": kind, "burnt_s": burnt_s})
    attempts = run_dir / "attempts"
    attempts.mkdir(exist_ok=True)
    text = record.model_copy(update={"failure": failure}).model_dump_json()
    (attempts / f"{len(list(attempts.iterdir())) + 1:03d}.json").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "published" / "two-cores"


def test_the_copy_has_the_same_predictions_and_no_weights(make_run: RunFactory, folder: Path) -> None:
    run_dir = make_run(170)
    (run_dir / "model.safetensors").write_bytes(b"weights")
    (run_dir / "log.txt").write_text("at /home/ann")
    publish_run(run_dir, folder / "runs", "two-cores")
    copy = folder / "runs" / run_dir.name
    assert sorted(path.name for path in copy.iterdir()) == ["cell.json", "predictions.npz", "record.json"]
    with np.load(run_dir / "predictions.npz") as before, np.load(copy / "predictions.npz") as after:
        assert before.files == after.files
        for name in before.files:
            np.testing.assert_array_equal(before[name], after[name])
            assert before[name].dtype == after[name].dtype
    assert (copy / "predictions.npz").stat().st_size < (run_dir / "predictions.npz").stat().st_size
    assert load_runs(folder / "runs").runs[0].scores == load_runs(run_dir.parent).runs[0].scores


def test_a_record_loses_hostname_and_paths_and_nothing_else(make_run: RunFactory, folder: Path) -> None:
    run_dir = make_run(record={"command": "harness/run.py --out /home/ann/runs"})
    publish_run(run_dir, folder / "runs", "two-cores")
    before, after = read_record(run_dir), read_record(folder / "runs" / run_dir.name)
    assert before is not None
    assert after is not None
    assert before.environment is not None
    assert before.in_effect is not None
    environment = before.environment.model_copy(update={"hostname": "two-cores"})
    in_effect = before.in_effect.model_copy(update={"devices": ("two-cores cpu",)})
    assert after == before.model_copy(
        update={
            "environment": environment,
            "in_effect": in_effect,
            "command": "harness/run.py --out runs",
        }
    )


def test_everything_is_there_and_can_be_read_again(
    make_run: RunFactory,
    make_failed_run: RunFactory,
    runs: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = make_run(188)
    make_run(150, cell={"model": "resnet20"})
    make_failed_run(seed=5)
    assert publish(monkeypatch, runs, folder) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "report.html", "memo.md", "memo-accuracy.svg", "memo-compute.svg", "runs"} <= names
    assert len(load_runs(folder / "runs").runs) == 3
    assert len((folder / "runs" / "results.csv").read_text().splitlines()) == 4
    page = (folder / "README.md").read_text()
    assert "from scratch | fast\\_cnn, flip\\_crop | 94.00% \\[89.81, 96.53\\] | 94.9% | 1.97M" in page
    assert best.name in page
    assert "node1" not in page
    assert str(folder.parent) not in page  # outside the project only its name is said


def test_publishing_again_changes_nothing(
    make_run: RunFactory, runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    assert publish(monkeypatch, runs, folder) == 0
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".md", ".json", ".csv")
    }
    assert publish(monkeypatch, runs, folder) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_run_is_left_out_and_named(
    make_run: RunFactory,
    runs: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_run()
    damaged = make_run(cell={"seed": 1})
    (damaged / "predictions.npz").write_bytes(b"PK\x03\x04 cut off")
    assert publish(monkeypatch, runs, folder) == 0
    assert f"left out: {damaged}" in capsys.readouterr().err.replace("\n", " ")
    assert not (folder / "runs" / damaged.name).exists()


@pytest.mark.parametrize("name", ["robustness.npz", "attempts/001.json"])
def test_a_run_with_another_damaged_file_leaves_nothing_half(
    make_run: RunFactory, folder: Path, name: str
) -> None:
    damaged = make_run()
    (damaged / name).parent.mkdir(exist_ok=True)
    (damaged / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=name.split("/")[-1]):
        publish_run(damaged, folder / "runs", "two-cores")
    assert not (folder / "runs").exists()


def test_a_finished_run_is_not_replaced_by_one_that_failed(make_run: RunFactory, folder: Path) -> None:
    run_dir = make_run()
    publish_run(run_dir, folder / "runs", "two-cores")
    record = read_record(run_dir)
    assert record is not None
    failure = Failure(kind="killed", message="x", log_tail="", burnt_s=1.0)
    write_record(run_dir, record.model_copy(update={"status": "failed", "failure": failure}))
    with pytest.raises(DataError, match="has failed, and is published as finished: that is kept"):
        publish_run(run_dir, folder / "runs", "two-cores")
    published = read_record(folder / "runs" / run_dir.name)
    assert published is not None
    assert published.status == "finished"


def test_answers_of_an_earlier_training_do_not_stay(make_run: RunFactory, folder: Path) -> None:
    run_dir = make_run()
    publish_run(run_dir, folder / "runs", "two-cores")
    old = folder / "runs" / run_dir.name / "robustness.npz"
    old.write_bytes(b"of the same training")
    publish_run(run_dir, folder / "runs", "two-cores")
    assert old.exists()
    record = read_record(run_dir)
    assert record is not None
    write_record(run_dir, record.model_copy(update={"started_at": "2031-01-01T00:00:00+00:00"}))
    publish_run(run_dir, folder / "runs", "two-cores")
    assert not old.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--assumptions", "nothing.yaml"),
        ("--set", "nonsense=1"),
        ("--audit", "nothing"),
        ("--data-dir", "nothing"),
    ],
)
def test_bad_options_are_said_before_anything_is_written(
    make_run: RunFactory, runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str]
) -> None:
    make_run()
    assert publish(monkeypatch, runs, folder, *options) == EXIT_BAD_INPUT
    assert not folder.exists()


def test_the_page_of_another_is_not_replaced(
    make_run: RunFactory,
    runs: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_run()
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("my project")
    assert publish(monkeypatch, runs, folder) == EXIT_BAD_INPUT
    assert "was not written by this command: name a folder of its own" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert (folder / "README.md").read_text() == "my project"


def test_a_folder_without_runs_is_one_line(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert publish(monkeypatch, tmp_path / "empty", folder) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("error: no runs in")
    assert not folder.exists()


def test_the_published_copy_is_not_published_onto_itself(
    make_run: RunFactory,
    runs: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_run()
    assert publish(monkeypatch, runs, folder) == 0
    assert publish(monkeypatch, folder / "runs", folder) == EXIT_BAD_INPUT
    assert "is the published copy" in capsys.readouterr().err


def test_time_is_told_apart_into_spent_stopped_and_lost(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path, folder: Path
) -> None:
    finished = make_run(measurements={"wall_time_s": 3500.0, "launch_time_s": 100.0})
    failed = make_failed_run(seed=1)
    make_failed_run("promoted no further", kind="pruned", seed=2)
    add_attempt(finished, failed, "killed", 36.0)
    add_attempt(finished, failed, "pruned", 1000.0)  # the finished run went on from there
    for run_dir in list(runs.iterdir()):
        publish_run(run_dir, folder / "runs", "two-cores")
    for where in (runs, folder / "runs"):
        spent = time_spent(load_runs(where).runs)
        assert (spent.finished.count, spent.finished.hours, spent.finished.core_hours) == (1, 1.0, 2.0)
        assert spent.finished.gpu_hours == 0
        assert spent.finished.train_pflop == pytest.approx(0.18)
        assert (spent.stopped.count, spent.stopped.hours) == (1, 12.5 / 3600)
        assert spent.lost.count == 2
        assert spent.lost.hours == pytest.approx((12.5 + 36.0) / 3600)


def test_gpu_hours_are_those_of_all_processes(make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run(measurements={"wall_time_s": 3600.0})
    record = read_record(run_dir)
    assert record is not None
    assert record.environment is not None
    environment = record.environment.model_copy(update={"device_type": "cuda", "num_processes": 8})
    write_record(run_dir, record.model_copy(update={"environment": environment}))
    assert time_spent(load_runs(runs).runs).finished.gpu_hours == 8.0


def test_the_best_of_each_league_is_chosen_on_validation_images(make_run: RunFactory, runs: Path) -> None:
    from results.index.load import load_table

    def validated(num_right: int) -> dict[str, np.ndarray[Any, Any] | None]:
        labels = np.arange(40) % 3
        taken = np.where(np.arange(40) < num_right, labels, (labels + 1) % 3)
        return {"val_logits": np.eye(3, dtype=np.float32)[taken]}

    chosen = make_run(180, arrays=validated(30))
    make_run(190, cell={"seed": 1}, arrays=validated(20))  # better on the test images, by luck
    pretrained = make_run(
        185, cell={"pretrained": "hub", "model": "torchvision:resnet18"}, arrays=validated(10)
    )
    best = best_of_leagues(load_table(runs, BEST_COLUMNS))
    assert [(each.league, each.cell_id) for each in best] == [
        ("from scratch", chosen.name),
        ("pre-trained", pretrained.name),
    ]
    assert best[0].accuracy_percent == 90.0
    assert best[0].accuracy_share == pytest.approx(100 * 90 / 99)
    assert best[1].compute_share_at_most is None  # what made its weights is not counted
    assert best[0].compute_share_at_most == pytest.approx(100 * 0.18 / 2386.3, rel=1e-3)


def test_the_corruptions_of_the_leaders_become_a_picture(tmp_path: Path) -> None:
    from results.publish.heat_map import heat_map
    from results.report.values import Column, Entry, Table

    table = Table(
        "corruptions",
        "Accuracy under corruption, %",
        (Column("corruption", "text"), Column("fast_cnn"), Column("mlp")),
        (
            (Entry("fog"), Entry("71.2", "71.2", 0.3), Entry("40.0", "40", 0.9)),
            (Entry("snow"), Entry("66.0", "66", 0.4), Entry("—")),
        ),
        is_matrix=True,
    )
    other = replace(
        table,
        columns=(table.columns[0], Column("resnet18"), Column("mlp")),
        rows=((Entry("fog"), Entry("88.8"), Entry("77.7")),),
    )
    svg = heat_map([table, other])
    shown = ("fog", "snow", "fast_cnn", "mlp", "71.2", "40.0", "—", "resnet18", "88.8", "77.7")
    for text in (*shown, "mlp (other league)"):
        assert f">{text}<" in svg
