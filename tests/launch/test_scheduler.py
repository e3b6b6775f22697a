import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.record import read_record
from harness.settings import Settings
from launch.claim import Claims
from launch.job import Ended, Job
from launch.local import Limits, LocalExecutor
from launch.outcome import keep_failure
from launch.pending import Plain
from launch.scheduler import Policy, Scheduler
from launch.slots import Slots
from launch.stop_requests import Requests
from launch.summary import Summary, failure_line
from tests.launch.jobs import tiny_cell

Scripted = Callable[[str], Callable[[Job, Settings], list[str]]]
CORE = min(os.sched_getaffinity(0))
FINISH = """
sys.path[0] = ''
from harness.cell import make_cell
from harness.record import Record, write_record
cell = make_cell(**json.loads((run_dir / 'cell.json').read_text()))
def finish():
    record = Record(status='finished', cell_id=cell.cell_id, cell=cell, command='x', started_at='x',
                    ended_at='x', environment=None)
    write_record(run_dir, record)
with open(run_dir.parent / 'started.txt', 'a') as file:
    print(cell.seed, file=file)
"""


class Watched:
    """A watcher that remembers, and lets a test act after so many ticks."""

    def __init__(self, act: Callable[[Scheduler], None] | None = None) -> None:
        self.events: list[str] = []
        self.ends: list[Ended] = []
        self._act = act

    def event(self, text: str) -> None:
        self.events.append(text)

    def tick(self, scheduler: Scheduler) -> None:
        if self._act is not None:
            self._act(scheduler)

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)


def schedule(
    out: Path,
    command_of: Callable[[Job, Settings], list[str]],
    seeds: range,
    watched: Watched | None = None,
    policy: Policy | None = None,
    jobs: int = 1,
) -> Summary:
    executor = LocalExecutor(Slots([(CORE,)] * jobs, []), Settings(out=out, cpu=True), Limits(), command_of)
    queue = Plain(out, [tiny_cell(seed=seed) for seed in seeds])
    scheduler = Scheduler(
        out, queue, executor, Claims(out), watched or Watched(), lambda job: "a command", policy or Policy()
    )
    return scheduler.run()


def started(out: Path) -> list[int]:
    return [int(line) for line in (out / "started.txt").read_text().splitlines()]


def test_every_cell_is_run_once_in_order(tmp_path: Path, scripted: Scripted) -> None:
    summary = schedule(tmp_path, scripted(FINISH + "finish()"), range(4))
    assert started(tmp_path) == [0, 1, 2, 3]
    assert len(summary.finished) == 4
    assert (summary.failed, summary.unfinished, summary.was_interrupted) == ({}, 0, False)


def test_a_killed_cell_is_tried_again_and_what_it_left_is_kept(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.scheduler.FIRST_BACKOFF_S", 0.2)
    lines = "if len(list((run_dir / 'attempts').glob('*.json'))) < 1: os.kill(os.getpid(), signal.SIGKILL)\n"
    summary = schedule(tmp_path, scripted(FINISH + lines + "finish()"), range(2))
    assert started(tmp_path) == [0, 1, 0, 1] or started(tmp_path) == [0, 0, 1, 1]
    assert len(summary.finished) == 2
    assert not summary.failed


def test_retries_come_to_an_end(tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.scheduler.FIRST_BACKOFF_S", 0.1)
    watched = Watched()
    kill = scripted(FINISH + "os.kill(os.getpid(), signal.SIGKILL)")
    summary = schedule(tmp_path, kill, range(1), watched, Policy(retries=2))
    assert len(started(tmp_path)) == 3
    assert dict(summary.failures()) == {"killed": 1}
    assert [ended.job.attempt for ended in watched.ends] == [1, 2, 3]


def test_an_end_that_no_attempt_cures_is_not_tried_again(tmp_path: Path, scripted: Scripted) -> None:
    lines = """say('{"kind": "diverged", "message": "the loss became nan"}')\nsys.exit(1)"""
    summary = schedule(tmp_path, scripted(FINISH + lines), range(1), policy=Policy(retries=5))
    assert len(started(tmp_path)) == 1
    (ended,) = summary.failed.values()
    record = read_record(ended.job.run_dir)
    assert record is not None
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message) == ("diverged", "the loss became nan")
    assert record.command == "a command"
    assert failure_line(ended).startswith("diverged: mlp none fp32 seed 0 after ")


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path, scripted: Scripted) -> None:
    summary = schedule(tmp_path, scripted(FINISH + "sys.exit(1)"), range(4), policy=Policy(fail_fast=True))
    assert started(tmp_path) == [0]
    assert (len(summary.failed), summary.unfinished) == (1, 3)


def test_a_cell_that_fails_leaves_the_others_alone(tmp_path: Path, scripted: Scripted) -> None:
    lines = "finish() if cell.seed != 1 else sys.exit(1)"
    summary = schedule(tmp_path, scripted(FINISH + lines), range(3), jobs=2)
    assert sorted(started(tmp_path)) == [0, 1, 2]
    assert (len(summary.finished), dict(summary.failures())) == (2, {"crashed": 1})


SAVE = "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(130)))\n"


def interrupt_when_started(out: Path, times: int = 1) -> Callable[[Scheduler], None]:
    """Send this process SIGINT once the first child is well on its way."""
    left = [times]

    def act(scheduler: Scheduler) -> None:
        if left[0] and (out / "started.txt").exists():
            time.sleep(0.3)
            left[0] -= 1
            os.kill(os.getpid(), signal.SIGINT)

    return act


def test_ctrl_c_lets_what_runs_save_and_leaves_the_rest(tmp_path: Path, scripted: Scripted) -> None:
    assert threading.current_thread() is threading.main_thread()
    watched = Watched(interrupt_when_started(tmp_path))
    summary = schedule(tmp_path, scripted(SAVE + FINISH + "time.sleep(60)"), range(3), watched)
    assert summary.was_interrupted
    assert (summary.finished, summary.failed, summary.unfinished) == ([], {}, 3)
    (ended,) = watched.ends
    assert ended.kind == "interrupted"
    assert (ended.job.run_dir / "output.txt").read_text() == "saved\n"
    assert read_record(ended.job.run_dir) is None  # it goes on from its checkpoint


def test_ctrl_c_twice_kills(tmp_path: Path, scripted: Scripted) -> None:
    watched = Watched(interrupt_when_started(tmp_path, times=2))
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    begun = time.monotonic()
    summary = schedule(tmp_path, scripted(stubborn + FINISH + "time.sleep(60)"), range(2), watched)
    assert time.monotonic() - begun < 20
    assert (summary.was_interrupted, summary.unfinished) == (True, 2)


def test_a_cell_that_another_launcher_has_is_waited_for(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.scheduler.LOOK_ELSEWHERE_S", 0.2)
    theirs = tiny_cell(seed=1)
    other = Claims(tmp_path)
    assert other.try_claim(theirs.cell_id)

    def let_go(scheduler: Scheduler) -> None:
        if len(scheduler.summary.finished) == 2:
            other.release(theirs.cell_id)  # without having finished it

    summary = schedule(tmp_path, scripted(FINISH + "finish()"), range(3), Watched(let_go))
    assert started(tmp_path) == [0, 2, 1]
    assert len(summary.finished) == 3


def test_a_cell_that_another_launcher_finishes_is_not_run(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.scheduler.LOOK_ELSEWHERE_S", 0.2)
    theirs = tiny_cell(seed=1)
    other = Claims(tmp_path)
    assert other.try_claim(theirs.cell_id)

    def finish_theirs(scheduler: Scheduler) -> None:
        done = tmp_path / theirs.cell_id / "record.json"
        if len(scheduler.summary.finished) == 2 and not done.exists():
            mine = tmp_path / scheduler.summary.finished[0] / "record.json"
            done.write_text(mine.read_text().replace(scheduler.summary.finished[0], theirs.cell_id))
            other.release(theirs.cell_id)

    summary = schedule(tmp_path, scripted(FINISH + "finish()"), range(3), Watched(finish_theirs))
    assert started(tmp_path) == [0, 2]
    assert summary.elsewhere == [theirs.cell_id]


def test_larger_groups_of_processes_start_first_and_smaller_ones_fill_up(tmp_path: Path) -> None:
    cells = [tiny_cell(seed=0), tiny_cell(seed=1, num_processes=2, strategy="ddp"), tiny_cell(seed=2)]
    queue = Plain(tmp_path, cells)
    large = queue.next(lambda job: True)
    assert large is not None
    assert large.cell.num_processes == 2
    queue.again(large, 0)
    small = queue.next(lambda job: job.cell.num_processes == 1)  # no room for two now
    assert small is not None
    assert small.cell.seed == 0
    assert queue.next(lambda job: False) is None
    assert len(queue) == 2


def test_what_waits_for_another_attempt_lets_others_pass(tmp_path: Path) -> None:
    queue = Plain(tmp_path, [tiny_cell(seed=0), tiny_cell(seed=1)])
    first = queue.next(lambda job: True)
    assert first is not None
    queue.again(first, 0.3)
    second = queue.next(lambda job: True)
    assert second is not None
    assert second.cell.seed == 1
    assert queue.next(lambda job: True) is None
    time.sleep(0.35)
    again = queue.next(lambda job: True)
    assert again is not None
    assert (again.cell, again.attempt) == (first.cell, 2)


def test_a_cell_whose_folder_cannot_be_used_fails_alone(tmp_path: Path, scripted: Scripted) -> None:
    (tmp_path / tiny_cell(seed=1).cell_id).write_text("a file in the way")
    summary = schedule(tmp_path, scripted(FINISH + "finish()"), range(3))
    assert started(tmp_path) == [0, 2]
    assert dict(summary.failures()) == {"storage": 1}


def test_a_disk_that_takes_nothing_ends_the_launcher_after_what_runs_has_saved(
    tmp_path: Path, scripted: Scripted
) -> None:
    for seed in (1, 2, 3, 4):
        (tmp_path / tiny_cell(seed=seed).cell_id).write_text("a file in the way")
    with pytest.raises(StorageError):
        schedule(tmp_path, scripted(SAVE + FINISH + "time.sleep(60)"), range(6), jobs=2)
    output = tmp_path / tiny_cell(seed=0).cell_id / "output.txt"
    assert "saved" in output.read_text() or not output.read_text()  # it may have had no time to begin


def test_what_another_launcher_gave_up_since_we_began_is_not_tried_again(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.scheduler.LOOK_ELSEWHERE_S", 0.2)
    theirs = tiny_cell(seed=1)
    other = Claims(tmp_path)
    assert other.try_claim(theirs.cell_id)

    def give_up(scheduler: Scheduler) -> None:
        done = tmp_path / theirs.cell_id / "record.json"
        if len(scheduler.summary.finished) == 2 and not done.exists():
            keep_failure(Ended(Job(theirs, done.parent), "diverged", "nan", 1.0), "x")
            other.release(theirs.cell_id)

    summary = schedule(tmp_path, scripted(FINISH + "finish()"), range(3), Watched(give_up))
    assert started(tmp_path) == [0, 2]
    assert dict(summary.failures()) == {"diverged": 1}


def test_a_closed_terminal_asks_once_however_often_it_is_told() -> None:
    with Requests() as requests:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert requests.new() == 1
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.new() == 2
        assert requests.new() == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.new() == 3


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Requests() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert requests.new() == 0
    finally:
        signal.signal(signal.SIGHUP, before)
