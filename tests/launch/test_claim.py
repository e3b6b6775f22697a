from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import launch.claim
from harness.errors import StorageError
from harness.live import live_path
from launch.claim import Claims, Machine, start_of, this_machine
from launch.claim_files import scan
from tests.launch.claim_helpers import (
    SCRIPT,
    STALE_AFTER_S,
    WAIT_S,
    Start,
    claim_files,
    launchers,
    says,
    seconds_until_claimed,
    watcher,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with launchers(tmp_path) as run:
        yield run


def test_a_cell_belongs_to_the_first_who_claims_it_until_that_one_gives_it_back(tmp_path: Path) -> None:
    first, second = watcher(tmp_path), watcher(tmp_path)
    assert first.try_claim("cell")
    assert not second.try_claim("cell")
    assert second.try_claim("other cell")
    assert first.try_claim("cell"), "what is ours stays ours"
    second.release("cell")
    assert first.still_ours("cell")
    first.release("cell")
    assert not first.still_ours("cell")
    assert second.try_claim("cell")
    assert claim_files(tmp_path) == ["000001.json", "000002.json"]


def test_everything_held_is_given_back_at_once(tmp_path: Path) -> None:
    first, second = watcher(tmp_path), watcher(tmp_path)
    cells = [f"cell{number}" for number in range(5)]
    assert all(first.try_claim(cell) for cell in cells)
    first.release_all()
    assert all(second.try_claim(cell) for cell in cells)


def test_the_holder_of_a_cell_is_named(tmp_path: Path) -> None:
    claims, before = watcher(tmp_path), time.time()
    assert claims.holder("cell") is None
    assert not (tmp_path / "runs").exists(), "asking writes nothing"
    assert claims.try_claim("cell")
    holder = watcher(tmp_path).holder("cell")
    assert holder is not None
    assert (holder.host, holder.pid) == (this_machine().host, os.getpid())
    assert holder.since is not None
    assert before <= holder.since <= time.time()
    claims.release("cell")
    assert claims.holder("cell") is None


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_the_cell_of_a_killed_launcher_of_this_machine_is_free_at_once(
    tmp_path: Path, start: Start, reaped: bool
) -> None:
    child = start("hold", "holder", "here")
    assert says(child) == "claimed"
    claims = Claims(tmp_path / "runs", stale_after_s=3600)
    assert not claims.try_claim("cell")
    child.kill()
    if reaped:
        child.wait()
    else:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert claims.holder("cell") is None
    assert claims.try_claim("cell")


def test_a_launcher_of_this_machine_keeps_its_cell_however_long_it_is_silent(
    tmp_path: Path, start: Start
) -> None:
    child = start("hold", "holder", "here")
    assert says(child) == "claimed"
    child.send_signal(signal.SIGSTOP)
    claims = Claims(tmp_path / "runs", stale_after_s=0.1)
    for _ in range(5):
        assert not claims.try_claim("cell")
        time.sleep(0.1)


def test_a_suspended_launcher_of_another_machine_loses_its_cell_and_learns_it(
    tmp_path: Path, start: Start
) -> None:
    child = start("hold", "holder", "elsewhere")
    assert says(child) == "claimed"
    child.send_signal(signal.SIGSTOP)
    claims = watcher(tmp_path)
    assert seconds_until_claimed(claims) >= STALE_AFTER_S
    child.send_signal(signal.SIGCONT)
    assert says(child) == "lost"
    assert child.wait(WAIT_S) == 0
    assert claims.still_ours("cell")
    assert claim_files(tmp_path) == ["000001.json", "000002.json"]


def test_a_launcher_of_another_machine_keeps_its_cell_while_it_gives_signs_of_life(
    tmp_path: Path, start: Start
) -> None:
    child = start("hold", "holder", "elsewhere")
    assert says(child) == "claimed"
    claims, begin = watcher(tmp_path), time.monotonic()
    while time.monotonic() - begin < 2.5 * STALE_AFTER_S:
        assert not claims.try_claim("cell")
        time.sleep(0.05)
    child.kill()
    assert seconds_until_claimed(claims) >= STALE_AFTER_S / 2


def test_a_suspended_launcher_keeps_its_cell_while_its_child_is_at_work(tmp_path: Path, start: Start) -> None:
    child = start("hold", "holder", "elsewhere")
    assert says(child) == "claimed"
    child.send_signal(signal.SIGSTOP)
    live = live_path(tmp_path / "runs" / "cell")
    claims, begin = watcher(tmp_path), time.monotonic()
    while time.monotonic() - begin < 2.5 * STALE_AFTER_S:
        live.write_text("{}")
        assert not claims.try_claim("cell")
        time.sleep(0.05)
    assert seconds_until_claimed(claims) >= STALE_AFTER_S / 2


def test_a_watcher_that_was_suspended_itself_does_not_take_its_own_pause_for_silence(
    tmp_path: Path, start: Start
) -> None:
    child = start("hold", "holder", "elsewhere")
    assert says(child) == "claimed"
    claims = watcher(tmp_path)
    assert not claims.try_claim("cell")
    time.sleep(1.5 * STALE_AFTER_S)
    assert not claims.try_claim("cell")


def test_clocks_that_disagree_by_hours_do_no_harm(tmp_path: Path, start: Start) -> None:
    child = start("hold", "holder", "elsewhere")
    assert says(child) == "claimed"
    child.send_signal(signal.SIGSTOP)
    path = tmp_path / "runs" / "cell" / "claims" / "000001.json"
    for hours in (-5, 5):
        os.utime(path, (time.time() + hours * 3600,) * 2)
        claims = watcher(tmp_path)
        assert not claims.try_claim("cell"), "an old file alone means nothing"
    assert seconds_until_claimed(claims) < WAIT_S / 2, "nor does one from the future"


def test_a_sign_of_life_is_seen_where_the_time_of_a_file_says_nothing(tmp_path: Path) -> None:
    holder = Claims(tmp_path / "runs", refresh_s=0, machine=Machine("elsewhere", "boot"))
    assert holder.try_claim("cell")
    claims, begin = watcher(tmp_path), time.monotonic()
    while time.monotonic() - begin < 2.5 * STALE_AFTER_S:
        assert holder.refresh() == []
        os.utime(tmp_path / "runs" / "cell" / "claims" / "000001.json", (0, 0))
        assert not claims.try_claim("cell")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "content", ["", '{"launcher": "a", "ho', "[]", '{"launcher": "a", "pid": 0}', "\x00" * 200]
)
def test_a_damaged_claim_blocks_for_the_stale_time_only(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "runs" / "cell" / "claims"
    folder.mkdir(parents=True)
    (folder / "000007.json").write_text(content)
    claims = watcher(tmp_path)
    holder = claims.holder("cell")
    assert holder is not None
    assert holder.host is None
    assert seconds_until_claimed(claims) >= STALE_AFTER_S / 2
    assert claim_files(tmp_path) == ["000007.json", "000008.json"]


def test_what_killed_launchers_left_half_written_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "cell" / "claims"
    folder.mkdir(parents=True)
    (folder / ".000001.json.0123.tmp").write_text('{"launcher"')
    assert watcher(tmp_path).try_claim("cell")
    assert claim_files(tmp_path) == ["000001.json"]


def test_another_process_with_the_number_of_the_holder_does_not_keep_the_cell(tmp_path: Path) -> None:
    assert watcher(tmp_path).try_claim("cell")
    assert not watcher(tmp_path).try_claim("cell")
    path = tmp_path / "runs" / "cell" / "claims" / "000001.json"
    claim = json.loads(path.read_text())
    assert claim["start"] == start_of(os.getpid())
    path.write_text(json.dumps(claim | {"start": claim["start"] - 1}))
    assert watcher(tmp_path).try_claim("cell")


def test_the_start_of_a_process_is_read_whatever_its_name(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    shutil.copy(shutil.which("sleep") or "", program)
    begin = start_of(os.getpid())
    child = subprocess.Popen([program, "60"])
    later = start_of(child.pid)
    child.kill()
    child.wait()
    assert begin is not None
    assert later is not None
    age_s = (later - begin) / os.sysconf("SC_CLK_TCK")
    assert 0 <= age_s < 24 * 3600
    assert start_of(child.pid) is None


def test_process_numbers_of_another_boot_or_namespace_are_not_looked_up(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert watcher(tmp_path).try_claim("cell")
    path = tmp_path / "runs" / "cell" / "claims" / "000001.json"
    claim = json.loads(path.read_text()) | {"pid": ended.pid, "boot": "another"}
    path.write_text(json.dumps(claim))
    assert not watcher(tmp_path).try_claim("cell")
    path.write_text(json.dumps(claim | {"boot": this_machine().boot}))
    assert watcher(tmp_path).try_claim("cell")


def test_a_deleted_and_reclaimed_folder_is_lost_and_not_written_over(tmp_path: Path) -> None:
    first, second = Claims(tmp_path / "runs", refresh_s=0), watcher(tmp_path)
    assert first.try_claim("cell")
    shutil.rmtree(tmp_path / "runs" / "cell")
    assert second.try_claim("cell")
    assert first.refresh() == ["cell"]
    assert first.refresh() == []
    assert second.still_ours("cell")


def test_a_deleted_folder_is_lost(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "runs", refresh_s=0)
    assert claims.try_claim("cell")
    assert claims.refresh() == []
    shutil.rmtree(tmp_path / "runs")
    assert claims.refresh() == ["cell"]


def test_a_folder_deleted_in_the_middle_of_a_refresh_is_lost_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(tmp_path / "runs", refresh_s=0)
    assert claims.try_claim("cell")

    def scan_and_delete(folder: Path) -> tuple[int, list[Path]]:
        found = scan(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return found

    monkeypatch.setattr(launch.claim, "scan", scan_and_delete)
    assert claims.refresh() == ["cell"]


def test_a_claim_whose_reply_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path.hardlink_to

    def link_and_fail(path: Path, target: Path) -> None:
        link(path, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(Path, "hardlink_to", link_and_fail)
    assert watcher(tmp_path).try_claim("cell")
    assert claim_files(tmp_path) == ["000001.json"]


def test_one_launcher_wins_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first, second = watcher(tmp_path), watcher(tmp_path)
    monkeypatch.setattr(launch.claim, "scan", lambda folder: (0, []))  # neither has seen the other
    assert [first.try_claim("cell"), second.try_claim("cell")] == [True, False]
    assert claim_files(tmp_path) == ["000001.json"]


def test_the_slower_of_two_that_saw_the_same_folder_does_not_get_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (watcher(tmp_path) for _ in range(3))
    with monkeypatch.context() as patch:
        patch.setattr(launch.claim, "scan", lambda folder: (0, []))
        assert [first.try_claim("cell"), second.try_claim("cell")] == [True, False]
    first.release("cell")
    assert third.try_claim("cell")
    third.release("cell")
    monkeypatch.setattr(launch.claim, "scan", lambda folder: (1, []))  # what the second remembers
    assert not second.try_claim("cell"), "the number 2 has been used"


def test_a_launcher_on_a_full_disk_keeps_its_cell(tmp_path: Path, start: Start) -> None:
    child = start("hold", "holder", "elsewhere", "full")
    assert says(child) == "claimed"
    claims, begin = watcher(tmp_path), time.monotonic()
    while time.monotonic() - begin < 2.5 * STALE_AFTER_S:
        assert not claims.try_claim("cell")
        time.sleep(0.05)
    assert child.poll() is None


def test_a_cell_given_back_on_a_full_disk_is_free_after_the_stale_time(tmp_path: Path, start: Start) -> None:
    child = start("hold", "holder", "here", "full", "release")
    assert [says(child), says(child)] == ["claimed", "released"]
    seconds_until_claimed(watcher(tmp_path))
    assert child.poll() is None, "it was not its end that freed the cell"


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    claims = Claims(Path("/proc/runs"))
    with pytest.raises(StorageError, match=r"^cannot write /proc/runs/cell/claims/000001.json: .+$"):
        claims.try_claim("cell")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root is let in without setpriv of util-linux")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell").chmod(0o555)
    code = (
        "import sys; from pathlib import Path; from launch.claim import Claims; "
        "Claims(Path(sys.argv[1])).try_claim('cell')"
    )
    unprivileged = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    child = subprocess.run(
        [*unprivileged, sys.executable, "-c", code, tmp_path],
        cwd=SCRIPT.parents[2],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    expected = f"StorageError: cannot write {tmp_path}/cell/claims/000001.json: Permission denied"
    assert child.stderr.splitlines()[-1].endswith(expected)


def test_a_run_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cell").write_text("")
    with pytest.raises(StorageError, match=r"^cannot read .*/cell/claims: Not a directory$"):
        Claims(tmp_path).try_claim("cell")


def test_holding_cells_costs_next_to_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path, refresh_s=3600)
    assert all(claims.try_claim(f"cell{number}") for number in range(10))
    before = time.process_time()
    for _ in range(1000):
        assert claims.refresh() == []
    assert time.process_time() - before < 0.5, "looking whether it is due, 1000 times"
    claims = Claims(tmp_path / "due", refresh_s=0)
    assert all(claims.try_claim(f"cell{number}") for number in range(10))
    before = time.process_time()
    for _ in range(10):
        assert claims.refresh() == []
    assert time.process_time() - before < 1, "ten times ten refreshes; one takes ten seconds' turn"


def test_ten_thousand_cells_without_claims_are_asked_for_in_no_time(tmp_path: Path) -> None:
    claims = watcher(tmp_path)
    (tmp_path / "runs").mkdir()
    before = time.process_time()
    assert not any(claims.holder(f"cell{number}") for number in range(10_000))
    assert time.process_time() - before < 1.5
