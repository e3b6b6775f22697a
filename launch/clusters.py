"""The executor of a cluster, from the options of the command line. No torch here.

    executor, at_once = cluster_executor("slurm", {"partition": "gpu"}, settings, Limits())

An option that means nothing to the executor is an error, never ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.settings import Settings
from launch.job import Executor
from launch.local import Limits
from launch.slurm_options import SlurmOptions

USUAL: dict[str, Any] = {"array_parallelism": 256, "nodes_per_cell": 1}
"""What options are where nobody gives them; all others: None, or empty."""

OPTIONS: dict[str, set[str]] = {
    "local": set(),
    "slurm": {
        *("partition", "gpus_per_cell", "cpus_per_cell", "array_parallelism", "time_limit_s"),
        *("nodes_per_cell", "sbatch"),
    },
    "ray": {"address", "gpus_per_cell", "cpus_per_cell"},
}
OVERHEAD_GB = 1.0  # of a cell's processes, beside what they may allocate


def check_cluster_options(executor: str, asked: Mapping[str, Any]) -> None:
    """Refuse options that the executor has no use for.

    Raises:
        UsageError: see above, or there is no such executor.
    """
    if executor not in OPTIONS:
        raise unknown_name("--executor", executor, OPTIONS)
    for name, value in asked.items():
        if value and value != USUAL.get(name) and name not in OPTIONS[executor]:
            option = {"time_limit_s": "time-limit", "sbatch": "slurm"}.get(name, name.replace("_", "-"))
            users = [other for other, names in OPTIONS.items() if name in names]
            raise UsageError(f"--{option} is for --executor {' or '.join(users)}, not for {executor}")


def cluster_executor(
    name: str, asked: Mapping[str, Any], settings: Settings, limits: Limits
) -> tuple[Executor, int]:
    """The executor `slurm` or `ray`, and about how many cells it runs at once.

    Raises:
        UsageError: an option is out of range, or not for this executor.
        HardwareError: there is no such cluster here.
    """
    check_cluster_options(name, asked)
    if name == "slurm":
        from launch.slurm import SlurmExecutor

        options = slurm_options(asked, limits)
        return SlurmExecutor(options, settings, limits), options.array_parallelism
    from launch.ray_cluster import RayExecutor, RayOptions

    values = {key: asked[key] for key in OPTIONS["ray"] if asked.get(key) is not None}
    executor = RayExecutor(RayOptions(**values), settings, limits)
    return executor, executor.at_once()


def slurm_options(asked: Mapping[str, Any], limits: Limits) -> SlurmOptions:
    """What each cell asks of Slurm.

    Raises:
        UsageError: an option is out of range, or not of the form KEY=VALUE.
    """
    plain = ("partition", "gpus_per_cell", "cpus_per_cell", "array_parallelism", "nodes_per_cell")
    values = {key: asked[key] for key in plain if asked.get(key) is not None}
    if asked.get("time_limit_s") is not None:
        values["time_minutes"] = math.ceil(asked["time_limit_s"] / 60)
    if limits.memory_mib is not None:
        values["memory_gb"] = limits.memory_mib / 1024 / values.get("nodes_per_cell", 1) + OVERHEAD_GB
    values["sbatch"] = tuple(_key_and_value(word) for word in asked.get("sbatch") or ())
    return SlurmOptions(**values)


def _key_and_value(word: str) -> tuple[str, str]:
    key, equals, value = word.removeprefix("--").partition("=")
    if not equals or not key or not value:
        raise UsageError(f"--slurm {word}: expected KEY=VALUE as of sbatch, such as account=vision")
    return key, value
