"""A machine with GPUs that are not there: `fake_nvml.c` for the real pynvml, in children of the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1")


def build_nvml(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """Compile the library into `folder`, some functions left out, and return the folder."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    left_out = [f"-DWITHOUT_{name}" for name in without]
    output = ["-o", str(folder / "libnvidia-ml.so.1"), str(_SOURCE), "-lm"]
    subprocess.run(["gcc", *_FLAGS, *left_out, *output], check=True, timeout=60)
    return folder


def nvml_environment(nvml: Path, machine: str, **variables: str) -> dict[str, str]:
    """The variables of a child that shall see such a machine, of which CUDA hides nothing."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(nvml), "FAKE_NVML": machine}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return environment | variables


def ask_child(nvml: Path, machine: str, script: str, argument: Any = None, **variables: str) -> Any:
    """What a script prints last, as JSON, on such a machine; `argument` is its `sys.argv[1]`, as JSON."""
    command = [sys.executable, "-W", "error", "-c", script, json.dumps(argument)]
    environment = nvml_environment(nvml, machine, **variables)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
