from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import StorageError
from harness.files import atomic_write, reserve_space, write_arrays, write_text

ROOT = Path(__file__).parents[2]

# A child that stops in the middle of a write.
STALL = """
import sys, time
from pathlib import Path
from harness.files import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half of the ne")
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""

# A child that writes `old`, then tries to take more than its disk or its limit allows.
FILL = """
import sys
from pathlib import Path
from harness.errors import StorageError
from harness.files import reserve_space, write_text
path = Path(sys.argv[1], "record.json")
write_text(path, "old")
{limit}
for write in (
    lambda: write_text(path, "x" * 1_000_000),
    lambda: reserve_space(path.with_name("reserve"), 1_000_000),
):
    try:
        write()
    except StorageError as error:
        print(error)
print(path.read_text(), [entry.name for entry in path.parent.iterdir()])
"""


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def refusals(folder: Path) -> list[str]:
    """What the filling child prints when each of its writes is refused and nothing else is touched."""
    advice = "free some space or choose another folder"
    refused = [f"no space left to write {folder}/{name}: {advice}" for name in ("record.json", "reserve")]
    return [*refused, "old ['record.json']"]


def run_child(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_text_is_written_as_utf8_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / "cell.json"
    write_text(path, "ähnlich\n")
    assert path.read_bytes() == "ähnlich\n".encode()
    assert names(path.parent) == ["cell.json"]


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    logits, labels = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), np.arange(3)
    write_arrays(tmp_path / "predictions.npz", {"logits": logits, "labels": labels})
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as stored:
        assert sorted(stored) == ["labels", "logits"]
        for name, array in (("logits", logits), ("labels", labels)):
            np.testing.assert_array_equal(stored[name], array, strict=True)


def write_half(path: Path, error: BaseException) -> None:
    with atomic_write(path) as file:
        file.write(b"half of the ne")
        raise error


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_an_exception_inside_the_block_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "record.json"
    write_text(path, "old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_readers_see_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_text(path, "old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("before", ["old", None])
def test_a_process_killed_in_the_middle_of_a_write_leaves_what_was_there(
    tmp_path: Path, before: str | None
) -> None:
    path = tmp_path / "record.json"
    if before is not None:
        write_text(path, before)
    with subprocess.Popen(
        [sys.executable, "-c", STALL, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == before
    left_over = [name for name in names(tmp_path) if name != "record.json"]
    assert len(left_over) == 1
    assert left_over[0].endswith(".tmp")


def test_reserved_space_takes_up_its_bytes(tmp_path: Path) -> None:
    reserve_space(tmp_path / "reserve", 100_000)
    assert (tmp_path / "reserve").stat().st_size == 100_000
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 100_000


def test_a_full_disk_is_a_storage_error_and_the_old_file_stays(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a small disk")
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    tiny_disk = 'mount -t tmpfs -o size=64k tmpfs "$0"'
    if run_child([*mount, tiny_disk, str(tmp_path)]).returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    child = run_child(
        [
            *mount,
            f'{tiny_disk} && exec "$@"',
            str(tmp_path),
            sys.executable,
            "-c",
            FILL.format(limit=""),
            str(tmp_path),
        ]
    )
    assert child.stdout.splitlines() == refusals(tmp_path), child.stderr


def test_the_limit_on_file_size_is_a_storage_error_and_the_old_file_stays(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    child = run_child([sys.executable, "-c", FILL.format(limit=limit), str(tmp_path)])
    assert child.stdout.splitlines() == refusals(tmp_path), child.stderr


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match=r"^cannot write .*runs/a/cell\.json: [^\n]+$"):
        write_text(tmp_path / "runs" / "a" / "cell.json", "new")


def test_a_folder_in_the_place_of_the_file_is_a_storage_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(StorageError, match=r"^cannot write .*record\.json: [^\n]+$"):
        write_text(tmp_path / "record.json", "new")
    assert names(tmp_path) == ["record.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    previous = os.umask(umask)
    try:
        write_text(tmp_path / "cell.json", "new")
    finally:
        umask_after = os.umask(previous)
    assert (tmp_path / "cell.json").stat().st_mode & 0o777 == mode
    assert umask_after == umask
