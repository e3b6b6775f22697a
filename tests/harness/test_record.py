from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.cell import CellSpec
from harness.errors import DataError
from harness.measurements import Measurements
from harness.record import Record, read_record, record_path, write_record

MEASUREMENTS: dict[str, Any] = {
    "wall_time_s": 10.5,
    "launch_time_s": 9.5,
    "startup_time_s": 1.0,
    "data_time_s": 0.5,
    "compile_time_s": 0.0,
    "first_step_time_s": 0.5,
    "train_time_s": 6.0,
    "evaluate_time_s": 1.0,
    "latency_time_s": 0.375,
    "write_time_s": 0.25,
    "checkpoint_time_s": 0.125,
    "idle_time_s": 0.0625,
    "other_time_s": 0.75,
    "num_steps": 20,
    "num_resumes": 1,
    "warmup_steps": 5,
    "images_per_s": 0.1 + 0.2,
    "peak_resident_mib": None,
    "later_peak_mib": 900.5,
    "peak_allocated_mib": 512.0,
    "peak_reserved_mib": 640.0,
    "peak_process_gpu_mib": 1100.5,
    "sum_process_gpu_mib": 2200.5,
    "peak_device_gpu_mib": 1500.5,
    "sum_device_gpu_mib": 3000.5,
    "peak_tree_mib": None,
    "tree_memory_method": "PSS",
    "energy_j": 4000.5,
    "train_energy_j": 3000.5,
    "evaluate_energy_j": 500.5,
    "energy_method": "counter",
    "mean_power_w": 400.5,
    "gpu_utilization_percent": 90.5,
    "peak_temperature_c": 60.0,
    "mean_sm_clock_mhz": 1500.5,
    "throttle_reasons": ["power cap"],
    "peak_flops_per_s": 989e12,
    "peak_flops_source": "a data sheet",
    "mfu_percent": 40.5,
    "latency_batch1_p50_ms": 1.5,
    "latency_batch1_p99_ms": 2.5,
    "inference_images_per_s": 9000.5,
    "inference_batch_size": 128,
    "inference_threads": 8,
    "inference_images_per_j": 20.5,
    "weights_mib": 7.5,
}

# As it lies on disk, every field filled.
CONTENT: dict[str, Any] = {
    "schema_version": 1,
    "status": "finished",
    "cell_id": "e28566e0a9a1",
    "cell": {
        "dataset": "cifar10",
        "model": "resnet20",
        "augmentation": "flip_crop",
        "recipe": {
            "epochs": 2,
            "batch_size": 512,
            "optimizer": "sgd",
            "lr": 0.4,
            "weight_decay": 5e-4,
            "schedule": "cosine",
        },
        "precision": "bf16",
    },
    "command": "accelerate launch harness/run.py --model resnet20",
    "started_at": "2026-11-22T08:00:00Z",
    "ended_at": "2026-11-22T08:00:11Z",
    "environment": {
        "hostname": "bench-1",
        "platform": "Linux-6.1-x86_64",
        "python": "3.11.7",
        "torch": "2.14.1",
        "accelerate": "1.15.0",
        "verdict": "0.1.0",
        "git_commit": None,
        "device": "Größe GPU",
        "device_type": "cuda",
        "num_processes": 1,
        "distributed_type": "NO",
        "backend": None,
        "threads_per_process": 2,
        "cuda": "13.0",
        "deterministic": True,
    },
    "data": {
        "dataset": "cifar10",
        "source": "cifar-10-python.tar.gz",
        "official": True,
        "notes": [],
        "class_names": ["cat", "dog"],
        "image_shape": [3, 32, 32],
        "num_train_images": 50000,
        "num_test_images": 10000,
        "fingerprint": "0" * 64,
        "train_fingerprint": "1" * 64,
        "test_fingerprint": "2" * 64,
    },
    "num_fit_images": 45000,
    "num_val_images": 5000,
    "model": {
        "num_params": 272474,
        "forward_flops_per_image": 10**9,
        "train_flops_per_image": 3 * 10**9,
        "total_train_flops": 3 * 10**9 * 50000 * 200,
        "notes": [],
        "weights_sha256": None,
    },
    "measurements": MEASUREMENTS,
    "in_effect": {
        "devices": ["node1 cpu", "node2 cpu"],
        "num_nodes": 2,
        "wrapper": "DistributedDataParallel",
        "compute_dtype": "bfloat16",
        "params_per_process": [1000, 1000],
        "optimizer_values_per_process": [1000, 1000],
        "num_synchronized_norms": 3,
        "accumulation_steps": 2,
    },
    "history": [
        {
            "epoch": 1,
            "train_loss": 1.5,
            "val_loss": None,
            "val_accuracy": 0.5,
            "lr": 0.4,
            "train_time_s": 3.5,
        }
    ],
    "selected_epoch": 1,
    "unavailable": {"peak_resident_mib": "measured on CPU runs only"},
    "failure": {"kind": "diverged", "message": "loss is nan", "log_tail": "step 7\n", "burnt_s": 1.5},
}
REQUIRED = {name: CONTENT[name] for name, field in Record.model_fields.items() if field.is_required()}


def store(run_dir: Path, content: object) -> None:
    record_path(run_dir).write_text(json.dumps(content), encoding="utf-8")


def problem(run_dir: Path) -> str:
    """The one line that reading the record of `run_dir` fails with."""
    with pytest.raises(DataError) as raised:
        read_record(run_dir)
    assert str(raised.value).startswith(f"{record_path(run_dir)}: ")
    assert "\n" not in str(raised.value)
    return str(raised.value).removeprefix(f"{record_path(run_dir)}: ")


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record.model_validate_json(json.dumps(CONTENT))
    write_record(tmp_path / "e28566e0a9a1", record)
    assert read_record(tmp_path / "e28566e0a9a1") == record


def test_the_file_holds_every_field_under_its_name(tmp_path: Path) -> None:
    write_record(tmp_path, Record.model_validate_json(json.dumps(CONTENT)))
    stored = json.loads(record_path(tmp_path).read_text(encoding="utf-8"))
    assert CONTENT.keys() == Record.model_fields.keys()
    assert {**stored, "cell": None} == {**CONTENT, "cell": None}
    assert CellSpec.model_validate(stored["cell"]) == CellSpec.model_validate(CONTENT["cell"])


def test_a_record_of_the_first_schema_version_can_still_be_read(tmp_path: Path) -> None:
    # As little as a failed run may have left: a field added later must not be required.
    store(tmp_path, {**REQUIRED, "status": "failed"})
    record = read_record(tmp_path)
    assert record is not None
    assert record.measurements is None
    assert record.history == ()
    assert list(REQUIRED) == ["status", "cell_id", "cell", "command", "started_at", "ended_at", "environment"]


def test_where_there_is_no_record_there_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "no_such_run") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measurement_that_is_not_a_number_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Measurements.model_validate({**MEASUREMENTS, "train_time_s": value})


def test_a_stored_nan_is_an_error_that_names_it(tmp_path: Path) -> None:
    store(tmp_path, {**CONTENT, "measurements": {**MEASUREMENTS, "train_time_s": float("nan")}})
    assert problem(tmp_path).startswith("record: measurements.train_time_s: ")


def test_a_record_of_a_later_schema_is_an_error_that_names_the_version(tmp_path: Path) -> None:
    store(tmp_path, {**CONTENT, "schema_version": 2, "energy_j": 5.0})
    assert problem(tmp_path).startswith("record: schema_version: Input should be 1, not 2 (move")


def test_an_unknown_field_is_an_error_that_names_it(tmp_path: Path) -> None:
    store(tmp_path, {**CONTENT, "energy_j": 5.0})
    assert problem(tmp_path).startswith("record: there is no 'energy_j' (move")


def test_a_truncated_record_is_a_short_error(tmp_path: Path) -> None:
    text = json.dumps(CONTENT)
    record_path(tmp_path).write_text(text[: len(text) // 2], encoding="utf-8")
    message = problem(tmp_path)
    assert "Invalid JSON" in message
    assert len(message) < 200


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_text_that_is_no_record_is_an_error(tmp_path: Path, text: str) -> None:
    record_path(tmp_path).write_text(text, encoding="utf-8")
    assert problem(tmp_path).startswith("record: ")


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    record_path(tmp_path).write_bytes(b"\xff\xfe\x00")
    assert problem(tmp_path).startswith("cannot be read: ")


@pytest.mark.parametrize("change", [{"model": "resnet7"}, {"num_processes": 2}])
def test_a_record_of_a_cell_that_this_version_does_not_know_is_an_error(
    tmp_path: Path, change: dict[str, object]
) -> None:
    store(tmp_path, {**CONTENT, "cell": {**CONTENT["cell"], **change}})
    problem(tmp_path)
