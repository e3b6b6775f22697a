"""Attempts on this machine: each a process group with cores or GPUs of its own, watched until it ends.

No torch here. An attempt dies with the launcher, however that ends (`launch/start.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from harness.files import storage_error
from harness.live import live_path
from harness.record import write_cell
from harness.settings import Settings
from launch.command import ROOT, child_command, child_environment, output_path
from launch.job import Ended, Job, Kind
from launch.outcome import clear_outcome, judge
from launch.slots import Slot, Slots

START = ROOT / "launch" / "start.py"
GRACE_S = 60.0
"""For a checkpoint, between the request to stop and the kill."""

_OOM_KILLS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


@dataclass(frozen=True)
class Limits:
    """What an attempt may take."""

    timeout_s: float | None = None
    hang_s: float | None = 900.0
    """Without a sign of life."""

    memory_mib: float | None = None
    """Of all its processes together, on the host."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    slot: Slot
    started: float
    """By the monotonic clock."""

    beat: float = 0.0
    """Time of the file of its last sign of life; only a change of it says something."""

    beat_seen: float = 0.0
    """When that was seen, by the monotonic clock."""

    family: list[psutil.Process] = field(default_factory=list)
    """What was killed with it, and may take some time to end."""

    ended: float | None = None
    """When its first process ended."""

    reason: tuple[Kind, str] | None = None
    kill_at: float | None = None
    """When it is killed, after it was asked to stop."""


class LocalExecutor:
    """Runs attempts in the slots of this machine. See `launch.job.Executor`.

    Args:
        slots: the cores and GPUs to use.
        settings: of each attempt.
        limits: of each attempt.
        command_of: the words that start one.
    """

    def __init__(
        self,
        slots: Slots,
        settings: Settings,
        limits: Limits,
        command_of: Callable[[Job, Settings], list[str]] = child_command,
    ) -> None:
        self._slots = slots
        self._settings = settings
        self._limits = limits
        self._command_of = command_of
        self._children: dict[Job, _Child] = {}
        self._num_oom_kills, self._oom_counted_at = num_oom_kills(), time.monotonic()

    def has_room(self, job: Job) -> bool:
        """Whether there are cores, and GPUs for all its processes."""
        return self._slots.has_room(job.cell.num_processes)

    def start(self, job: Job) -> None:
        """Start the attempt's process group.

        Raises:
            StorageError: its folder cannot be written.
        """
        slot = self._slots.take(job.cell.num_processes)
        threads = self._settings.threads or max(1, len(slot.cores) // job.cell.num_processes)
        settings = replace(self._settings, threads=threads, cpu=self._settings.cpu or not slot.gpus)
        environment = child_environment(job, settings)
        if slot.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in slot.gpus)
        words = [*self._tying(job), "--cpus", ",".join(map(str, slot.cores))]
        try:
            job.run_dir.mkdir(parents=True, exist_ok=True)
            clear_outcome(job)
            write_cell(job.run_dir, job.cell)
            process = spawn([*words, "--", *self._command_of(job, settings)], environment, output_path(job))
        except BaseException as error:
            self._slots.give_back(slot)
            if isinstance(error, OSError):
                raise storage_error(job.run_dir, error) from error
            raise
        self._children[job] = _Child(process, slot, time.monotonic(), beat=_beaten_at(job))

    def running(self) -> list[Job]:
        """The attempts that have begun and not ended."""
        return list(self._children)

    def place(self, job: Job) -> str:
        """The cores or GPUs of a running attempt."""
        return self._children[job].slot.name

    def poll(self) -> list[Ended]:
        """The attempts that ended since the last call; those that ran out of time are asked to stop."""
        ended = []
        self._count_oom_kills()
        for job, child in list(self._children.items()):
            returncode = child.process.poll()
            if returncode is None:
                self._watch(job, child)
                continue
            if child.ended is None:
                child.ended = time.monotonic()
                _kill(child)  # what it left running
            if _is_alive(child.family) and time.monotonic() - child.ended < GRACE_S:
                continue  # its GPUs are not free before
            del self._children[job]
            self._slots.give_back(child.slot)
            found = judge(job, returncode, child.ended - child.started, child.reason)
            if found.kind == "killed" and num_oom_kills() > self._num_oom_kills:
                found = replace(
                    found, kind="out_of_memory", message="killed by the kernel: memory of the machine ran out"
                )
            ended.append(found)
        return ended

    def stop(self, hard: bool, job: Job | None = None) -> None:
        """Ask one attempt, or all, to save a checkpoint and stop; `hard`: kill it."""
        for each in [job] if job is not None else list(self._children):
            child = self._children[each]
            if hard:
                child.reason = child.reason or ("interrupted", "killed on the user's word")
                _kill(child)
            elif child.kill_at is None:
                self._end(child, "interrupted", "stopped on the user's word; it goes on from its checkpoint")

    def close(self) -> None:
        """Kill what still runs."""
        for child in self._children.values():
            _kill(child)
            child.process.wait()

    def _tying(self, job: Job) -> list[str]:
        """The words before the options of `launch/start.py` and the command."""
        words = [sys.executable, str(START)]
        if self._limits.memory_mib is not None:
            words += ["--max-bytes", str(int(self._limits.memory_mib * 2**20 / job.cell.num_processes))]
        return words

    def _count_oom_kills(self) -> None:
        """Once a second is enough to tell a kill for memory from one before."""
        now = time.monotonic()
        if now - self._oom_counted_at >= 1:
            self._num_oom_kills, self._oom_counted_at = num_oom_kills(), now

    def _watch(self, job: Job, child: _Child) -> None:
        now, limits = time.monotonic(), self._limits
        if child.kill_at is not None:
            if now >= child.kill_at:
                _kill(child)
            return
        if limits.timeout_s is not None and now - child.started >= limits.timeout_s:
            self._end(child, "timed_out", f"not finished after {limits.timeout_s:,.0f} s")
        elif limits.hang_s is not None and now - child.started >= limits.hang_s:
            beat = _beaten_at(job)
            if beat != child.beat:
                child.beat, child.beat_seen = beat, now
            silence = now - max(child.started, child.beat_seen)
            if silence >= limits.hang_s:
                child.reason = ("hung", f"no sign of life for {silence:,.0f} s")
                _kill(child)

    def _end(self, child: _Child, kind: Kind, message: str) -> None:
        child.reason = (kind, message)
        child.kill_at = time.monotonic() + GRACE_S
        with suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)


def spawn(words: list[str], environment: dict[str, str], output: Path) -> subprocess.Popen[bytes]:
    """Start a process group that reads nothing and appends what it prints to `output`."""
    with output.open("ab") as file:
        return subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the launcher's to pass on
        )


def _kill(child: _Child) -> None:
    """SIGKILL the process, its group, and all that descends from it: torchrun's workers have own groups."""
    pid = child.process.pid
    with suppress(psutil.Error):
        child.family += psutil.Process(pid).children(recursive=True)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in child.family:
        with suppress(psutil.Error):
            process.kill()


def _is_alive(family: list[psutil.Process]) -> bool:
    for process in family:
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _beaten_at(job: Job) -> float:
    """When the attempt gave its last sign of life; 0 before the first."""
    try:
        return live_path(job.run_dir).stat().st_mtime
    except OSError:
        return 0.0


def num_oom_kills() -> int:
    """How many processes of this container or machine the kernel has killed for memory; 0: it is silent."""
    for path in _OOM_KILLS:
        with suppress(OSError):
            for line in path.read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
