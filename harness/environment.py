"""The machine and the software that a record says it was made with."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from harness.process import Process
from harness.record import Environment

VERDICT_VERSION = "0.1.0"


def describe_environment(process: Process) -> Environment:
    """Look at the machine, the packages and the process set-up."""
    on_gpu = process.device.type == "cuda"
    return Environment(
        hostname=socket.gethostname(),
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        accelerate=version("accelerate"),
        verdict=VERDICT_VERSION,
        git_commit=_git_commit(),
        device=torch.cuda.get_device_name(process.device) if on_gpu else _cpu_name(),
        device_type="cuda" if on_gpu else "cpu",
        num_processes=process.world_size,
        distributed_type=process.distributed_type,
        backend=process.backend,
        threads_per_process=torch.get_num_threads(),
        cuda=torch.version.cuda if on_gpu else None,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )


def _git_commit() -> str | None:
    """The commit of this source tree, with `+` where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"{commit}+" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):  # no git here, or not a checkout it trusts
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
