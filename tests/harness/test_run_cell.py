from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.clock import LEDGER
from harness.datasets.base import Dataset
from harness.errors import DivergedError, HardwareError, UsageError
from harness.preparing import check_cell
from harness.process import Process
from harness.record import read_record
from harness.scoring import score
from harness.settings import Settings
from harness.stored_model import load_stored_model
from harness.train import _snapshot
from harness.training_state import Loop
from results.robustness import read_robustness
from tests.harness.run_helpers import ONE_PROCESS, RunFunction, small_cell


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"precision": "bf16", "model": "fast_cnn"}, marks=pytest.mark.bf16),
        {"model": "resnet20", "image_size": 16},
    ],
)
def test_the_same_cell_twice_gives_the_same_bits(run: RunFunction, changes: dict[str, Any]) -> None:
    _, first, first_steps = run("a", **changes)
    _, second, second_steps = run("b", **changes)
    assert first_steps["loss"].tobytes() == second_steps["loss"].tobytes()
    assert first["test_logits"].tobytes() == second["test_logits"].tobytes()


def test_another_seed_gives_other_losses_on_the_same_validation_images(run: RunFunction) -> None:
    _, first, first_steps = run("a", seed=0)
    _, second, second_steps = run("b", seed=1)
    assert not np.allclose(first_steps["loss"], second_steps["loss"])
    np.testing.assert_array_equal(first["val_indices"], second["val_indices"])


@pytest.mark.parametrize("accumulation_steps", [2, 4])
def test_accumulated_micro_batches_equal_one_batch(run: RunFunction, accumulation_steps: int) -> None:
    _, whole, whole_steps = run("whole")
    _, parts, parts_steps = run("parts", accumulation_steps=accumulation_steps)
    np.testing.assert_allclose(parts_steps["loss"], whole_steps["loss"], rtol=1e-5)
    np.testing.assert_allclose(parts["test_logits"], whole["test_logits"], atol=1e-4)


def test_training_learns_and_the_record_says_what_was_done(run: RunFunction) -> None:
    record, predictions, steps = run(recipe={"epochs": 4})
    correct = predictions["test_logits"].argmax(axis=1) == predictions["test_labels"]
    assert correct.mean() > 0.9
    assert len(predictions["test_logits"]) == 61
    assert (record.num_fit_images, record.num_val_images) == (180, 20)
    assert record.model is not None
    assert record.measurements is not None
    assert record.model.total_train_flops == record.model.train_flops_per_image * 4 * 180
    assert record.measurements.num_steps == len(steps["loss"]) == len(steps["time_s"]) == 4 * 9
    assert record.measurements.peak_allocated_mib is None
    assert "CUDA" in record.unavailable["peak_allocated_mib"]


def test_time_ledger_adds_up_to_the_wall_time(run: RunFunction) -> None:
    record, _, steps = run()
    spent = record.measurements
    assert spent is not None
    named = sum(getattr(spent, f"{name}_time_s") for name in LEDGER)
    assert named + spent.other_time_s == pytest.approx(spent.wall_time_s, rel=1e-6)
    assert 0 <= spent.other_time_s < 0.01 * spent.wall_time_s
    assert spent.first_step_time_s > 0
    assert steps["time_s"].sum() <= spent.train_time_s + spent.first_step_time_s


def test_whatever_is_not_measured_has_a_reason(run: RunFunction) -> None:
    record, _, _ = run(settings=Settings(save_weights=False))
    assert record.measurements is not None
    missing = {name for name, value in record.measurements if value is None}
    assert missing <= set(record.unavailable), missing - set(record.unavailable)
    assert all(record.unavailable.values())


def test_memory_latency_and_the_share_of_the_peak_are_measured_on_a_cpu(run: RunFunction) -> None:
    record, _, _ = run()
    found = record.measurements
    assert found is not None
    assert found.peak_tree_mib is not None
    assert found.peak_resident_mib is not None
    assert 0 < found.peak_tree_mib < 2 * found.peak_resident_mib
    assert found.mfu_percent is not None
    assert 0 < found.mfu_percent < 100
    assert "measured matrix product" in str(found.peak_flops_source)
    assert found.latency_batch1_p50_ms is not None
    assert found.inference_images_per_s is not None
    assert found.inference_images_per_s > 500 / found.latency_batch1_p50_ms
    assert found.weights_mib == pytest.approx(0.24, abs=0.05)


def test_the_stored_weights_give_the_logits_that_were_scored(
    run: RunFunction, striped_images: Dataset, tmp_path: Path
) -> None:
    _, predictions, _ = run(recipe={"epochs": 3, "ema_decay": 0.9})
    stored = load_stored_model(tmp_path / "run", torch.device("cpu"))
    images = torch.from_numpy(striped_images.test.images)
    with torch.no_grad():
        logits = stored.module(stored.normalize(images))
    np.testing.assert_allclose(logits.numpy(), predictions["test_logits"], atol=1e-4)


def test_robustness_is_measured_where_it_is_asked_for(run: RunFunction, tmp_path: Path) -> None:
    record, predictions, _ = run(settings=Settings(robustness="quick"))
    found = read_robustness(tmp_path / "run", record)
    assert found is not None
    assert found.num_images == 61
    right = predictions["test_logits"].argmax(axis=1) == predictions["test_labels"]
    assert found.clean_accuracy == right.mean()
    assert not (tmp_path / "run" / "live.json").exists()


def test_robustness_that_cannot_be_measured_costs_the_cell_nothing(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: object, **__: object) -> None:
        raise DivergedError("not finite")

    monkeypatch.setattr("harness.run_cell.measure_robustness", diverges)
    record, _, _ = run(settings=Settings(robustness="quick"))
    assert record.status == "finished"
    assert "warning: no robustness: not finite" in (tmp_path / "run" / "log.txt").read_text()
    assert not (tmp_path / "run" / "live.json").exists()


def test_a_stop_while_the_cell_is_scored_loses_nothing(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*values: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return score(*values)

    monkeypatch.setattr("harness.run_cell.score", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(settings=Settings(robustness="quick"))
    record = read_record(tmp_path / "run")
    assert record is not None
    assert record.status == "finished"
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model.safetensors", "predictions.npz"} <= left
    assert not left & {"live.json", "robustness.npz", ".reserved", ".weights.reserved"}


def test_files_of_an_earlier_attempt_are_not_taken_for_those_of_this_one(
    run: RunFunction, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    for name in ("model.safetensors", "robustness.npz"):
        (tmp_path / "run" / name).write_bytes(b"old")
    run(settings=Settings(save_weights=False))
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert not left & {"model.safetensors", "robustness.npz"}


def test_weights_are_not_kept_where_that_is_not_wanted(run: RunFunction, tmp_path: Path) -> None:
    run(settings=Settings(save_weights=False))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_the_best_epoch_on_the_validation_images_is_the_one_that_is_scored(run: RunFunction) -> None:
    record, predictions, _ = run(recipe={"epochs": 5, "lr": 0.1})
    best = max(record.history, key=lambda row: (row.val_accuracy or 0, -(row.val_loss or 0)))
    assert record.selected_epoch == best.epoch
    correct = predictions["val_logits"].argmax(axis=1) == predictions["val_labels"]
    assert correct.mean() == pytest.approx(best.val_accuracy)


def test_without_validation_images_the_last_epoch_counts(run: RunFunction) -> None:
    record, predictions, _ = run(val_fraction=0, recipe={"epochs": 3})
    assert record.selected_epoch == 3
    assert record.num_fit_images == 200
    assert predictions["val_logits"].shape == (0, 3)
    assert all(row.val_accuracy is None for row in record.history)


def test_mirrored_logits_are_a_figure_of_their_own(run: RunFunction) -> None:
    _, plain, _ = run("plain")
    _, mirrored, _ = run("mirrored", mirror_tta=True)
    np.testing.assert_array_equal(plain["test_logits"], mirrored["test_logits"])
    assert "test_tta_logits" not in plain
    assert not np.array_equal(mirrored["test_tta_logits"], mirrored["test_logits"])


def test_the_moving_average_is_what_is_scored(run: RunFunction) -> None:
    _, plain, plain_steps = run("plain", val_fraction=0)
    _, averaged, averaged_steps = run("averaged", val_fraction=0, recipe={"ema_decay": 0.9})
    np.testing.assert_array_equal(plain_steps["loss"], averaged_steps["loss"])
    assert not np.allclose(plain["test_logits"], averaged["test_logits"])


@pytest.mark.parametrize(("ema_decay", "num_copies"), [(None, 0), (0.9, 1)])
def test_the_weights_of_the_last_epoch_are_copied_only_if_they_are_an_average(
    run: RunFunction, monkeypatch: pytest.MonkeyPatch, ema_decay: float | None, num_copies: int
) -> None:
    copies: list[object] = []

    def snapshot(loop: Loop) -> dict[str, torch.Tensor]:
        copies.append(loop)
        return _snapshot(loop)

    monkeypatch.setattr("harness.train._snapshot", snapshot)
    run(val_fraction=0, recipe={"epochs": 2, "ema_decay": ema_decay})
    assert len(copies) == num_copies


def test_divergence_is_an_error_and_a_record(run: RunFunction, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="at epoch 1, step"):
        run(recipe={"lr": 1e30})
    record = read_record(tmp_path / "run")
    assert record is not None
    assert record.status == "failed"
    assert record.failure is not None
    assert record.failure.kind == "diverged"
    assert "(its peak is 1e+30)" in record.failure.message
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "cell.json",
        "log.txt",
        "record.json",
    ]


def test_logits_that_are_not_finite_are_divergence_too(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: torch.nn.Module, images: Any, *args: object, **options: object) -> torch.Tensor:
        return torch.full((len(images), 3), float("nan"))

    monkeypatch.setattr("harness.scoring.predict", broken)
    with pytest.raises(DivergedError, match="not finite"):
        run()
    record = read_record(tmp_path / "run")
    assert record is not None
    assert record.failure is not None
    assert record.failure.kind == "diverged"
    assert not (tmp_path / "run" / "predictions.npz").exists()


def test_a_failed_cell_can_be_run_again_and_keeps_its_history(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr("harness.run_cell.train", broken)
        with pytest.raises(RuntimeError, match="a bug of ours"):
            run()
    record, _, _ = run()
    assert record.status == "finished"
    attempt = json.loads((tmp_path / "run" / "attempts" / "001.json").read_text())
    assert attempt["failure"]["kind"] == "crashed"


def test_cells_that_cannot_run_here_are_refused_before_anything_is_written(
    striped_images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = small_cell(strategy="ddp", num_processes=2)
    with pytest.raises(HardwareError, match="asks for 2 process"):
        check_cell(two, striped_images, ONE_PROCESS)
    with pytest.raises(HardwareError, match="fp16 is not available on the CPU"):
        check_cell(small_cell(precision="fp16"), striped_images, ONE_PROCESS)
    many = small_cell(strategy="ddp", num_processes=25, recipe={"batch_size": 25})
    processes = Process(0, 0, 25, torch.device("cpu"), "MULTI_CPU", "gloo")
    with monkeypatch.context() as patch:
        patch.setattr("harness.preparing.check_process", lambda *_: None)
        with pytest.raises(UsageError, match=r"20 image\(s\) cannot be scored by 25 processes"):
            check_cell(many, striped_images, processes)
    with pytest.raises(UsageError, match="batch size 500 is larger than the 180 training images"):
        check_cell(small_cell(recipe={"batch_size": 500}), striped_images, ONE_PROCESS)
