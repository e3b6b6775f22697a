from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate import PartialState
from accelerate.tracking import TensorBoardTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.datasets.base import Dataset
from harness.errors import HardwareError
from harness.record import Record
from harness.settings import Settings, check_trackers
from tests.harness.run_helpers import RunFunction, run_in, small_cell

SCRIPT = Path(__file__).parents[2] / "harness" / "run.py"
TENSORBOARD = Settings(track=("tensorboard",))
NAMES = ["images_per_s", "lr", "train_loss", "val_accuracy", "val_loss"]


@pytest.fixture(autouse=True)
def state() -> PartialState:
    """What the trackers ask who they are, as `start_process` makes it."""
    return PartialState(cpu=True)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name of the one run in TensorBoard's folder."""
    (run_dir,) = folder.iterdir()
    events = EventAccumulator(str(run_dir))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def assert_is_history(found: dict[str, list[tuple[int, float]]], record: Record) -> None:
    assert sorted(found) == NAMES
    for name in ("train_loss", "val_loss", "val_accuracy", "lr"):
        assert [step for step, _ in found[name]] == [row.epoch for row in record.history]
        expected = [getattr(row, name) for row in record.history]
        assert [value for _, value in found[name]] == pytest.approx(expected, rel=1e-6)  # of 32 bits
    assert [step for step, _ in found["images_per_s"]] == [row.epoch for row in record.history]
    assert all(speed > 0 for _, speed in found["images_per_s"])


def test_tensorboard_gets_every_epoch_and_the_cell(run: RunFunction, tmp_path: Path) -> None:
    _, plain, _ = run("plain")
    record, tracked, _ = run("tracked", settings=TENSORBOARD)
    assert tracked["test_logits"].tobytes() == plain["test_logits"].tobytes()
    assert_is_history(scalars(tmp_path / "tracking"), record)
    (run_dir,) = (tmp_path / "tracking").iterdir()
    cell = small_cell()
    assert run_dir.name == f"{cell.label()} {cell.cell_id}"
    (config,) = run_dir.glob("*/hparams.yml")
    values = yaml.safe_load(config.read_text())
    assert (values["model"], values["recipe.epochs"], values["pretrained"]) == ("simple_cnn", 2, None)
    assert json.loads((tmp_path / "tracked" / "tracking.json").read_text()) == {"tensorboard": run_dir.name}


def test_a_cell_that_goes_on_goes_on_in_the_same_run(
    run: RunFunction, striped_images: Dataset, tmp_path: Path
) -> None:
    settings = Settings(track=("tensorboard",), until_epoch=1)
    assert run_in(striped_images, tmp_path / "run", settings=settings) is None
    record, _, _ = run("run", settings=TENSORBOARD)
    assert_is_history(scalars(tmp_path / "tracking"), record)
    assert len(list(tmp_path.glob("tracking/*/*/hparams.yml"))) == 1


@pytest.mark.parametrize("method", ["start", "store_init_configuration", "log", "finish"])
def test_a_tracker_that_fails_is_one_warning_and_the_training_goes_on(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route to\nthe host")

    monkeypatch.setattr(TensorBoardTracker, method, fail)
    record, _, _ = run("run", settings=TENSORBOARD)
    assert record.status == "finished"
    log = (tmp_path / "run" / "log.txt").read_text().splitlines()
    warning = "  warning: no more is told to tensorboard: ConnectionError: no route to the host"
    assert [line[9:] for line in log if "warning" in line] == [warning]


def test_a_tracking_folder_that_cannot_be_made_is_a_warning(run: RunFunction, tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text("a file")
    record, _, _ = run("run", settings=TENSORBOARD)
    assert record.status == "finished"
    assert (
        "warning: no more is told to tensorboard: FileExistsError"
        in (tmp_path / "run" / "log.txt").read_text()
    )


def test_a_tracker_without_its_package_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    missing = [name for name in ("mlflow", "wandb") if importlib.util.find_spec(name) is None]
    if not missing:
        pytest.skip("every tracker's package is installed")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--track", f"tensorboard,{missing[0]}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --track {missing[0]}: the package {missing[0]} is not installed: "
        f"pip install 'verdict-bench[{missing[0]}]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_packages_name_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed")
    (tmp_path / "mlflow").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HardwareError, match="the package mlflow is not installed"):
        check_trackers(("mlflow",))


@pytest.mark.filterwarnings("default")
def test_wandb_goes_on_in_the_same_run(
    run: RunFunction, striped_images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    paused = Settings(track=("wandb",), until_epoch=1)
    assert run_in(striped_images, tmp_path / "run", settings=paused) is None
    run("run", settings=Settings(track=("wandb",)))
    known: dict[str, Any] = json.loads((tmp_path / "run" / "tracking.json").read_text())
    names = [path.name for path in (tmp_path / "tracking" / "wandb").glob("offline-run-*")]
    assert len(names) == 2
    assert all(name.endswith(known["wandb"]) for name in names)
    assert "warning" not in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.filterwarnings("default")
def test_mlflow_goes_on_in_the_same_run(
    run: RunFunction, striped_images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    paused = Settings(track=("mlflow",), until_epoch=1)
    assert run_in(striped_images, tmp_path / "run", settings=paused) is None
    record, _, _ = run("run", settings=Settings(track=("mlflow",)))
    (found,) = mlflow.search_runs(experiment_names=["verdict"], output_format="list")
    history = mlflow.tracking.MlflowClient().get_metric_history(found.info.run_id, "val_accuracy")
    assert [(each.step, each.value) for each in history] == [
        (row.epoch, row.val_accuracy) for row in record.history
    ]
    assert found.data.params["recipe.epochs"] == "2"
