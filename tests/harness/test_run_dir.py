from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from harness.cell import CellSpec, make_cell
from harness.datasets.base import Dataset, ImageSet, make_dataset
from harness.environment import describe_environment
from harness.errors import DataError, DivergedError, StorageError, VerdictError
from harness.process import Process
from harness.progress import CellProgress, Reporter
from harness.record import Failure, Record, read_record, write_record
from harness.run_dir import claim, now, open_run_dir, record_failure, write_results

RESERVE = ".reserved"


@pytest.fixture
def dataset(random_images: Callable[[int, int], ImageSet]) -> Dataset:
    names = tuple("0123456789")
    return make_dataset(
        "digits", "a test", random_images(900, 8), random_images(300, 8), names, official=False
    )


@pytest.fixture
def failed(cell: CellSpec, one_process: Process) -> Record:
    """The record of a run that failed, before it says why."""
    return Record(
        status="failed",
        cell_id=cell.cell_id,
        cell=cell,
        command="python harness/run.py",
        started_at=now(),
        ended_at=now(),
        environment=describe_environment(one_process),
    )


@pytest.fixture
def progress(cell: CellSpec, tmp_path: Path) -> Iterator[CellProgress]:
    reporter = Reporter(Console(file=StringIO()))
    with reporter.cell(cell, "cell 1/1", tmp_path / "log.txt") as opened:
        yield opened


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    """Test images, validation images and classes."""
    return len(dataset.test.labels), len(dataset.train.labels) // 2, len(dataset.class_names)


def arrays(dataset: Dataset) -> dict[str, np.ndarray[Any, Any]]:
    """Predictions of a run that also scored mirror images and held out half the training images."""
    num_test, num_val, _ = sizes(dataset)
    logits = np.random.default_rng(0).normal(size=(num_val + 2 * num_test, 10)).astype(np.float32)
    return {
        "val_logits": logits[:num_val],
        "test_logits": logits[num_val:-num_test],
        "test_tta_logits": logits[-num_test:],
        "test_labels": dataset.test.labels,
    }


def caught(error: Exception) -> Exception:
    """`error` with the traceback of having been raised."""
    try:
        raise error
    except type(error) as raised:
        return raised


def test_a_new_folder_holds_the_cell_and_the_reserve(
    tmp_path: Path, cell: CellSpec, dataset: Dataset
) -> None:
    run_dir = tmp_path / "runs" / cell.cell_id
    open_run_dir(run_dir, cell, *sizes(dataset))
    assert sorted(path.name for path in run_dir.iterdir()) == [RESERVE, "cell.json"]
    assert make_cell(**json.loads((run_dir / "cell.json").read_text())) == cell


def test_the_reserve_is_room_enough_for_the_results_and_is_given_up_for_them(
    tmp_path: Path, cell: CellSpec, dataset: Dataset
) -> None:
    open_run_dir(tmp_path, cell, *sizes(dataset))
    reserved = (tmp_path / RESERVE).stat().st_size
    write_results(tmp_path, arrays(dataset), [2.5, 1.5], [0.01, 0.02])
    assert not (tmp_path / RESERVE).exists()
    written = sum((tmp_path / name).stat().st_size for name in ("predictions.npz", "steps.npz"))
    assert reserved >= written + 2**19  # and for the record and the log


def test_results_come_back_as_they_were(tmp_path: Path, dataset: Dataset) -> None:
    predictions = arrays(dataset)
    write_results(tmp_path, predictions, [2.5, 1.5], [0.5, 0.25])
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as stored:
        assert sorted(stored) == sorted(predictions)
        for name, array in predictions.items():
            np.testing.assert_array_equal(stored[name], array, strict=True)
    with np.load(tmp_path / "steps.npz", allow_pickle=False) as steps:
        assert (steps["loss"].tolist(), steps["time_s"].tolist()) == ([2.5, 1.5], [0.5, 0.25])


def test_earlier_failures_are_kept_and_numbered(
    tmp_path: Path, cell: CellSpec, dataset: Dataset, failed: Record
) -> None:
    failures = [Failure(kind="crashed", message=text, log_tail="", burnt_s=1) for text in ("one", "two")]
    records = [failed.model_copy(update={"failure": failure}) for failure in failures]
    for record in records:
        write_record(tmp_path, record)
        open_run_dir(tmp_path, cell, *sizes(dataset))
        assert read_record(tmp_path) is None
    kept = [
        Record.model_validate_json(path.read_text()) for path in sorted((tmp_path / "attempts").iterdir())
    ]
    assert [path.name for path in sorted((tmp_path / "attempts").iterdir())] == ["001.json", "002.json"]
    assert kept == records


def test_a_folder_that_cannot_be_made_is_one_clear_error(
    tmp_path: Path, cell: CellSpec, dataset: Dataset
) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(VerdictError, match=re.escape(str(tmp_path / "runs"))):
        open_run_dir(tmp_path / "runs" / "a", cell, *sizes(dataset))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DivergedError("the loss became nan"), "diverged", "the loss became nan"),
        (DataError("no such folder"), "data", "no such folder"),
        (MemoryError("600 GiB"), "out_of_memory", "MemoryError: 600 GiB"),
        (torch.OutOfMemoryError("CUDA\nfull"), "out_of_memory", "OutOfMemoryError: CUDA"),
        (
            ValueError("out of memory"),
            "crashed",
            "ValueError: out of memory",
        ),  # its type counts, not its text
    ],
)
def test_a_failure_is_recorded_with_its_kind(
    tmp_path: Path, failed: Record, progress: CellProgress, error: Exception, kind: str, message: str
) -> None:
    (tmp_path / RESERVE).write_bytes(b"0" * 100)
    record_failure(tmp_path, failed, caught(error), 12.5, progress)
    record = read_record(tmp_path)
    assert record is not None
    assert record.failure is not None
    assert (record.status, record.failure.kind, record.failure.message) == ("failed", kind, message)
    assert record.failure.burnt_s == 12.5
    assert record.failure.log_tail.endswith(f"error: {message}")
    assert record.model_copy(update={"failure": None}) == failed
    assert not (tmp_path / RESERVE).exists()


def test_a_crash_leaves_its_traceback_in_the_log_and_an_error_of_the_user_does_not(
    tmp_path: Path, failed: Record, progress: CellProgress
) -> None:
    record_failure(tmp_path, failed, caught(DivergedError("the loss became nan")), 1, progress)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    record_failure(tmp_path, failed, caught(ValueError("bad shape")), 1, progress)
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback (most recent call last)" in log
    assert "in caught" in log


def test_only_the_end_of_a_long_log_goes_into_the_record(
    tmp_path: Path, failed: Record, progress: CellProgress
) -> None:
    for number in range(50):
        progress.line(f"line {number}")
    record_failure(tmp_path, failed, caught(DivergedError("nan")), 1, progress)
    record = read_record(tmp_path)
    assert record is not None
    assert record.failure is not None
    lines = record.failure.log_tail.splitlines()
    assert len(lines) == 20
    assert lines[0].endswith("line 31")


def test_a_full_disk_leaves_no_record_so_the_run_counts_as_unfinished(
    tmp_path: Path, failed: Record, progress: CellProgress
) -> None:
    (tmp_path / RESERVE).write_bytes(b"0" * 100)
    record_failure(tmp_path, failed, caught(StorageError("no space left to write x")), 1, progress)
    assert read_record(tmp_path) is None
    assert not (tmp_path / RESERVE).exists()
    assert "error: no space left to write x" in (tmp_path / "log.txt").read_text()


def test_the_reserve_is_released_before_the_log_is_written(
    tmp_path: Path, cell: CellSpec, failed: Record
) -> None:
    class FullLog(CellProgress):
        def keep(self, text: str) -> None:
            assert not (tmp_path / RESERVE).exists()
            raise StorageError(f"no space left to write {text}")

    (tmp_path / RESERVE).write_bytes(b"0" * 100)
    progress = FullLog(cell, "cell 1/1", tmp_path / "log.txt", None)
    with pytest.raises(StorageError):
        record_failure(tmp_path, failed, caught(ValueError("bad shape")), 1, progress)


def test_the_time_is_written_in_utc_to_the_second() -> None:
    written = datetime.fromisoformat(now())
    assert written.utcoffset() == timedelta(0)
    assert written.microsecond == 0
    assert abs(datetime.now(UTC) - written) < timedelta(seconds=5)


def test_a_finished_run_is_never_moved_aside(
    tmp_path: Path, cell: CellSpec, dataset: Dataset, failed: Record
) -> None:
    write_record(tmp_path, failed.model_copy(update={"status": "finished"}))
    before = (tmp_path / "record.json").read_bytes()
    with pytest.raises(AssertionError, match="never moved aside"):
        open_run_dir(tmp_path, cell, *sizes(dataset))
    assert (tmp_path / "record.json").read_bytes() == before


def test_what_fails_after_a_record_was_written_does_not_replace_it(
    tmp_path: Path, failed: Record, progress: CellProgress
) -> None:
    write_record(tmp_path, failed.model_copy(update={"status": "finished"}))
    record_failure(tmp_path, failed, caught(ValueError("the other process went away")), 1, progress)
    record = read_record(tmp_path)
    assert record is not None
    assert record.status == "finished"


def test_a_folder_that_another_process_holds_cannot_be_claimed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.run_dir import claim\n"
        "with claim(Path(sys.argv[1])) as ours: print(ours, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    with claim(tmp_path / "run") as ours:
        assert not ours
    child.kill()  # the claim of a dead process is void
    child.wait()
    child.stdout.close()
    assert child.stdin is not None
    child.stdin.close()
    with claim(tmp_path / "run") as ours:
        assert ours
