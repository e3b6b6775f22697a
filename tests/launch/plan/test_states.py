from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from harness.errors import StorageError, UsageError
from harness.files import write_text
from launch.plan.states import INDEX_NAME, read_state, scan_runs
from tests.launch.plan.run_folders import (
    digits_cell,
    edit_record,
    write_cell,
    write_checkpoint,
    write_failure,
    write_run,
)


def test_each_kind_of_folder_has_its_state(tmp_path: Path) -> None:
    finished, failed, paused, waiting = (digits_cell(seed=seed) for seed in range(4))
    write_run(tmp_path, finished, train_time_s=7.5)
    write_failure(tmp_path, failed, kind="out_of_memory", message="it does not fit")
    write_checkpoint(write_cell(tmp_path, paused), step=40)
    write_checkpoint(tmp_path / paused.cell_id, step=60)
    write_checkpoint(tmp_path / paused.cell_id, step=80, is_whole=False)
    write_cell(tmp_path, waiting)
    (tmp_path / "notes").mkdir()
    (tmp_path / "results.csv").touch()

    states = scan_runs(tmp_path)

    assert states.keys() == {cell.cell_id for cell in (finished, failed, paused, waiting)}
    done = states[finished.cell_id]
    assert (done.status, done.val_accuracy, done.kind) == ("finished", 0.9, None)
    assert done.facts is not None
    assert (done.facts.train_time_s, done.facts.model, done.facts.num_fit) == (7.5, "mlp", 1294)
    lost = states[failed.cell_id]
    assert (lost.status, lost.kind, lost.reason) == ("failed", "out_of_memory", "it does not fit")
    assert (lost.burnt_s, lost.facts) == (12.5, None)
    assert (states[paused.cell_id].status, states[paused.cell_id].checkpoint_step) == ("paused", 60)
    assert states[waiting.cell_id].status == "unfinished"


def test_one_folder_is_read_as_all_are(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    assert read_state(run_dir) == scan_runs(tmp_path)[run_dir.name]
    assert read_state(tmp_path / "nothing") is None


def test_a_folder_that_is_not_there_holds_nothing_and_a_file_is_a_users_error(tmp_path: Path) -> None:
    assert scan_runs(tmp_path / "nothing") == {}
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot read runs from"):
        scan_runs(tmp_path / "file")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"energy_j": 5.0}, "'energy_j', which this version does not know"),
        ({"status": "going on"}, "neither finished nor failed"),
        ({"measurements": None}, "no measurements section"),
        ({"measurements": {"wall_time_s": 3}}, "measurements section without"),
        ({"environment": None}, "no environment"),
        ({"ended_at": 5}, "'ended_at' that is not of type str"),
        ({"num_fit_images": "many"}, "'num_fit_images' that is not of type int"),
        ({"cell_id": "another"}, "the record of another cell"),
        ({"cell": []}, "cell that is no JSON object"),
    ],
)
def test_a_record_of_another_schema_is_not_taken_for_what_it_says(
    tmp_path: Path, values: dict[str, object], reason: str
) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    edit_record(run_dir, **values)
    state = scan_runs(tmp_path)[run_dir.name]
    assert state.status == "unreadable"
    assert reason in state.reason
    assert str(run_dir) in state.reason
    assert state.facts is None


def test_a_record_made_before_a_field_was_added_has_its_default(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    as_written = read_state(run_dir)
    content = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    del content["measurements"]["checkpoint_time_s"]
    del content["cell"]["compile"]
    del content["cell"]["recipe"]["start_scale"]
    del content["unavailable"], content["schema_version"], content["cell"]["schema_version"]
    (run_dir / "record.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    assert read_state(run_dir) == as_written


def test_a_time_that_is_no_number_makes_a_record_unreadable(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    content = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    content["measurements"]["train_time_s"] = math.nan
    (run_dir / "record.json").write_text(json.dumps(content), encoding="utf-8")
    assert "'train_time_s' that is no finite number" in scan_runs(tmp_path)[run_dir.name].reason


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 200_000])
def test_a_damaged_record_is_unreadable_and_harms_no_other(tmp_path: Path, content: bytes) -> None:
    damaged, whole = write_run(tmp_path, digits_cell()), write_run(tmp_path, digits_cell(seed=1))
    (damaged / "record.json").write_bytes(content)
    states = scan_runs(tmp_path)
    assert (states[damaged.name].status, states[whole.name].status) == ("unreadable", "finished")


def test_the_history_may_be_written_in_any_way(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, digits_cell(), val_accuracy=0.75)
    as_written = read_state(run_dir)
    content = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    for indent in (None, 1, 3):
        (run_dir / "record.json").write_text(json.dumps(content, indent=indent), encoding="utf-8")
        assert read_state(run_dir) == as_written
    assert as_written is not None
    assert as_written.val_accuracy == 0.75


def test_without_validation_images_there_is_no_accuracy(tmp_path: Path) -> None:
    state = read_state(write_run(tmp_path, digits_cell(), val_accuracy=None))
    assert state is not None
    assert (state.status, state.val_accuracy) == ("finished", None)


def test_the_shortcut_changes_nothing_and_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, digits_cell())
    write_failure(tmp_path, digits_cell(seed=1))
    first = scan_runs(tmp_path)
    monkeypatch.setattr("launch.plan.states.state_of_record", _must_not_be_called)
    assert scan_runs(tmp_path) == first


def test_a_new_record_is_read_though_the_shortcut_knows_an_old_one(tmp_path: Path) -> None:
    cell = digits_cell()
    run_dir = write_failure(tmp_path, cell)
    assert scan_runs(tmp_path)[cell.cell_id].status == "failed"
    old = (run_dir / "record.json").stat()
    write_run(tmp_path, cell)
    os.utime(run_dir / "record.json", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert scan_runs(tmp_path)[cell.cell_id].status == "finished"
    (run_dir / "record.json").unlink()
    assert scan_runs(tmp_path)[cell.cell_id].status == "unfinished"


@pytest.mark.parametrize("content", ["", "[]", '{"version": "0", "rows": []}', '{"rows": 5}', "{"])
def test_a_shortcut_that_is_damaged_or_of_another_version_is_made_anew(tmp_path: Path, content: str) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    expected = scan_runs(tmp_path)
    whole = (tmp_path / INDEX_NAME).read_bytes()
    (tmp_path / INDEX_NAME).write_text(content, encoding="utf-8")
    assert scan_runs(tmp_path) == expected
    assert (tmp_path / INDEX_NAME).read_bytes() == whole
    assert run_dir.name in expected


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise StorageError(f"cannot write {path}")

    write_run(tmp_path, digits_cell())
    monkeypatch.setattr("launch.plan.states.write_text", refuse)
    assert [state.status for state in scan_runs(tmp_path).values()] == ["finished"]
    assert not (tmp_path / INDEX_NAME).exists()


def test_a_record_that_cannot_be_looked_at_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    monkeypatch.setattr("launch.plan.states.open", _denied, raising=False)
    state = scan_runs(tmp_path)[run_dir.name]
    assert state.status == "unreadable"
    assert "Permission denied" in state.reason


def test_unreadable_records_do_not_make_the_shortcut_be_written_again(tmp_path: Path) -> None:
    write_text(tmp_path / "damaged" / "record.json", "{")
    write_run(tmp_path, digits_cell())
    scan_runs(tmp_path)
    before = (tmp_path / INDEX_NAME).stat().st_ino
    scan_runs(tmp_path)
    assert (tmp_path / INDEX_NAME).stat().st_ino == before


def _must_not_be_called(cell_id: str, content: bytes) -> None:
    raise AssertionError(f"{cell_id} was read again")


def _denied(path: str, mode: str) -> None:
    raise PermissionError(13, "Permission denied", path)
