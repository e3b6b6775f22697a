from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoint import delete_checkpoints, newest_checkpoint, save_checkpoint
from harness.errors import StorageError


def save(folder: Path, step: int) -> None:
    weights = {"w": torch.full((2, 3), float(step)), "count": torch.tensor(step)}
    save_checkpoint(folder, step, weights, {"step": step, "rows": [{"loss": 0.5}], "none": None})


def found_step(folder: Path) -> int | None:
    found, _ = newest_checkpoint(folder)
    return None if found is None else found.state["step"]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found, problems = newest_checkpoint(tmp_path)
    assert found is not None
    assert problems == []
    assert torch.equal(found.weights["w"], torch.full((2, 3), 7.0))
    assert found.state == {"step": 7, "rows": [{"loss": 0.5}], "none": None}


def test_weights_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    save_checkpoint(tmp_path, 1, {"a": tied, "b": tied, "part": tied[1:]}, {})
    found, _ = newest_checkpoint(tmp_path)
    assert found is not None
    assert torch.equal(found.weights["b"], tied)
    assert torch.equal(found.weights["part"], tied[1:])


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    assert found_step(tmp_path) == 100


def test_what_was_killed_while_it_was_written_is_no_checkpoint_and_goes_with_the_next(
    tmp_path: Path,
) -> None:
    save(tmp_path, 1)
    half = tmp_path / "step-00000002"
    half.mkdir()
    (half / "state.pt").write_bytes(b"half")
    assert found_step(tmp_path) == 1
    save(tmp_path, 3)
    assert not half.exists()


def test_where_there_is_none_nothing_is_found(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") == (None, [])
    delete_checkpoints(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
def test_a_damaged_one_is_named_and_the_one_before_is_taken(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / "step-00000002" / name
    data = path.read_bytes()
    changes = {"cut": data[:-5], "changed": data[:9] + bytes([data[9] ^ 1]) + data[10:], "empty": b""}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changes[damage])
    found, problems = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.state["step"] == 1
    never_finished = name == "manifest.json" and damage == "gone"
    assert len(problems) == (0 if never_finished else 1)
    assert all("step-00000002 is damaged" in problem for problem in problems)


def test_one_of_another_version_is_said_and_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr("harness.checkpoint.FORMAT", 4)
    found, problems = newest_checkpoint(tmp_path)
    assert found is None
    assert [problem.endswith("is of another version of this program") for problem in problems] == [True]


def test_a_state_that_holds_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "run"),)

    save_checkpoint(tmp_path, 1, {}, {"evil": Evil()})
    with pytest.raises(Exception, match=r"weights_only|Unsupported|WeightsUnpickler"):
        newest_checkpoint(tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "step-00000002").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        save(tmp_path, 2)
    assert found_step(tmp_path) == 1


def test_newer_ones_that_cannot_be_used_do_not_push_out_what_is_written_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (8, 9):
        save(tmp_path, step)
    monkeypatch.setattr("harness.checkpoint.FORMAT", 4)
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert found_step(tmp_path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
