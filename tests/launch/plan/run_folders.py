"""Run folders as the harness leaves them, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.cell import CellSpec, make_cell
from harness.datasets.base import DataProvenance
from harness.files import write_arrays, write_text
from harness.measurements import Measurements
from harness.recipes import recipe_for
from harness.record import (
    Environment,
    EpochRow,
    Failure,
    ModelFacts,
    Record,
    write_record,
)

CLASS_NAMES = tuple("0123456789")
NUM_TRAIN, NUM_VAL, NUM_TEST = 1438, 144, 359


def digits_cell(model: str = "mlp", augmentation: str = "none", seed: int = 0, **values: Any) -> CellSpec:
    """A cell of the digits; `recipe` is a name, and what is no field of a cell is one of its recipe."""
    recipe = values.pop("recipe", "demo")
    fields = {name: values.pop(name) for name in list(values) if name not in CellSpec.model_fields}
    base = {"dataset": "digits", "precision": "fp32", "recipe": recipe_for(model, recipe, fields)}
    return make_cell(**(base | {"model": model, "augmentation": augmentation, "seed": seed} | values))


def environment(**values: Any) -> Environment:
    """Of a machine with two cores."""
    base: dict[str, Any] = {
        "hostname": "here",
        "platform": "Linux",
        "python": "3.11.7",
        "torch": "2.14.1",
        "accelerate": "1.15.0",
        "verdict": "0.1.0",
        "git_commit": None,
        "device": "a processor",
        "device_type": "cpu",
        "num_processes": 1,
        "distributed_type": "NO",
        "backend": None,
        "threads_per_process": 2,
        "cuda": None,
        "deterministic": True,
    }
    return Environment(**(base | values))


def write_run(
    out: Path,
    cell: CellSpec,
    *,
    train_time_s: float = 10.0,
    train_flops_per_image: int = 1000,
    val_accuracy: float | None = 0.9,
    num_correct: int = 300,
    ended_at: str = "2026-11-20T10:01:00+00:00",
    measurements: dict[str, Any] | None = None,
    machine: dict[str, Any] | None = None,
) -> Path:
    """A finished run: 1 s of start-up, 2 s of scoring, and the given time of training."""
    num_fit = NUM_TRAIN - NUM_VAL
    steps = cell.recipe.epochs * (num_fit // cell.recipe.batch_size)
    times = {
        "wall_time_s": train_time_s + 3,
        "startup_time_s": 1.0,
        "data_time_s": 0.0,
        "train_time_s": train_time_s,
        "evaluate_time_s": 2.0,
        "write_time_s": 0.0,
        "other_time_s": 0.0,
        "num_steps": steps,
        "warmup_steps": 5,
        "images_per_s": 1000.0,
        "peak_resident_mib": 500.0,
        "peak_allocated_mib": None,
        "peak_reserved_mib": None,
    }
    record = Record(
        status="finished",
        cell_id=cell.cell_id,
        cell=cell,
        command="harness/run.py",
        started_at="2026-11-20T10:00:00+00:00",
        ended_at=ended_at,
        environment=environment(**(machine or {})),
        data=_provenance(),
        num_fit_images=num_fit,
        num_val_images=NUM_VAL,
        model=ModelFacts(
            num_params=1000,
            forward_flops_per_image=train_flops_per_image // 3,
            train_flops_per_image=train_flops_per_image,
            total_train_flops=steps * cell.recipe.batch_size * train_flops_per_image,
        ),
        measurements=Measurements(**(times | (measurements or {}))),
        history=tuple(
            EpochRow(
                epoch=epoch,
                train_loss=1.0,
                val_loss=None if val_accuracy is None else 1.0,
                val_accuracy=val_accuracy if epoch == 2 else 0.1,
                lr=0.1,
                train_time_s=1.0,
            )
            for epoch in range(1, cell.recipe.epochs + 1)
        ),
        selected_epoch=2,
    )
    run_dir = out / cell.cell_id
    labels = np.arange(NUM_TEST) % 10
    logits = np.zeros((NUM_TEST, 10), np.float32)
    logits[np.arange(NUM_TEST), (labels + (np.arange(NUM_TEST) >= num_correct)) % 10] = 1
    val_labels = np.arange(NUM_VAL) % 10
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "test_logits": logits,
        "test_labels": labels,
        "val_logits": np.zeros((NUM_VAL, 10), np.float32),
        "val_labels": val_labels,
        "val_indices": np.arange(NUM_VAL),
        "class_names": np.array(CLASS_NAMES),
        "test_fingerprint": np.array("2" * 64),
    }
    write_cell(out, cell)
    write_arrays(run_dir / "predictions.npz", arrays)
    write_record(run_dir, record)
    return run_dir


def write_failure(out: Path, cell: CellSpec, kind: str = "diverged", message: str = "loss is nan") -> Path:
    """A failed run, as the launcher writes it for an attempt that could not."""
    record = Record(
        status="failed",
        cell_id=cell.cell_id,
        cell=cell,
        command="harness/run.py",
        started_at="2026-11-20T11:00:00+00:00",
        ended_at="2026-11-20T11:00:12+00:00",
        environment=None,
        failure=Failure(kind=kind, message=message, log_tail="", burnt_s=12.5),
    )
    write_cell(out, cell)
    write_record(out / cell.cell_id, record)
    return out / cell.cell_id


def write_cell(out: Path, cell: CellSpec) -> Path:
    """The folder of a cell that was started, or is about to be."""
    write_text(out / cell.cell_id / "cell.json", cell.model_dump_json())
    return out / cell.cell_id


def write_checkpoint(run_dir: Path, step: int, is_whole: bool = True) -> None:
    """A checkpoint after so many steps; one without its manifest is none."""
    folder = run_dir / "checkpoint" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    if is_whole:
        (folder / "manifest.json").write_text("{}", encoding="utf-8")


def edit_record(run_dir: Path, **values: Any) -> None:
    """Replace values of a record's first level."""
    path = run_dir / "record.json"
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _provenance() -> DataProvenance:
    return DataProvenance(
        dataset="digits",
        source="sklearn",
        official=True,
        notes=(),
        class_names=CLASS_NAMES,
        image_shape=(3, 32, 32),
        num_train_images=NUM_TRAIN,
        num_test_images=NUM_TEST,
        fingerprint="3" * 64,
        train_fingerprint="1" * 64,
        test_fingerprint="2" * 64,
    )
