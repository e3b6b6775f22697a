from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.cell import CellSpec
from harness.errors import UsageError
from harness.measurements import Measurements
from harness.recipe import Recipe
from harness.record import read_record, write_record
from results import table
from results.columns import COLUMNS
from results.leaderboard.table import print_leaderboard
from results.table import columns_markdown, columns_text, write_csv

RunFactory = Callable[..., Path]


def _read(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_finished_run_is_a_row_with_its_figures(make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run(
        180, cell={"seed": 3}, arrays={"test_tta_logits": np.eye(3, dtype=np.float32)[[0] * 200]}
    )

    assert write_csv(runs) == []

    (row,) = _read(runs)
    expected = {
        "cell_id": run_dir.name,
        "status": "finished",
        "data_fingerprint": "abcdef01",
        "test_fingerprint": "fedcba98",
        "official": "true",
        "num_fit_images": "49960",
        "model": "fast_cnn",
        "seed": "3",
        "epochs": "8",
        "test_correct": "180",
        "test_accuracy_percent": "90.0",
        "test_tta_accuracy_percent": "33.5",
        "val_accuracy_percent": "50.0",
        "selected_epoch": "7",
        "num_params": "1972792",
        "total_train_pflop": "0.18",
        "accuracy_per_pflop": "500.0",
        "clears_vendor_bar": "true",
        "images_per_s": "8123.4",
        "train_time_s": "50.0",
        "peak_resident_mib": "1234.5",
        "torch": "2.14.1",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["unavailable"].startswith("peak_allocated_mib: no GPU; ")
    assert "robustness: not measured: python -m harness.robustness RUN does it" in row["unavailable"]
    assert float(row["test_accuracy_low_percent"]) == pytest.approx(85.06, abs=0.01)
    assert float(row["share_of_gpipe_accuracy_percent"]) == pytest.approx(90.91, abs=0.01)


def test_what_is_missing_is_an_empty_cell(make_run: RunFactory, runs: Path) -> None:
    make_run(measurements={"images_per_s": None})

    write_csv(runs)

    (row,) = _read(runs)
    missing = {name for name, text in row.items() if text == ""}
    not_in_the_record = {column.name for column in COLUMNS if column.source == "robustness"} | {
        name for name, field in Measurements.model_fields.items() if field.default is None and name in row
    }
    undefined = {"top5_accuracy_percent", "coverage_at_99_percent", "accuracy_at_that_coverage_percent"}
    assert missing - not_in_the_record - undefined == {
        "pretrained",
        "weights_sha256",
        "model_notes",
        "muon_lr",
        "ema_decay",
        "test_tta_accuracy_percent",
        "images_per_s",
        "peak_allocated_mib",
        "peak_reserved_mib",
        "backend",
        "cuda",
        "git_commit",
        "failure_kind",
        "failure_message",
        "burnt_s",
    }


def test_a_failed_run_is_a_row_too(make_failed_run: RunFactory, runs: Path) -> None:
    make_failed_run("no memory left\n  on the device", kind="out_of_memory")

    write_csv(runs)

    (row,) = _read(runs)
    assert (row["status"], row["failure_kind"], row["burnt_s"]) == ("failed", "out_of_memory", "12.5")
    assert row["failure_message"] == "no memory left on the device"
    assert row["model"] == "fast_cnn"
    assert row["test_correct"] == row["num_params"] == row["train_time_s"] == row["official"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_text_is_never_a_formula(make_failed_run: RunFactory, runs: Path, start: str) -> None:
    make_failed_run(f' \t{start}HYPERLINK("x","y")')

    write_csv(runs)

    (row,) = _read(runs)
    assert row["failure_message"] == f'\'{start}HYPERLINK("x","y")'


def test_a_large_folder_is_written_in_parts(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        make_run(cell={"seed": seed}, measurements={"peak_temperature_c": -seed - 0.5})
    write_csv(runs)
    whole = (runs / "results.csv").read_bytes()

    monkeypatch.setattr(table, "_ROWS_AT_ONCE", 2)
    write_csv(runs)

    assert (runs / "results.csv").read_bytes() == whole
    assert {row["peak_temperature_c"] for row in _read(runs)} == {"-0.5", "-1.5", "-2.5", "-3.5", "-4.5"}


def test_rows_follow_the_time_and_the_folder_is_the_only_source(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1}, record={"started_at": "2026-11-21T00:00:00+00:00"})
    make_run(cell={"seed": 2}, record={"started_at": "2026-11-20T00:00:00+00:00"})
    (runs / "results.csv").write_text("stale")

    write_csv(runs)

    assert [row["seed"] for row in _read(runs)] == ["2", "1"]


def test_runs_that_cannot_be_trusted_are_reported_and_not_written(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1})
    (make_run() / "predictions.npz").write_bytes(b"")

    (warning,) = write_csv(runs)

    assert "predictions.npz" in warning
    assert [row["seed"] for row in _read(runs)] == ["1"]


def test_many_launchers_may_rebuild_it_at_once(make_run: RunFactory, runs: Path) -> None:
    for seed in range(3):
        make_run(cell={"seed": seed})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_csv, [runs] * 8))

    assert len(_read(runs)) == 3
    assert list(runs.glob("*.tmp")) == list(runs.glob(".*.tmp")) == []


def test_no_csv_is_made_up_for_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_csv(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_column_is_documented_once() -> None:
    names = [column.name for column in COLUMNS]

    assert len(set(names)) == len(names)
    assert all(column.description for column in COLUMNS)
    assert [line.split("|")[1].strip(" `") for line in columns_markdown().splitlines()[2:]] == names
    assert [line.split()[0] for line in columns_text().splitlines()] == names


@pytest.mark.parametrize(("suffix", "unit"), [("_s", "s"), ("_mib", "MiB"), ("_percent", "%")])
def test_units_in_names_are_the_units_of_the_columns(suffix: str, unit: str) -> None:
    for column in COLUMNS:
        if column.name.endswith(suffix) and not column.name.endswith("_per_s"):
            assert column.unit == unit


def test_every_field_that_makes_a_cell_another_one_has_a_column() -> None:
    sources = {column.path for column in COLUMNS}
    recipe = {f"recipe.{name}" for name in Recipe.model_fields}
    cell = {f"cell.{name}" for name in CellSpec.model_fields}
    elsewhere = {"cell.schema_version", "cell.recipe", "cell.data_fingerprint", "cell.weights_sha256"}
    assert recipe | cell <= sources | elsewhere


def test_a_run_that_could_not_say_where_it_ran_has_empty_cells(
    make_failed_run: RunFactory, runs: Path
) -> None:
    run_dir = make_failed_run("killed by SIGKILL", kind="killed")
    record = read_record(run_dir)
    assert record is not None
    write_record(run_dir, record.model_copy(update={"environment": None}))

    assert write_csv(runs) == []

    (row,) = _read(runs)
    assert (row["failure_kind"], row["failure_message"]) == ("killed", "killed by SIGKILL")
    columns = [column.name for column in COLUMNS if column.source == "environment"]
    assert len(columns) == 12
    assert {row[name] for name in columns} == {""}
    screen = StringIO()
    print_leaderboard(runs, Console(file=screen, width=200))
    assert "killed: killed by SIGKILL" in screen.getvalue()
