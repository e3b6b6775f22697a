"""Run folders as the harness leaves them, built from a real `Record` and a real `predictions.npz`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cell import make_cell
from harness.datasets.base import DataProvenance
from harness.files import write_arrays, write_text
from harness.measurements import Measurements
from harness.record import Environment, Failure, InEffect, ModelFacts, Record, write_record

RunFactory = Callable[..., Path]

CLASS_NAMES = ("cat", "dog", "[bold]ship[/bold]")
NUM_TEST, NUM_VAL = 200, 40


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder that `make_run` and `make_failed_run` fill."""
    return tmp_path / "runs"


@pytest.fixture
def make_run(runs: Path) -> RunFactory:
    """Write one finished run, 180 of its 200 test images right, and return its folder.

    `cell`, `data`, `model`, `measurements`, `in_effect` and `record` replace fields of those values, `arrays`
    replaces arrays of the predictions (None leaves one out).
    """

    def build(
        num_correct: int = 180,
        *,
        num_test: int = NUM_TEST,
        cell: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        measurements: dict[str, Any] | None = None,
        in_effect: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray[Any, Any] | None] | None = None,
    ) -> Path:
        spec = make_cell(**(_cell_values() | (cell or {})))
        provenance = DataProvenance(**(_data_values(num_test) | (data or {})))
        values = {
            "status": "finished",
            "cell_id": spec.cell_id,
            "cell": spec,
            "command": "harness/run.py",
            "started_at": "2026-11-20T10:00:00+00:00",
            "ended_at": "2026-11-20T10:01:00+00:00",
            "environment": _environment(),
            "data": provenance,
            "num_fit_images": 50_000 - NUM_VAL,
            "num_val_images": NUM_VAL,
            "model": ModelFacts(**(_model_values() | (model or {}))),
            "measurements": Measurements(**(_measured_values() | (measurements or {}))),
            "in_effect": InEffect(**(_in_effect_values() | (in_effect or {}))),
            "selected_epoch": 7,
            "unavailable": {"peak_allocated_mib": "no GPU"},
        }
        predictions = _arrays(num_correct, provenance) | (arrays or {})
        run_dir = runs / spec.cell_id
        write_text(run_dir / "cell.json", spec.model_dump_json())
        write_arrays(
            run_dir / "predictions.npz",
            {name: array for name, array in predictions.items() if array is not None},
        )
        write_record(run_dir, Record(**(values | (record or {}))))
        return run_dir

    return build


@pytest.fixture
def make_failed_run(runs: Path) -> RunFactory:
    """Write one failed run and return its folder."""

    def build(message: str = "the loss is not finite", kind: str = "diverged", **cell: Any) -> Path:
        spec = make_cell(**(_cell_values() | cell))
        record = Record(
            status="failed",
            cell_id=spec.cell_id,
            cell=spec,
            command="harness/run.py",
            started_at="2026-11-20T11:00:00+00:00",
            ended_at="2026-11-20T11:00:12+00:00",
            environment=_environment(),
            failure=Failure(kind=kind, message=message, log_tail="", burnt_s=12.5),
        )
        write_record(runs / spec.cell_id, record)
        return runs / spec.cell_id

    return build


def _cell_values() -> dict[str, Any]:
    return {
        "dataset": "cifar10",
        "model": "fast_cnn",
        "augmentation": "flip_crop",
        "recipe": {
            "epochs": 8,
            "batch_size": 512,
            "optimizer": "sgd",
            "lr": 0.5,
            "weight_decay": 5e-4,
            "schedule": "triangular",
        },
        "precision": "bf16",
    }


def _data_values(num_test: int) -> dict[str, Any]:
    return {
        "dataset": "cifar10",
        "source": "data/cifar-10-batches-py",
        "official": True,
        "notes": (),
        "class_names": CLASS_NAMES,
        "image_shape": (3, 32, 32),
        "num_train_images": 50_000,
        "num_test_images": num_test,
        "fingerprint": "abcdef0123456789" * 4,
        "train_fingerprint": "1" * 64,
        "test_fingerprint": "fedcba9876543210" * 4,
    }


def _model_values() -> dict[str, Any]:
    return {
        "num_params": 1_972_792,
        "forward_flops_per_image": 150_000_000,
        "train_flops_per_image": 450_000_000,
        "total_train_flops": 180_000_000_000_000,
    }


def _in_effect_values() -> dict[str, Any]:
    return {
        "devices": ("somewhere cpu",),
        "num_nodes": 1,
        "wrapper": "ConvNet",
        "compute_dtype": "float32",
        "params_per_process": (270_000,),
        "optimizer_values_per_process": (270_000,),
        "num_synchronized_norms": 0,
        "accumulation_steps": 1,
    }


def _measured_values() -> dict[str, Any]:
    return {
        "wall_time_s": 60.0,
        "startup_time_s": 2.0,
        "data_time_s": 1.0,
        "train_time_s": 50.0,
        "evaluate_time_s": 5.0,
        "write_time_s": 1.0,
        "other_time_s": 1.0,
        "num_steps": 776,
        "warmup_steps": 5,
        "images_per_s": 8123.4,
        "peak_resident_mib": 1234.5,
        "later_peak_mib": 1000.5,
        "peak_allocated_mib": None,
        "peak_reserved_mib": None,
    }


def _environment() -> Environment:
    return Environment(
        hostname="node1",
        platform="Linux",
        python="3.11.7",
        torch="2.14.1",
        accelerate="1.15.0",
        verdict="0.1.0",
        git_commit=None,
        device="a processor",
        device_type="cpu",
        num_processes=1,
        distributed_type="NO",
        backend=None,
        threads_per_process=2,
        cuda=None,
        deterministic=True,
    )


def _arrays(num_correct: int, data: DataProvenance) -> dict[str, np.ndarray[Any, Any] | None]:
    num_classes = len(data.class_names)
    labels = np.arange(data.num_test_images, dtype=np.int64) % num_classes
    val_labels = np.arange(NUM_VAL, dtype=np.int64) % num_classes
    return {
        "test_logits": _logits(labels, num_correct, num_classes),
        "test_labels": labels,
        "val_logits": _logits(val_labels, NUM_VAL // 2, num_classes),
        "val_labels": val_labels,
        "val_indices": np.arange(NUM_VAL, dtype=np.int64),
        "class_names": np.array(data.class_names),
        "test_fingerprint": np.array(data.test_fingerprint),
    }


def _logits(labels: np.ndarray[Any, Any], num_correct: int, num_classes: int) -> np.ndarray[Any, Any]:
    """Logits that get the first `num_correct` images right and every other one wrong."""
    wrong = np.arange(len(labels)) >= num_correct
    logits = np.zeros((len(labels), num_classes), np.float32)
    logits[np.arange(len(labels)), (labels + wrong) % num_classes] = 1
    return logits
