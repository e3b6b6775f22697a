"""What submitit runs on each node of a Slurm job: one attempt, until it ends or the job has to go.

Three signals mean something to it, all of which Slurm sends to every process of a job:

    SIGUSR2   before the time limit, or when preempted: save a checkpoint, requeue the job (submitit's hook)
    SIGUSR1   the launcher's word: save a checkpoint and end
    SIGTERM   scancel, or preemption without SIGUSR2: Slurm decides what becomes of the job

No torch here. submitit is loaded where a job runs, not with this module.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from harness.errors import VerdictError
from harness.settings import Settings
from launch.cluster.node import NodeExecutor, Part, own_cores
from launch.command import cell_path, child_command
from launch.job import Ended, Job, Kind
from launch.local import Limits

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

STOP_SIGNAL = signal.SIGUSR1
REQUEUE_SIGNAL = signal.SIGUSR2
LOOK_EVERY_S = 0.2
VERDICT_WITHIN_S = 300.0
"""How long a job whose training has stopped leaves the node unused, for Slurm to requeue or end it."""

FIRST_PORT, NUM_PORTS = 20_000, 12_000  # below those that Linux hands out by itself

Result = tuple[Kind, str, float]
"""Kind, message and seconds of an attempt's end."""


class CellTask:
    """One attempt of one cell, to be called on each of its nodes. It travels there pickled.

    Args:
        job: the attempt.
        settings: of the command.
        limits: of the attempt, of each of its runs where Slurm requeues it.
        command_of: the words that start an attempt on one node.
    """

    def __init__(
        self,
        job: Job,
        settings: Settings,
        limits: Limits,
        command_of: Callable[[Job, Settings], list[str]] = child_command,
    ) -> None:
        self._job = job
        self._settings = settings
        self._limits = limits
        self._command_of = command_of
        self._executor: NodeExecutor | None = None
        self._told: set[int] = set()
        self._ended: Ended | None = None

    def __call__(self) -> Result:
        """Run the attempt to its end; how it ended."""
        requeue: Any = signal.getsignal(REQUEUE_SIGNAL)  # submitit's; it calls `checkpoint`
        for number in (STOP_SIGNAL, REQUEUE_SIGNAL, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            ended = self._run(requeue)
        except VerdictError as error:
            ended = Ended(self._job, "storage" if error.kind == "storage" else "hardware", str(error), 0.0)
        return ended.kind, ended.message, ended.seconds

    def checkpoint(self) -> DelayedSubmission | None:
        """Let the training save a checkpoint and stop; what is to be run then. None: it has ended by itself.

        submitit calls it on the first node only; the processes there tell the others.
        """
        from submitit.helpers import DelayedSubmission

        if self._executor is not None and self._ended is None:
            self._executor.stop(hard=False)
            self._ended = self._wait()
        if self._ended is not None and self._ended.kind != "interrupted":
            return None
        return DelayedSubmission(CellTask(self._job, self._settings, self._limits, self._command_of))

    def _run(self, requeue: Any) -> Ended:
        part = part_of(os.environ)
        if not cell_path(self._job).exists():
            return _not_shared(self._job, self._settings)
        cores = int(os.environ.get("SLURM_CPUS_PER_TASK") or own_cores())
        limits = self._limits if part.rank == 0 else Limits(hang_s=None, memory_mib=self._limits.memory_mib)
        self._executor = NodeExecutor(self._settings, limits, cores, part, self._command_of)
        self._executor.start(self._job)
        while self._ended is None:
            if STOP_SIGNAL in self._told:
                self._executor.stop(hard=False)
                self._ended = self._wait()
            elif REQUEUE_SIGNAL in self._told:
                self._requeue(requeue)
            else:
                self._look()
        if self._ended.kind == "killed" and signal.SIGTERM in self._told and not self._was_told_to_stop:
            self._await_verdict(requeue)
        return self._ended

    def _requeue(self, requeue: Any) -> None:
        """Hand over to submitit, which does not come back from it where it requeues the job."""
        from submitit.core.utils import UncompletedJobError

        self._told.discard(REQUEUE_SIGNAL)
        try:
            requeue(REQUEUE_SIGNAL, None)
        except UncompletedJobError as error:
            if self._ended is not None and self._ended.kind == "interrupted":  # nor did it end by itself
                text = f"stopped, and not requeued: {error}"
                self._ended = Ended(self._job, "timed_out", text, self._ended.seconds)

    def _await_verdict(self, requeue: Any) -> None:
        """Leave what becomes of the job to Slurm, which has stopped the training with a SIGTERM.

        A job that ended by itself would count as finished, and would not be requeued.
        """
        until = time.monotonic() + VERDICT_WITHIN_S
        while time.monotonic() < until and not self._was_told_to_stop:
            if REQUEUE_SIGNAL in self._told:
                self._requeue(requeue)
            time.sleep(LOOK_EVERY_S)

    @property
    def _was_told_to_stop(self) -> bool:
        return STOP_SIGNAL in self._told

    def _wait(self) -> Ended:
        while self._ended is None:
            self._look()
        return self._ended

    def _look(self) -> None:
        assert self._executor is not None
        ended = self._executor.poll()
        if ended:
            self._ended = ended[0]
        else:
            time.sleep(LOOK_EVERY_S)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._told.add(number)


def part_of(environment: Mapping[str, str]) -> Part:
    """Which node of the job this process is on, and where its processes meet.

    The port follows from the number of the job: those of an array that meet on one node have other numbers.
    """
    num_nodes = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    if num_nodes == 1:
        return Part()
    return Part(
        num_nodes,
        rank=int(environment["SLURM_NODEID"]),
        # of the node that srun was started on, the first: an address that all nodes reach
        address=environment["SLURM_LAUNCH_NODE_IPADDR"],
        port=FIRST_PORT + int(environment["SLURM_JOB_ID"]) % NUM_PORTS,
    )


def _not_shared(job: Job, settings: Settings) -> Ended:
    where = f"is not there on {os.uname().nodename}"
    text = f"{cell_path(job)} {where}: choose an --out that all nodes see, unlike {settings.out}"
    return Ended(job, "hardware", text, 0.0)
