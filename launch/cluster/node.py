"""The part of an attempt that runs on one node of a cluster. No torch here.

    executor = NodeExecutor(settings, limits, cores=4)
    executor.start(job)

It is watched and ended as on this machine (`launch/local.py`). Cores and GPUs are those that the cluster has
given to this process; a cell on several nodes has one such process on each.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError
from harness.files import storage_error
from harness.live import live_path
from harness.settings import Settings
from launch.command import child_command, child_environment, output_path
from launch.job import Job
from launch.local import Limits, LocalExecutor, _Child, spawn
from launch.outcome import clear_outcome
from launch.slots import Slots

SIGNALS_OF_SLURM = {signal.SIGUSR1, signal.SIGUSR2}


@dataclass(frozen=True)
class Part:
    """Which node of an attempt this is, and where its processes meet."""

    num_nodes: int = 1
    rank: int = 0
    address: str = "localhost"
    """Of the first node."""

    port: int = 0
    """0: a free one, for processes of one node only."""


class NodeExecutor(LocalExecutor):
    """Runs one attempt's processes on this node. See `launch.job.Executor`.

    Args:
        settings: of the command.
        limits: of the attempt.
        cores: of this node for the attempt, which its processes divide into threads.
        part: which node this is.
        command_of: the words that start an attempt on one node.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        cores: int,
        part: Part | None = None,
        command_of: Callable[[Job, Settings], list[str]] = child_command,
    ) -> None:
        super().__init__(Slots([tuple(range(cores))], []), settings, limits, command_of)
        self._part = part or Part()
        self._cores = cores

    def start(self, job: Job) -> None:
        """Start the processes of this node.

        Raises:
            StorageError: the attempt's folder cannot be written.
        """
        part, num_here = self._part, processes_per_node(job, self._part.num_nodes)
        slot = self._slots.take(1)
        settings = replace(self._settings, threads=self._settings.threads or max(1, self._cores // num_here))
        words = [*self._tying(job), "--", *node_command(self._command_of(job, settings), part)]
        try:
            if part.rank == 0:
                clear_outcome(job)
                live_path(job.run_dir).unlink(missing_ok=True)
            with _blocked():
                process = spawn(words, child_environment(job, settings), node_output_path(job, part.rank))
        except OSError as error:
            self._slots.give_back(slot)
            raise storage_error(job.run_dir, error) from error
        self._children[job] = _Child(process, slot, time.monotonic())


def processes_per_node(job: Job, num_nodes: int) -> int:
    """How many of the cell's processes each node runs.

    Raises:
        UsageError: they cannot be divided evenly.
    """
    each, rest = divmod(job.cell.num_processes, num_nodes)
    if rest or not each:
        raise UsageError(
            f"a cell of {job.cell.num_processes} process(es) cannot be divided among {num_nodes} nodes: "
            f"use --processes {max(1, each + 1) * num_nodes} or another --nodes-per-cell"
        )
    return each


def node_command(words: list[str], part: Part) -> list[str]:
    """The words that start an attempt, of a single node, made those of one node of several."""
    if part.num_nodes == 1:
        return words
    words = list(words)
    for option, value in (("--num_machines", part.num_nodes), ("--main_process_port", part.port)):
        words[words.index(option) + 1] = str(value)
    place = words.index("--num_machines")
    words[place:place] = ["--machine_rank", str(part.rank), "--main_process_ip", part.address]
    return words


def node_output_path(job: Job, rank: int) -> Path:
    """What the processes of a node print; appending from several nodes to one file would lose lines."""
    path = output_path(job)
    return path if rank == 0 else path.with_name(f"{path.stem}-node{rank}{path.suffix}")


def own_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _blocked() -> Iterator[None]:
    """Let what is started here sleep through the signals that Slurm sends to every process of a job.

    They are meant for the process that watches it; one without a handler would die of them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_SLURM)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
