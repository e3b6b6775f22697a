from __future__ import annotations

import ast
import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.errors import DataError, UsageError
from harness.files import write_arrays
from results.index import load, reading, rows
from results.index.load import INDEX_NAME, load_table
from results.index.rows import RunRow, read_row
from results.index.run_table import RunTable
from results.store import load_runs

RunFactory = Callable[..., Path]

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _keep_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are always new."""
    monkeypatch.setattr(load, "_SETTLED_NS", -1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs whose files are read."""
    names: list[str] = []

    def noted(run_dir: Path) -> RunRow:
        names.append(run_dir.name)
        return read_row(run_dir)

    monkeypatch.setattr(reading, "read_row", noted)
    return names


def _content(table: RunTable) -> dict[str, list[Any]]:
    return {name: table.texts(name).tolist() for name in table.columns}


def test_values_are_those_of_the_records_and_the_predictions(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    make_run(cell={"seed": 1}, measurements={"images_per_s": None}, data={"notes": ("one", "two\nthree")})
    make_run(150, cell={"seed": 2})
    make_failed_run("no\nmemory", seed=3)

    table = load_table(runs)

    by_seed = {int(seed): place for place, seed in enumerate(table.numbers("seed"))}
    first, second, failed = by_seed[1], by_seed[2], by_seed[3]
    assert table.texts("cell_id").tolist() == sorted(path.name for path in runs.iterdir() if path.is_dir())
    assert table.numbers("test_accuracy_percent")[[first, second]].tolist() == [90, 75]
    assert np.isnan(table.numbers("test_accuracy_percent")[failed])
    assert np.isnan(table.numbers("images_per_s")[first])
    assert table.numbers("official")[second] == 1
    assert table.texts("failure_message")[failed] == "no memory"
    assert table.texts("failure_message")[first] == ""
    assert table.is_finished.tolist() == [place != failed for place in range(3)]
    assert json.loads(table.texts("data_notes")[first]) == ["one", "two\nthree"]
    assert table.texts("seedless_id")[first] == table.texts("seedless_id")[second]
    for run in load_runs(runs).runs:
        place = by_seed[run.record.cell.seed]
        assert table.texts("label")[place] == run.record.cell.label()


def test_only_new_and_changed_runs_are_read(make_run: RunFactory, runs: Path, read: list[str]) -> None:
    first, second = make_run(cell={"seed": 1}), make_run(cell={"seed": 2})
    load_table(runs)
    assert sorted(read) == sorted([first.name, second.name])

    read.clear()
    load_table(runs, ["model"])
    assert read == []

    third = make_run(cell={"seed": 3})
    make_run(20, cell={"seed": 1})
    (second / "robustness.npz").write_bytes(b"damaged")
    table = load_table(runs)

    assert sorted(read) == sorted([first.name, second.name, third.name])
    correct = dict(zip(table.texts("cell_id"), table.numbers("test_correct"), strict=True))
    assert correct == {first.name: 20, second.name: 180, third.name: 180}
    (reason,) = [text for text in table.texts("unavailable") if "robustness.npz: cannot be read" in text]
    assert str(second) not in reason  # which would be wrong once the folder is moved
    assert "allow_pickle" not in reason


def test_a_change_that_keeps_size_and_time_of_the_content_is_seen(make_run: RunFactory, runs: Path) -> None:
    path = make_run() / "predictions.npz"
    before = path.stat()
    assert load_table(runs).numbers("test_correct").tolist() == [180]

    arrays = dict(np.load(path))
    arrays["test_logits"] = np.roll(arrays["test_logits"], 1, axis=1)
    write_arrays(path, arrays)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert path.stat().st_size == before.st_size
    assert load_table(runs).numbers("test_correct").tolist() != [180]


def test_files_that_have_just_changed_are_not_kept_yet(
    make_run: RunFactory, runs: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run()
    monkeypatch.setattr(load, "_SETTLED_NS", 10**12)

    assert [len(load_table(runs)) for _ in range(2)] == [1, 1]

    assert read == [run_dir.name] * 2
    assert not (runs / INDEX_NAME).exists()


def test_runs_that_were_deleted_or_moved_are_gone(make_run: RunFactory, runs: Path, read: list[str]) -> None:
    first, second = make_run(cell={"seed": 1}), make_run(cell={"seed": 2})
    load_table(runs)
    read.clear()

    shutil.rmtree(first)
    (second / "record.json").rename(second / "old.json")
    make_run(cell={"seed": 3})

    table = load_table(runs)
    assert table.numbers("seed").tolist() == [3]
    assert table.num_unfinished == 1  # it still has its cell


def test_warnings_come_from_the_index_too(
    make_run: RunFactory, runs: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(cell={"seed": 1})
    make_run(cell={"seed": 2}, arrays={"test_labels": None})
    future = make_run(cell={"seed": 3}) / "record.json"
    future.write_text(future.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    (make_run(cell={"seed": 4}) / "record.json").write_bytes(b"\x80\x00")
    moved = make_run(cell={"seed": 5})
    moved.rename(runs / "elsewhere")

    warnings = load_table(runs).warnings
    assert warnings == load_runs(runs).warnings
    assert len(warnings) == 4

    read.clear()
    assert load_table(runs, ["model"]).warnings == warnings
    assert read == []
    # The same folder under another name
    monkeypatch.chdir(runs.parent)
    assert load_table(Path("runs")).warnings == load_runs(Path("runs")).warnings
    assert load_table(Path("runs")).warnings[0].startswith("runs/")
    assert read == []


def test_a_run_whose_files_cannot_be_read_now_is_tried_again(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", _refused)
        assert "cannot be read" in load_table(runs).warnings[0]

    table = load_table(runs)

    assert table.texts("cell_id").tolist() == [run_dir.name]
    assert table.warnings == []


def test_numbers_beyond_reason_leave_out_one_run(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1})
    for seed, field in ((2, "num_params"), (3, "total_train_flops")):
        make_run(cell={"seed": seed}, model={field: 10**400})

    table = load_table(runs)

    assert table.numbers("seed").tolist() == [1]
    assert [("too large to be true" in warning) for warning in table.warnings] == [True, True]


def test_linked_runs_are_runs_and_broken_links_are_none(make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run()
    elsewhere = runs.parent / run_dir.name
    run_dir.rename(elsewhere)
    run_dir.symlink_to(elsewhere)
    (runs / "nothing").symlink_to(runs / "nowhere")

    for _ in range(2):
        table = load_table(runs)
        assert table.texts("cell_id").tolist() == [run_dir.name]
        assert table.warnings == []


def _damage_header(content: bytes) -> bytes:
    return b"PK" + bytes(len(content) - 2)


def _flip_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-30],
        lambda content: content[: len(content) // 2],
        lambda content: b"not a zip archive" * 100,
        _damage_header,
        _flip_middle,
    ],
)
def test_a_damaged_index_is_rebuilt(
    make_run: RunFactory, runs: Path, damage: Callable[[bytes], bytes]
) -> None:
    for seed in range(3):
        make_run(170 + seed, cell={"seed": seed})
    expected = _content(load_table(runs))
    path = runs / INDEX_NAME

    path.write_bytes(damage(path.read_bytes()))

    assert _content(load_table(runs)) == expected
    assert _content(load_table(runs)) == expected


def test_no_byte_of_the_index_can_make_a_figure_wrong(make_run: RunFactory, runs: Path) -> None:
    make_run()
    expected = _content(load_table(runs))
    path = runs / INDEX_NAME
    content = path.read_bytes()

    for place in range(0, len(content), 4999):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        assert _content(load_table(runs)) == expected


def test_the_index_of_other_code_is_not_used(
    make_run: RunFactory, runs: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run()
    load_table(runs)
    monkeypatch.setattr(load, "_version", lambda: "other")

    for _ in range(2):
        load_table(runs)

    assert read == [run_dir.name] * 2


def test_a_folder_that_cannot_be_written_has_no_index(make_run: RunFactory, runs: Path) -> None:
    make_run()
    (runs / INDEX_NAME).mkdir()

    for _ in range(2):
        assert load_table(runs).numbers("test_correct").tolist() == [180]


def test_what_was_read_before_an_interruption_is_kept(
    make_run: RunFactory, runs: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        make_run(cell={"seed": seed})

    def interrupted(run_dir: Path) -> RunRow:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(run_dir.name)
        return read_row(run_dir)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_row", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_table(runs)

    assert len(load_table(runs)) == 4
    assert len(read) == len(set(read)) == 4


def test_unknown_columns_and_folders_without_runs_are_usage_errors(
    make_run: RunFactory, runs: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no runs in"):
        load_table(tmp_path / "empty")
    with pytest.raises(UsageError, match="cannot read runs"):
        load_table(tmp_path / "nothing")
    make_run()
    with pytest.raises(UsageError, match="did you mean model"):
        load_table(runs, ["modle"])
    assert not (tmp_path / "empty" / INDEX_NAME).exists()


def test_processes_that_read_for_one_another_find_the_same(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        make_run(170 + seed, cell={"seed": seed})
    expected = _content(load_table(runs))
    (runs / INDEX_NAME).unlink()
    monkeypatch.setattr(reading, "_LEAST_SHARED", 2)

    assert _content(load_table(runs, num_workers=2)) == expected


_READ_SHARED = """
import sys
from pathlib import Path
from results.index import reading
from results.index.load import load_table

if __name__ == "__main__":
    reading._LEAST_SHARED = 2
    reading._CHUNK = 1
    load_table(Path(sys.argv[1]), num_workers=2)
"""


def test_no_process_outlives_the_one_that_it_reads_for(make_run: RunFactory, runs: Path) -> None:
    for seed in range(40):
        make_run(cell={"seed": seed})
    script = runs.parent / "script.py"
    script.write_text(_READ_SHARED)
    reader = subprocess.Popen(
        [sys.executable, str(script), str(runs)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    parent = psutil.Process(reader.pid)
    while len(parent.children()) < 3 and reader.poll() is None:
        time.sleep(0.01)
    children = parent.children()
    reader.kill()
    reader.wait()

    gone, alive = psutil.wait_procs(children, timeout=30)

    assert len(gone) >= 2
    assert not alive


_WRITE_OFTEN = """
import sys
from pathlib import Path
from results.index import load
from results.table import write_csv
load._SETTLED_NS = -1
for _ in range(5):
    write_csv(Path(sys.argv[1]))
"""


def test_many_processes_may_update_it_at_once(make_run: RunFactory, runs: Path) -> None:
    for seed in range(5):
        make_run(170 + seed, cell={"seed": seed})
    writers = [subprocess.Popen([sys.executable, "-c", _WRITE_OFTEN, str(runs)]) for _ in range(3)]
    seed = 5
    while any(writer.poll() is None for writer in writers):
        make_run(100 + seed % 80, cell={"seed": seed})
        seed += 1
        time.sleep(0.05)

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    table = load_table(runs)
    assert sorted(table.numbers("seed").tolist()) == list(range(seed))
    for run in load_runs(runs).runs:
        place = int(np.flatnonzero(table.texts("cell_id") == run.run_dir.name)[0])
        assert run.scores is not None
        assert table.numbers("test_correct")[place] == run.scores.test_correct
    assert list(runs.glob(".*.tmp")) == []


def test_a_bar_is_shown_on_a_terminal_while_many_runs_are_read(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make_run()
    monkeypatch.setattr(reading, "_LEAST_SHOWN", 1)
    load_table(runs)
    assert capfd.readouterr().err == ""

    (runs / INDEX_NAME).unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    load_table(runs)

    assert "reading runs" in capfd.readouterr().err


def _refused(*args: object, **kwargs: object) -> str:
    raise PermissionError(13, "Permission denied")


def test_a_member_that_is_no_array_takes_one_run_out(make_run: RunFactory, runs: Path) -> None:
    make_run()
    damaged = make_run(cell={"seed": 1})
    with zipfile.ZipFile(damaged / "predictions.npz", "w") as archive:
        archive.writestr("test_logits.npy", b"no array")

    table = load_table(runs)

    assert len(table) == 1
    assert [line for line in table.warnings if "test_logits is no array" in line] == table.warnings


def test_an_error_that_nobody_foresaw_takes_one_run_out_and_is_not_kept(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    with monkeypatch.context() as patch:
        patch.setattr(rows, "derive", raises(RuntimeError("surprise")))
        table = load_table(runs)

    assert len(table) == 0
    assert "cannot be read: RuntimeError: surprise" in table.warnings[0]
    assert len(load_table(runs)) == 1


def test_robustness_that_cannot_be_read_now_is_not_kept_as_missing(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()

    def unreadable(*_: object) -> None:
        try:
            raise OSError(errno.EIO, "input/output error")
        except OSError as error:
            raise DataError("robustness.npz: cannot be read") from error

    with monkeypatch.context() as patch:
        patch.setattr("results.derived.read_robustness", unreadable)
        assert len(load_table(runs)) == 0

    assert len(load_table(runs)) == 1


def test_the_version_covers_all_code_that_a_row_comes_from() -> None:
    program = (
        "import sys; import results.index.rows; "
        "print([name for name in sys.modules if name.split('.')[0] in ('results', 'harness', 'models')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {f"{name.replace('.', '/')}.py" for name in ast.literal_eval(done.stdout)}
    files = {name for name in loaded if (ROOT / name).is_file()}

    assert files - set(load._SOURCES) == set()


def raises(error: Exception) -> Callable[..., None]:
    def raising(*_: object, **__: object) -> None:
        raise error

    return raising
