"""What each cell asks of Slurm. No torch here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from launch.cluster.slurm_task import REQUEUE_SIGNAL
from launch.command import ROOT


@dataclass(frozen=True)
class SlurmOptions:
    """What each cell asks of Slurm.

    Raises:
        UsageError: a value is out of range.
    """

    partition: str | None = None
    gpus_per_cell: int | None = None
    """Over all its nodes; None: one for each process, and none where the CPU is to be used."""

    cpus_per_cell: int | None = None
    """Over all its nodes; None: one for each process."""

    memory_gb: float | None = None
    """Of each node; None: what the partition gives."""

    time_minutes: int = 240
    """Of one job; a cell that takes longer is requeued, and goes on from its checkpoint."""

    array_parallelism: int = 256
    """Cells that run at once."""

    nodes_per_cell: int = 1
    account: str | None = None
    qos: str | None = None
    setup: tuple[str, ...] = ()
    """Lines of shell before the training, such as `module load cuda`."""

    sbatch: tuple[tuple[str, str], ...] = ()
    """Further options of sbatch, such as `("constraint", "a100")`."""

    warn_seconds: int = 90
    """Between the signal that a job has to go and its end: time for a checkpoint."""

    max_requeues: int = 100
    """At the time limit; preemption does not count."""

    max_waiting: int = 1000
    """Jobs in Slurm's queue at once, running ones included."""

    def __post_init__(self) -> None:
        limits = {
            "--gpus-per-cell": (self.gpus_per_cell, 0),
            "--cpus-per-cell": (self.cpus_per_cell, 1),
            "--time-limit in minutes": (self.time_minutes, 1),
            "--array-parallelism": (self.array_parallelism, 1),
            "--nodes-per-cell": (self.nodes_per_cell, 1),
            "memory_gb": (self.memory_gb, 0.001),
            "warn_seconds": (self.warn_seconds, 1),
            "max_requeues": (self.max_requeues, 0),
            "max_waiting": (self.max_waiting, 1),
        }
        for option, (value, least) in limits.items():
            if value is not None and not value >= least:
                raise UsageError(f"{option} {value:g}: expected {least:g} or more")

    def request(self, num_processes: int, use_cpu: bool) -> dict[str, Any]:
        """What a cell of so many processes asks for, in submitit's words."""
        gpus = self.gpus_per_cell if self.gpus_per_cell is not None else 0 if use_cpu else num_processes
        cpus = -(-(self.cpus_per_cell or num_processes) // self.nodes_per_cell)
        signal = REQUEUE_SIGNAL.name.removeprefix("SIG")
        values: dict[str, Any] = {
            "nodes": self.nodes_per_cell,
            "ntasks_per_node": 1,
            "cpus_per_task": cpus,
            "time": self.time_minutes,
            "array_parallelism": self.array_parallelism,
            "setup": [
                f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
                f"export SUBMITIT_PREEMPT_SIGNAL={signal}",
                *self.setup,
            ],
            "stderr_to_stdout": True,
            "srun_args": [f"--cpus-per-task={cpus}", "--kill-on-bad-exit=1"],  # srun does not ask sbatch
            "additional_parameters": {"requeue": True, "signal": f"{signal}@{self.warn_seconds}"}
            | dict(self.sbatch),
        }
        optional = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "gpus_per_node": -(-gpus // self.nodes_per_cell) or None,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M",
        }
        return values | {name: value for name, value in optional.items() if value is not None}
