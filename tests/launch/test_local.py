import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.record import read_record
from harness.settings import Settings
from launch.job import Job, Kind
from launch.local import Limits, LocalExecutor
from launch.outcome import keep_failure
from launch.slots import Slots
from tests.launch.jobs import make_job, wait_for

Scripted = Callable[[str], Callable[[Job, Settings], list[str]]]
CORE = min(os.sched_getaffinity(0))


@contextmanager
def running(
    settings: Settings,
    command_of: Callable[[Job, Settings], list[str]],
    limits: Limits | None = None,
    jobs: int = 1,
) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(Slots([(CORE,)] * jobs, []), settings, limits or Limits(), command_of)
    try:
        yield executor
    finally:
        executor.close()


def wait_until(condition: Callable[[], bool], within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_attempt_has_its_cores_its_memory_and_a_clean_environment(
    tmp_path: Path, settings: Settings, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("MINE", "kept")
    lines = (
        "import resource\n"
        "limit = resource.getrlimit(resource.RLIMIT_DATA)[0]\n"
        "print(os.sched_getaffinity(0), limit, os.getpgid(0) == os.getpid())\n"
        "print([os.environ.get(name) for name in ('RANK', 'ACCELERATE_MIXED_PRECISION', 'MINE')])\n"
    )
    with running(settings, scripted(lines), Limits(memory_mib=512)) as executor:
        job = make_job(tmp_path)
        executor.start(job)
        assert executor.running() == [job]
        assert executor.place(job) == f"core {CORE}"
        wait_for(executor)
    printed = (job.run_dir / "output.txt").read_text().splitlines()
    assert printed == [f"{{{CORE}}} {512 * 2**20} True", "[None, None, 'kept']"]


def test_room_is_given_back_when_an_attempt_ends(
    tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    with running(settings, scripted("time.sleep(0.2)"), jobs=2) as executor:
        jobs = [make_job(tmp_path, seed=seed) for seed in range(3)]
        for job in jobs[:2]:
            assert executor.has_room(job)
            executor.start(job)
        assert not executor.has_room(jobs[2])
        wait_for(executor, 2)
        assert executor.has_room(jobs[2])


@pytest.mark.parametrize(
    ("lines", "kind", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed", "killed by SIGSEGV"),
        ("sys.exit(3)", "crashed", "ended with exit code 3"),
        ("sys.exit(130)", "killed", "a signal from outside"),
        ("sys.exit(0)", "taken", "left to another process"),
        ("""say('{"kind": "data", "message": "none"}')\nsys.exit(1)""", "data", "none"),
        ("""say('{"kind": "paused", "message": "x"}')""", "paused", "x"),
        ("""say('{"kind"')\nsys.exit(1)""", "crashed", "exit code 1"),
    ],
)
def test_the_end_of_an_attempt_is_known_by_what_it_left(
    lines: str, kind: Kind, message: str, tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    with running(settings, scripted(lines)) as executor:
        executor.start(make_job(tmp_path))
        (ended,) = wait_for(executor)
    assert ended.kind == kind
    assert message in ended.message


def test_an_attempt_that_takes_too_long_may_save_and_is_then_ended(
    tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    lines = "signal.signal(signal.SIGTERM, lambda *_: sys.exit('saved'))\ntime.sleep(60)"
    with running(settings, scripted(lines), Limits(timeout_s=1)) as executor:
        job = make_job(tmp_path)
        executor.start(job)
        (ended,) = wait_for(executor)
    assert (ended.kind, ended.message) == ("timed_out", "not finished after 1 s")
    assert ended.seconds < 10
    assert (job.run_dir / "output.txt").read_text() == "saved\n"


def test_an_attempt_that_heeds_nothing_is_killed(
    tmp_path: Path, settings: Settings, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.local.GRACE_S", 0.5)
    lines = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)"
    with running(settings, scripted(lines), Limits(timeout_s=1)) as executor:
        executor.start(make_job(tmp_path))
        (ended,) = wait_for(executor)
    assert ended.kind == "timed_out"


def test_an_attempt_without_a_sign_of_life_hangs_and_one_with_signs_does_not(
    tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    lines = (
        "for _ in range(40):\n"
        "    (run_dir / 'live.json').write_text('{}')\n"
        "    time.sleep(0.1)\n"
        "time.sleep(60)\n"
    )
    with running(settings, scripted(lines), Limits(hang_s=1.5)) as executor:
        executor.start(make_job(tmp_path))
        (ended,) = wait_for(executor)
    assert ended.kind == "hung"
    assert ended.seconds > 4  # as long as there were signs, it was left alone


def test_what_an_attempt_leaves_running_is_killed(
    tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    lines = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "(run_dir / 'pid').write_text(str(child.pid))\n"
    )
    with running(settings, scripted(lines)) as executor:
        job = make_job(tmp_path)
        executor.start(job)
        wait_for(executor)
        pid = int((job.run_dir / "pid").read_text())
        wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_a_killed_attempt_is_a_record_with_the_end_of_its_output(
    tmp_path: Path, settings: Settings, scripted: Scripted
) -> None:
    lines = "print('step 7', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with running(settings, scripted(lines)) as executor:
        job = make_job(tmp_path)
        executor.start(job)
        (ended,) = wait_for(executor)
        keep_failure(ended, "python harness/run.py --cell x")
        record = read_record(job.run_dir)
        assert record is not None
        assert record.failure is not None
        assert (record.status, record.failure.kind, record.failure.log_tail) == ("failed", "killed", "step 7")
        assert record.failure.burnt_s == pytest.approx(ended.seconds)
        assert record.command == "python harness/run.py --cell x"
        executor.start(job)  # again: the record of the first attempt is kept beside
        wait_for(executor)
    assert read_record(job.run_dir) is None
    assert len(list((job.run_dir / "attempts").glob("*.json"))) == 1


def test_no_attempt_outlives_its_launcher(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from harness.settings import Settings
from launch.local import Limits, LocalExecutor
from launch.slots import Slots
from tests.launch.jobs import make_job
out = Path({str(tmp_path)!r})
sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
executor = LocalExecutor(Slots([({CORE},)], []), Settings(out=out), Limits(), lambda job, settings: sleep)
executor.start(make_job(out))
print(executor._children.popitem()[1].process.pid, flush=True)
time.sleep(100)
"""
    launcher = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    pid = int(launcher.stdout.readline())
    wait_until(lambda: "sleep(100)" in " ".join(psutil.Process(pid).cmdline()[-1:]))
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
