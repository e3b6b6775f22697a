"""Joining a Ray cluster, and whether its nodes see the folder of the runs. No torch here."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from pathlib import Path
from typing import Any

from harness.errors import HardwareError
from harness.files import write_text
from launch.command import ROOT

ANSWER_WITHIN_S = 15.0
PROBE_WITHIN_S = 120.0


def join(address: str | None) -> Any:
    """Ray, joined to the cluster.

    Raises:
        HardwareError: it is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise HardwareError("--executor ray needs Ray: pip install 'verdict-bench[ray]'") from None
    _check_address(address)
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
            **own,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise HardwareError(f"--address {address or '(none)'}: no Ray cluster answers: {text}") from None
    return ray


def _check_address(address: str | None) -> None:
    """Refuse an address where nothing listens: Ray itself would try for a quarter of an hour.

    Raises:
        HardwareError: see above.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # such as auto
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise HardwareError(f"--address {address}: no Ray cluster answers: {error}") from None


def check_shared(ray: Any, out: Path) -> None:
    """Refuse to go on where a node does not see the folder of the runs as we do.

    Raises:
        HardwareError: a node does not find there what we write, or we not what it writes.
        StorageError: the folder cannot be written.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ours = out / f".probe-{uuid.uuid4().hex}"
    write_text(ours, "")
    probe = ray.remote(num_cpus=0, max_retries=3)(_probe)
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    there = {node_id: NodeAffinitySchedulingStrategy(node_id, soft=False) for node_id in nodes}
    asked = {
        node_id: probe.options(scheduling_strategy=where).remote(str(ours))
        for node_id, where in there.items()
    }
    try:
        for node_id, ref in asked.items():
            try:
                theirs = ray.get(ref, timeout=PROBE_WITHIN_S)
            except ray.exceptions.TaskUnschedulableError:
                continue  # the node has just been lost
            except ray.exceptions.RayError as error:
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                raise HardwareError(f"Ray node {nodes[node_id]} runs nothing: {text}") from None
            if theirs is None or not Path(theirs).exists():
                raise HardwareError(
                    f"Ray node {nodes[node_id]} does not share {out} with this machine: "
                    "choose an --out on a file system that all nodes see"
                )
    finally:
        for path in out.glob(f"{ours.name}*"):
            path.unlink(missing_ok=True)


def _probe(path: str) -> str | None:
    """Run on each node: the file that it leaves next to ours; None where it does not see ours."""
    if not Path(path).exists():
        return None
    theirs = f"{path}-{uuid.uuid4().hex}"
    Path(theirs).touch()
    return theirs
