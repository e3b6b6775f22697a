from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import live as live_module
from harness.files import clear_temporaries
from harness.live import Live, LiveFile, delete_live, live_path, read_live, write_live
from harness.record import EpochRow

ROOT = Path(__file__).parents[2]
LIVE = Live(
    phase="train",
    epoch=1,
    epochs=3,
    step=120,
    steps=300,
    train_loss=1.25,
    val_accuracy=None,
    images_per_s=1234.5,
    resident_mib=900.0,
    time=1_800_000_000.0,
    pid=17,
    host="größer",
)
ROW = EpochRow(epoch=1, train_loss=0.5, val_loss=0.75, val_accuracy=0.875, lr=0.1, train_time_s=2.0)


class FakeTime:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    clock = SimpleNamespace(monotonic=fake.monotonic, time=fake.monotonic)
    monkeypatch.setattr(live_module, "time", clock)
    return fake


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def now_in(run_dir: Path) -> Live:
    found = read_live(run_dir)
    assert found is not None
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_live(tmp_path, LIVE)
    assert read_live(tmp_path) == LIVE
    assert names_in(tmp_path) == ["live.json"]


def test_a_run_that_says_nothing_is_none(tmp_path: Path) -> None:
    assert read_live(tmp_path) is None
    assert read_live(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"phase": "train"}', b"\xff\xfe", b"null"])
def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    live_path(tmp_path).write_bytes(content)
    assert read_live(tmp_path) is None


def test_a_full_disk_leaves_the_last_word_and_the_heartbeat(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    write_live(tmp_path, LIVE)
    os.utime(live_path(tmp_path), (1, 1))
    (tmp_path / ".live.json.tmp").symlink_to("/dev/full")
    write_live(tmp_path, Live(**(vars(LIVE) | {"phase": "evaluate"})))
    assert read_live(tmp_path) == LIVE
    assert time.time() - live_path(tmp_path).stat().st_mtime < 60
    assert names_in(tmp_path) == ["live.json"]


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    write_live(tmp_path / "nowhere", LIVE)
    delete_live(tmp_path / "nowhere")


def test_a_change_of_phase_is_written_at_once_and_steps_once_a_second(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    file.phase("startup")
    assert now_in(tmp_path).steps == 0
    file.start(num_steps=12)
    file.phase("train")
    assert (now_in(tmp_path).phase, now_in(tmp_path).step, now_in(tmp_path).steps) == ("train", 0, 12)
    for _ in range(3):
        fake_time.now_s += 0.3
        file.step()
    assert now_in(tmp_path).step == 0
    fake_time.now_s += 0.3
    file.step()
    found = now_in(tmp_path)
    assert (found.step, found.time) == (4, fake_time.now_s)
    assert (found.pid, found.host) == (os.getpid(), os.uname().nodename)
    assert found.resident_mib is not None
    assert 10 < found.resident_mib < 100_000
    fake_time.now_s += 0.5
    file.beat()
    assert now_in(tmp_path) == found
    fake_time.now_s += 0.5
    file.beat()
    assert now_in(tmp_path).time == fake_time.now_s


def test_the_speed_is_that_of_the_last_steps_alone(tmp_path: Path, fake_time: FakeTime) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    file.phase("train")
    assert now_in(tmp_path).images_per_s is None
    fake_time.now_s += 2
    file.step()
    assert now_in(tmp_path).images_per_s == pytest.approx(5)
    fake_time.now_s += 1
    file.phase("evaluate")
    fake_time.now_s += 100
    file.beat()
    file.phase("train")
    fake_time.now_s += 1
    file.step()
    assert now_in(tmp_path).images_per_s == pytest.approx(10)


def test_phases_that_change_many_times_a_second_are_not_all_written(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    written = []
    for _ in range(100):
        for name in ("train", "evaluate"):
            fake_time.now_s += 0.01
            file.phase(name)
            written.append(now_in(tmp_path).time)
    assert 2 + 200 * 0.01 / 0.25 >= len(set(written)) >= 7
    file.phase("paused")
    assert now_in(tmp_path).phase == "paused"


def test_a_complete_epoch_is_shown_when_the_next_phase_begins(tmp_path: Path) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    file.phase("evaluate")
    file.epoch(ROW, images_per_s=77)
    assert now_in(tmp_path).epoch == 0
    file.phase("train")
    found = now_in(tmp_path)
    assert (found.epoch, found.epochs, found.train_loss, found.val_accuracy) == (1, 3, 0.5, 0.875)
    assert found.images_per_s == 77


def test_a_run_that_goes_on_stands_where_it_stood(tmp_path: Path, fake_time: FakeTime) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    file.phase("startup")
    file.skip(7, ROW)
    file.phase("train")
    found = now_in(tmp_path)
    assert (found.step, found.epoch, found.val_accuracy, found.images_per_s) == (7, 1, 0.875, None)


def test_steps_cost_next_to_nothing(tmp_path: Path) -> None:
    file = LiveFile(tmp_path, epochs=3, batch_size=10)
    file.phase("train")
    start = time.process_time()
    for _ in range(100_000):
        file.step()
    assert time.process_time() - start < 1  # 10 microseconds each; it is about a third of one


def test_a_kill_at_any_moment_leaves_a_whole_file_and_one_temporary_at_most(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.live import LiveFile\n"
        "file = LiveFile(Path(sys.argv[1]), 3, 10)\n"
        "while True: file._written_at = 0; file.beat()"
    )
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
        end = time.monotonic() + 60
        while read_live(tmp_path) is None and time.monotonic() < end:
            time.sleep(0.01)
        found = [read_live(tmp_path) for _ in range(300)]
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert None not in found
        assert read_live(tmp_path) is not None
        assert set(names_in(tmp_path)) <= {"live.json", ".live.json.tmp"}
    clear_temporaries(tmp_path, min_age_s=0)
    assert names_in(tmp_path) == ["live.json"]


def test_it_is_deleted_with_what_a_kill_left_of_it(tmp_path: Path) -> None:
    write_live(tmp_path, LIVE)
    (tmp_path / ".live.json.tmp").write_text("{")
    delete_live(tmp_path)
    assert names_in(tmp_path) == []
