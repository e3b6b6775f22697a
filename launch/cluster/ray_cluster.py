"""A matrix on a Ray cluster: each attempt is a task with CPUs and GPUs of its own. No torch here.

    executor = RayExecutor(RayOptions(address="auto"), settings, Limits())

Ray itself tries nothing again (`max_retries=0`): a worker or a node that dies ends the attempt as `killed`,
and the launcher decides, counts and waits as it does everywhere. Tasks end with the launcher.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HardwareError, UsageError
from harness.live import read_live
from harness.record import write_cell
from harness.settings import Settings
from launch.cluster.ray_join import check_shared, join
from launch.cluster.ray_task import STOPPED, Result, run_attempt
from launch.command import child_command
from launch.job import Ended, Job
from launch.local import Limits
from launch.outcome import EXIT_INTERRUPTED, judge

COUNT_EVERY_S = 2.0
_KILLED = -9


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, and what each cell asks of it.

    Raises:
        UsageError: a value is out of range.
    """

    address: str | None = None
    """`auto`, `HOST:6379` or `ray://HOST:10001`; None: a cluster of this machine alone, for this command."""

    gpus_per_cell: int | None = None
    """None: one for each process, and none where the CPU is to be used."""

    cpus_per_cell: int | None = None
    """None: one for each process."""

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--gpus-per-cell", self.gpus_per_cell, 0),
            ("--cpus-per-cell", self.cpus_per_cell, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"{option} {value}: expected {least} or more")


@dataclass
class _Task:
    ref: Any
    begun: float
    """By the monotonic clock."""

    is_stopped: bool = False


class RayExecutor:
    """Runs attempts as Ray tasks. See `launch.job.Executor`.

    Raises:
        HardwareError: Ray is not installed, the cluster does not answer, or its nodes do not share the runs.
    """

    def __init__(
        self,
        options: RayOptions,
        settings: Settings,
        limits: Limits,
        command_of: Callable[[Job, Settings], list[str]] = child_command,
    ) -> None:
        self._ray = join(options.address)
        use_cpu = settings.cpu or options.gpus_per_cell == 0
        out, data_dir = settings.out.resolve(), settings.data_dir.resolve()
        self._settings = replace(settings, out=out, data_dir=data_dir, cpu=use_cpu)
        self._options = options
        self._limits = limits
        self._command_of = command_of
        self._tasks: dict[Job, _Task] = {}
        self._nodes: list[dict[str, float]] = []
        self._counted_at = float("-inf")
        try:
            check_shared(self._ray, out)
        except BaseException:
            self._ray.shutdown()
            raise

    def at_once(self) -> int:
        """How many cells of one process the cluster has room for."""
        cpus, gpus = self._options.cpus_per_cell or 1, 0 if self._settings.cpu else 1
        if self._options.gpus_per_cell is not None:
            gpus = self._options.gpus_per_cell
        nodes = self._count()
        each = [
            min(node.get("CPU", 0) // cpus, node.get("GPU", 0) // gpus if gpus else math.inf)
            for node in nodes
        ]
        return max(1, int(sum(each)))

    def has_room(self, job: Job) -> bool:
        """Whether the cluster is large enough for it and all that this launcher has given it.

        Raises:
            HardwareError: no node of the cluster is large enough for it alone.
        """
        cpus, gpus = self._needs(job)
        nodes = self._count()
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            raise HardwareError(
                f"a cell needs {cpus} CPU(s) and {gpus} GPU(s), and no node of the Ray cluster has as many: "
                "see --cpus-per-cell, --gpus-per-cell and --cpu"
            )
        taken = [self._needs(each) for each in self._tasks]
        free_cpus = sum(node.get("CPU", 0) for node in nodes) - sum(each[0] for each in taken)
        free_gpus = sum(node.get("GPU", 0) for node in nodes) - sum(each[1] for each in taken)
        return bool(free_cpus >= cpus and free_gpus >= gpus)

    def start(self, job: Job) -> None:
        """Hand the attempt to Ray.

        Raises:
            StorageError: its folder cannot be written.
        """
        cpus, gpus = self._needs(job)
        write_cell(job.run_dir, job.cell)
        threads = self._settings.threads or max(1, cpus // job.cell.num_processes)
        settings = replace(self._settings, threads=threads)
        # a worker of its own for each attempt: nothing of one is left for the next
        remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(run_attempt)
        there = replace(job, run_dir=job.run_dir.resolve())
        ref = remote.remote(there, settings, self._limits, self._command_of, str(Path.cwd()))
        self._tasks[job] = _Task(ref, time.monotonic())

    def running(self) -> list[Job]:
        """The attempts that have been handed over and not ended."""
        return list(self._tasks)

    def place(self, job: Job) -> str:
        """The node that the attempt says it is on."""
        live = read_live(job.run_dir)
        return "Ray" if live is None else f"Ray node {live.host}"

    def poll(self) -> list[Ended]:
        """The attempts that ended since the last call."""
        jobs = {task.ref: job for job, task in self._tasks.items()}
        if not jobs:
            return []
        ready, _ = self._ray.wait(list(jobs), num_returns=len(jobs), timeout=0)
        return [self._end_of(jobs[ref]) for ref in ready]

    def stop(self, hard: bool, job: Job | None = None) -> None:
        """Let one attempt, or all, save a checkpoint and end; `hard`: kill its worker."""
        for each in [job] if job is not None else list(self._tasks):
            task = self._tasks[each]
            if hard or not task.is_stopped:
                task.is_stopped = True
                self._ray.cancel(task.ref, force=hard)

    def close(self) -> None:
        """Leave the cluster, which ends what still runs."""
        self._tasks.clear()
        self._ray.shutdown()

    def _count(self) -> list[dict[str, float]]:
        """What each node that is alive has, in all; asked for every few seconds."""
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._counted_at = time.monotonic()
        return self._nodes

    def _needs(self, job: Job) -> tuple[int, int]:
        """CPUs and GPUs of an attempt."""
        num_processes, options = job.cell.num_processes, self._options
        gpus = options.gpus_per_cell
        if gpus is None:
            gpus = 0 if self._settings.cpu else num_processes
        return options.cpus_per_cell or num_processes, gpus

    def _end_of(self, job: Job) -> Ended:
        """How an attempt ended, by its own word, or by the type of what Ray raises in its place."""
        task, errors = self._tasks.pop(job), self._ray.exceptions
        seconds = time.monotonic() - task.begun
        try:
            result: Result = self._ray.get(task.ref)
        except errors.TaskCancelledError:
            return judge(job, EXIT_INTERRUPTED, seconds, STOPPED)
        except errors.OutOfMemoryError:
            text = "Ray killed it: the memory of its node ran out"
            return judge(job, _KILLED, seconds, ("out_of_memory", text))
        except errors.RayTaskError as error:
            text = f"its Ray task failed: {type(error.cause).__name__}: {error.cause}".partition("\n")[0]
            return judge(job, 1, seconds, ("crashed", text))
        except errors.RayError as error:  # its worker, its node or its result is gone
            found = judge(job, _KILLED, seconds, STOPPED if task.is_stopped else None)
            if found.kind == "killed":
                found = replace(found, message=f"{type(error).__name__}: its Ray worker or node died")
            return found
        return Ended(job, *result)
