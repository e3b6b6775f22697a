"""A training that was stopped goes on as if it had not been: the same losses, logits and bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from harness.datasets.base import Dataset
from harness.errors import StorageError
from harness.live import live_path, read_live
from harness.progress import CellProgress
from harness.sampler import Sampler
from harness.settings import Settings
from harness.usage import Usage, nothing_measured
from models.registry import build_model
from tests.harness.run_helpers import RunFunction, run_in

STEPS_PER_EPOCH = 9  # 180 images to train on, in batches of 20

Stop = Callable[[int], None]


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Sends this process SIGTERM after so many steps, once."""
    step = CellProgress.step

    def arrange(num_steps: int) -> None:
        left = [num_steps]

        def counted(self: CellProgress) -> None:
            step(self)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(CellProgress, "step", counted)

    return arrange


def save_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step = CellProgress.step

    def save_now(self: CellProgress) -> None:
        step(self)
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(CellProgress, "step", save_now)


def assert_same_bits(arrays: dict[str, Any], expected: dict[str, Any]) -> None:
    assert arrays.keys() == expected.keys()
    for name in arrays:
        assert arrays[name].tobytes() == expected[name].tobytes(), name


MUON = {"optimizer": "muon", "muon_lr": 0.05, "lr": 0.05}
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"recipe": {}},
    "average, bf16": {"model": "fast_cnn", "precision": "bf16", "recipe": {"ema_decay": 0.9}},
    "adamw": {"model": "vit_tiny", "image_size": 16, "recipe": {"optimizer": "adamw", "lr": 1e-3}},
    "muon on the hardest": {"model": "fast_cnn", "recipe": MUON | {"keep_hardest": 0.5}},
    "resizing, mixing": {
        "augmentation": "cutmix",
        "model": "resnet20",
        "image_size": 16,
        "recipe": {"start_scale": 0.5},
    },
    "nothing held out": {"val_fraction": 0, "recipe": {}},
    "micro-batches": {"accumulation_steps": 2, "recipe": {}},
    "dropout": {"model": "torchvision:squeezenet1_1", "recipe": {"lr": 0.01}},
}
IN_BF16 = ("average, bf16", "muon on the hardest")


@pytest.mark.parametrize(
    ("kind", "num_steps"),
    [
        ("sgd", 1),
        ("sgd", STEPS_PER_EPOCH),
        *(
            # Muon makes its updates orthogonal in bf16.
            pytest.param(kind, STEPS_PER_EPOCH + 4, marks=pytest.mark.bf16 if kind in IN_BF16 else ())
            for kind in KINDS
        ),
    ],
)
def test_a_stopped_training_goes_on_bit_for_bit(
    run: RunFunction, stop_after: Stop, kind: str, num_steps: int
) -> None:
    values = {**KINDS[kind], "recipe": {"epochs": 3, **KINDS[kind]["recipe"]}}
    _, predictions, steps = run("whole", **values)
    stop_after(num_steps)
    with pytest.raises(KeyboardInterrupt):
        run("stopped", **values)
    record, again, steps_again = run("stopped", **values)
    assert steps_again["loss"].tobytes() == steps["loss"].tobytes()
    assert_same_bits(again, predictions)
    assert record.measurements is not None
    assert record.measurements.num_resumes == 1
    assert record.measurements.num_steps == len(steps_again["time_s"]) == len(steps["time_s"])


def test_gradual_unfreezing_goes_on_with_the_layers_of_its_epoch(
    run: RunFunction, stop_after: Stop, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet20", num_classes=3, image_size=32).state_dict(), path)
    recipe = {"tuning": "gradual", "layer_lr_decay": 0.7, "epochs": 4, "optimizer": "adamw", "lr": 0.003}
    values = {"model": "resnet20", "image_size": 16, "pretrained": f"file:{path}", "recipe": recipe}
    _, predictions, _ = run("whole", **values)
    stop_after(2 * STEPS_PER_EPOCH + 1)
    with pytest.raises(KeyboardInterrupt):
        run("stopped", **values)
    assert_same_bits(run("stopped", **values)[1], predictions)


def test_a_training_stopped_twice_goes_on_twice(run: RunFunction, stop_after: Stop) -> None:
    _, predictions, _ = run("whole", recipe={"epochs": 3})
    for num_steps in (5, 7):
        stop_after(num_steps)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", recipe={"epochs": 3})
    record, again, _ = run("stopped", recipe={"epochs": 3})
    assert_same_bits(again, predictions)
    assert record.measurements is not None
    assert record.measurements.num_resumes == 2


def test_the_times_of_both_attempts_add_up(run: RunFunction, stop_after: Stop) -> None:
    stop_after(STEPS_PER_EPOCH + 1)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    record, _, steps = run("stopped")
    measured = record.measurements
    assert measured is not None
    assert measured.train_time_s + measured.first_step_time_s >= steps["time_s"].sum() * 0.99
    in_epochs = sum(row.train_time_s for row in record.history)
    assert in_epochs == pytest.approx(measured.train_time_s + measured.first_step_time_s)
    assert 0 <= measured.other_time_s < 0.1 * measured.wall_time_s


def test_the_energy_of_both_attempts_adds_up(
    run: RunFunction, stop_after: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SteadySampler(Sampler):
        """Each attempt uses 100 J in 4 s, 80 J of them for training."""

        def read(self) -> Usage:
            used = nothing_measured("this host", "not read")
            values = {"energy_j": 100.0, "train_energy_j": 80.0, "mean_power_w": 25.0}
            reasons = {name: why for name, why in used.reasons.items() if name not in values}
            return replace(used, measured_s=4.0, reasons=reasons, **cast(Any, values))

    monkeypatch.setattr("harness.run_cell.Sampler", SteadySampler)
    stop_after(STEPS_PER_EPOCH + 1)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    record, _, _ = run("stopped")
    measured = record.measurements
    assert measured is not None
    assert (measured.energy_j, measured.train_energy_j, measured.mean_power_w) == (200, 160, 25)
    assert record.unavailable["evaluate_energy_j"] == "not read"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    run: RunFunction, stop_after: Stop, tmp_path: Path
) -> None:
    _, predictions, _ = run("whole", recipe={"epochs": 3})
    for num_steps in (5, 7):
        stop_after(num_steps)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", recipe={"epochs": 3})
    newest = max((tmp_path / "stopped" / "checkpoint").iterdir())
    assert newest.name == "step-00000012"
    (newest / "state.pt").write_bytes(b"not a checkpoint")
    assert_same_bits(run("stopped", recipe={"epochs": 3})[1], predictions)
    assert "step-00000012 is damaged" in (tmp_path / "stopped" / "log.txt").read_text()


def test_a_finished_cell_keeps_no_checkpoint(run: RunFunction, stop_after: Stop, tmp_path: Path) -> None:
    stop_after(3)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    assert (tmp_path / "stopped" / "checkpoint").exists()
    run("stopped")
    assert not (tmp_path / "stopped" / "checkpoint").exists()


def test_a_training_that_saves_and_goes_on_counts_the_time_of_that(
    run: RunFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, predictions, _ = run("whole")
    save_after_each_step(monkeypatch)
    record, again, _ = run("saved")
    assert_same_bits(again, predictions)
    assert record.measurements is not None
    assert record.measurements.checkpoint_time_s > 0
    assert record.measurements.num_resumes == 0


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_training_goes_on(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_after_each_step(monkeypatch)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").write_text("a file where the folder should be")
    record, _, steps = run(recipe={"epochs": 1})
    assert record.status == "finished"
    assert np.isfinite(steps["loss"]).all()
    assert "warning: no checkpoint: cannot write" in (tmp_path / "run" / "log.txt").read_text()


def until(epoch: int, **settings: Any) -> Settings:
    return Settings(until_epoch=epoch, checkpoint_minutes=0, **settings)


@pytest.mark.parametrize(
    "kind",
    [
        "sgd",
        pytest.param("average, bf16", marks=[pytest.mark.slow, pytest.mark.bf16]),
        "resizing, mixing",
        pytest.param("dropout", marks=pytest.mark.slow),
    ],
)
def test_a_training_that_paused_twice_goes_on_bit_for_bit(
    run: RunFunction, striped_images: Dataset, tmp_path: Path, kind: str
) -> None:
    values = {**KINDS[kind], "recipe": {"epochs": 4, **KINDS[kind]["recipe"]}}
    whole, predictions, steps = run("whole", **values)
    for epoch in (1, 3):
        assert run_in(striped_images, tmp_path / "paused", **values, settings=until(epoch)) is None
        live = read_live(tmp_path / "paused")
        assert live is not None
        assert (live.phase, live.epoch, live.epochs) == ("paused", epoch, 4)
        assert (live.step, live.steps) == (epoch * STEPS_PER_EPOCH, 4 * STEPS_PER_EPOCH)
        row = whole.history[epoch - 1]
        assert (live.train_loss, live.val_accuracy) == (row.train_loss, row.val_accuracy)
    record, again, steps_again = run("paused", **values, settings=until(4))
    assert steps_again["loss"].tobytes() == steps["loss"].tobytes()
    assert_same_bits(again, predictions)
    assert record.measurements is not None
    assert record.measurements.num_resumes == 2
    assert record.selected_epoch == whole.selected_epoch


def test_a_pause_leaves_a_checkpoint_and_no_record(striped_images: Dataset, tmp_path: Path) -> None:
    assert run_in(striped_images, tmp_path, settings=until(1)) is None
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cell.json", "checkpoint", "live.json", "log.txt"]
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == [f"step-{STEPS_PER_EPOCH:08}"]
    assert (tmp_path / "log.txt").read_text().endswith("  paused after epoch 1\n")


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_that_is_further_pauses_at_once(
    striped_images: Dataset, tmp_path: Path, stop_after: Stop, epoch: int
) -> None:
    values: dict[str, Any] = {"recipe": {"epochs": 4}}
    stop_after(2 * STEPS_PER_EPOCH + 5)  # within the third epoch
    with pytest.raises(KeyboardInterrupt):
        run_in(striped_images, tmp_path, **values)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoint").rglob("*")}
    live_path(tmp_path).unlink()
    assert run_in(striped_images, tmp_path, **values, settings=until(epoch)) is None
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoint").rglob("*")} == before
    live = read_live(tmp_path)
    assert live is not None
    assert (live.phase, live.epoch, live.step) == ("paused", 2, 2 * STEPS_PER_EPOCH + 5)
    assert live.val_accuracy is not None


def test_the_checkpoint_of_each_epoch_is_not_written_twice_at_a_pause(
    striped_images: Dataset, tmp_path: Path
) -> None:
    assert run_in(striped_images, tmp_path, settings=until(1, checkpoint_epochs=1)) is None
    assert len(list((tmp_path / "checkpoint").iterdir())) == 1


def test_a_pause_after_the_last_epoch_is_none(run: RunFunction, tmp_path: Path) -> None:
    record, _, _ = run("run", settings=until(2))
    assert record.status == "finished"
    assert not live_path(tmp_path / "run").exists()


def test_a_pause_whose_checkpoint_cannot_be_written_is_an_error(
    striped_images: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write"):
        run_in(striped_images, tmp_path, settings=until(1))
    assert not (tmp_path / "record.json").exists()
