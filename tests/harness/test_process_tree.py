from __future__ import annotations

import json
import mmap
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from harness.process_tree import PROPORTIONAL, RESIDENT, ProcessTree
from harness.usage import Missing

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs proportional set sizes")

CHILD_OF_100_MIB = "data = bytearray(b'x' * 100 * 2**20); print('ready', flush=True); input()"
FORKS = """
import json, os, signal
from harness.process_tree import ProcessTree
tree = ProcessTree(now=lambda: 0.0)
before = tree.read_mib()
data = bytearray(b"x" * 100 * 2**20)
child = os.fork()
if child == 0:
    signal.pause()
resident = tree.read_mib()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(json.dumps([before, resident, tree.read_mib(), tree.method]))
"""


def tree_without_rests() -> ProcessTree:
    return ProcessTree(now=lambda: 0.0)  # no reading costs any time


def mib(tree: ProcessTree) -> float:
    value = tree.read_mib()
    assert not isinstance(value, Missing)
    return value


def start_child() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD_OF_100_MIB]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_what_a_process_starts_counts_while_it_lives() -> None:
    tree = tree_without_rests()
    before = mib(tree)
    with start_child() as child:
        assert 95 < mib(tree) - before < 130
        child.communicate("\n")
    assert abs(mib(tree) - before) < 15


def test_the_memory_of_this_process_counts() -> None:
    tree = tree_without_rests()
    before = mib(tree)
    with mmap.mmap(-1, 50 * 2**20) as memory:  # and none that was freed before
        for start in range(0, len(memory), mmap.PAGESIZE):
            memory[start] = 1
        assert 45 < mib(tree) - before < 70


@linux_only
def test_pages_that_processes_share_count_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, timeout=60
    )
    before, with_fork, after, method = json.loads(done.stdout)
    assert 95 < with_fork - before < 130
    assert abs(after - with_fork) < 15
    assert method == PROPORTIONAL


@linux_only
def test_costly_readings_are_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {"children": 0, "memory_full_info": 0}
    for name in readings:
        monkeypatch.setattr(psutil.Process, name, counting(readings, name))
    clock = SimpleNamespace(now=0.0)

    def now() -> float:
        clock.now += 0.001  # so that each costly reading takes a millisecond, and rests for a second
        return float(clock.now)

    tree = ProcessTree(now)
    for _ in range(100):
        mib(tree)
    assert readings == {"children": 1, "memory_full_info": 1}
    clock.now += 2
    mib(tree)
    assert readings == {"children": 2, "memory_full_info": 2}


def counting(readings: dict[str, int], name: str) -> object:
    original = getattr(psutil.Process, name)

    def call(process: psutil.Process, *args: object, **kwargs: object) -> object:
        readings[name] += 1
        return original(process, *args, **kwargs)

    return call


def test_where_pages_cannot_be_divided_resident_sets_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", deny)
    tree = tree_without_rests()
    assert mib(tree) == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.05)
    assert tree.method == RESIDENT


def test_a_process_that_may_not_be_looked_at_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_info", deny)
    answer = ProcessTree().read_mib()
    assert isinstance(answer, Missing)
    assert "cannot be read" in answer.reason
