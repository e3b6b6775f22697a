"""Processes that end with their parent: real ones, killed for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.test_resume import CELL, ONE, TWO

ROOT = Path(__file__).parents[2]
TIED = "import os, time; from harness.tether import die_with_parent; die_with_parent();"
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
PATIENCE_S = 30

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl")


def is_gone(process: psutil.Process) -> bool:
    """Whether it ends soon; one that nobody waits for counts as ended."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def wait_for(path: Path, parent: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert parent.poll() is None, parent.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    child = f"{TIED} open({str(tmp_path / 'ready')!r}, 'w').write('x'); time.sleep(600)"
    command = [sys.executable, "-c", PARENT, sys.executable, "-c", child]
    parent = subprocess.Popen(command, cwd=ROOT, text=True)
    wait_for(tmp_path / "ready", parent)
    (tied,) = psutil.Process(parent.pid).children()
    assert tied.is_running()
    parent.kill()
    parent.wait()
    assert is_gone(tied)


def test_what_replaces_the_child_is_tied_as_well(tmp_path: Path) -> None:
    child = f"{TIED} os.execvp('sh', ['sh', '-c', 'touch {tmp_path}/ready; exec sleep 600'])"
    command = [sys.executable, "-c", PARENT, sys.executable, "-c", child]
    parent = subprocess.Popen(command, cwd=ROOT, text=True)
    wait_for(tmp_path / "ready", parent)
    (tied,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert is_gone(tied)


@pytest.mark.parametrize(
    ("parents", "launcher", "is_alive"),
    [
        ([700, 700], None, True),
        ([700, 1], None, False),
        ([700, 650], None, False),  # given to a subreaper
        ([1, 1], "700", False),
        ([1, 1], "1", True),  # the launcher is process 1 of its container
    ],
)
def test_an_orphan_ends_at_once(parents: list[int], launcher: str | None, is_alive: bool) -> None:
    code = (
        f"import os; parents = iter({parents}); os.getppid = lambda: next(parents)\n"
        "from harness.tether import die_with_parent\n"
        "die_with_parent(); print('alive')"
    )
    variables = {} if launcher is None else {"VERDICT_PARENT_PID": launcher}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("alive\n" if is_alive else "", "")
    assert (done.returncode == 0) == is_alive


@pytest.mark.parametrize("command", [ONE, pytest.param(TWO, marks=pytest.mark.slow)], ids=["one", "two"])
def test_no_training_survives_its_launcher(tmp_path: Path, command: list[str]) -> None:
    """Torchrun's workers have sessions of their own: they die with its agent, it with the launcher."""
    long = [*command, *CELL, "--epochs", "10000", "--checkpoint-minutes", "0"]
    tied = [sys.executable, "-c", f"{TIED} import sys; os.execv(sys.argv[1], sys.argv[1:])", *long]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *tied],
        cwd=tmp_path,
        env=os.environ | {"VERDICT_PARENT_PID": "2", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/live.json")):
        assert parent.poll() is None, parent.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == (1 if command is ONE else 3)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert all(is_gone(process) for process in family)
