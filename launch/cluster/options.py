"""Which options are for which cluster: one that means nothing to an executor is an error. No torch here."""

from __future__ import annotations

from dataclasses import fields

from harness.errors import UsageError
from launch.cluster.ray_cluster import RayOptions
from launch.cluster.slurm_options import SlurmOptions

EXECUTORS = ("local", "slurm", "ray")
_OF_EVERY_CLUSTER = ("gpus_per_cell", "cpus_per_cell")
_OF_ALL = ("memory_gb",)  # which --memory sets, a limit on this machine and a request to Slurm
_SPELLED = {"time_minutes": "time-limit"}


def check_cluster_options(executor: str, slurm: SlurmOptions, ray: RayOptions) -> None:
    """Refuse options that the executor has no use for.

    Raises:
        UsageError: see above, or there is no such executor.
    """
    if executor not in EXECUTORS:
        raise UsageError(f"--executor {executor}: expected {', '.join(EXECUTORS[:-1])} or {EXECUTORS[-1]}")
    for owner, given, usual in (("slurm", slurm, SlurmOptions()), ("ray", ray, RayOptions())):
        for field in fields(given):
            name = field.name
            users = ("slurm", "ray") if name in _OF_EVERY_CLUSTER else (owner,)
            if name in _OF_ALL or executor in users or getattr(given, name) == getattr(usual, name):
                continue
            option = _SPELLED.get(name, name.replace("_", "-"))
            raise UsageError(f"--{option} is for --executor {' or '.join(users)}, not for {executor}")
