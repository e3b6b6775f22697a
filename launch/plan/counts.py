"""The compute of cells and the speed of this machine, where no run has said it yet. No torch here.

Both need torch, which is loaded in a child process (`harness/estimate.py`). What it says is kept in
`estimates.json` in the cache folder of the data sets, so that it is asked only once.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.cell import CellSpec
from harness.datasets.cache import cache_dir
from harness.errors import StorageError
from harness.files import write_text

ROOT = Path(__file__).resolve().parents[2]
CACHE_NAME = "estimates.json"
CHILD_TIMEOUT_S = 300.0

_COUNTED = ("forward_flops_per_image", "train_flops_per_image", "total_train_flops")


class Compute(NamedTuple):
    """Compute of one cell; 1 multiply-add = 2 FLOPs."""

    forward_flops_per_image: int
    train_flops_per_image: int
    total_train_flops: int


@dataclass(frozen=True)
class Speed:
    """What was measured of this machine; a None was not, or could not be."""

    device: str | None = None
    threads: int | None = None
    """That the peaks were measured with, on a CPU."""

    start_s: float | None = None
    """From the start of a process to the point where a run would begin: loading torch and the rest."""

    peak_flop_per_s: dict[str, float | None] = field(default_factory=dict)
    """Of one GPU, or of all those threads; by precision."""


class Counts:
    """Compute by `count_key`, and the speed of this machine.

    Args:
        use_cpu: cells will run on the CPU though there may be GPUs.
        threads: of a cell on the CPU; None: all cores.
        may_ask: whether the child process may be started for what is not known.
        say: is told, in one line, what takes seconds.
    """

    def __init__(
        self,
        use_cpu: bool = False,
        threads: int | None = None,
        may_ask: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._use_cpu = use_cpu
        self._threads = threads
        self._may_ask = may_ask
        self._say = say
        self._path = cache_dir() / CACHE_NAME
        self._kept = _read_cache(self._path)
        self._problems: dict[str, str] = {}

    def speed(self) -> Speed:
        """What is known of this machine, without asking."""
        return _speed(self._kept["machines"].get(self._machine_key))

    def get(self, key: str) -> Compute | None:
        """The compute by its key, without asking."""
        found = self._kept["counts"].get(key)
        return None if found is None else Compute(*(found[name] for name in _COUNTED))

    def problem(self, key: str) -> str:
        """Why `get` has nothing for that key."""
        return self._problems.get(key, "its compute has not been counted, as --no-estimate says")

    def ask(self, cells: dict[str, tuple[CellSpec, int, int]], precisions: set[str]) -> None:
        """Have what is not known counted and measured, once for all.

        Args:
            cells: by `count_key`, a cell with the classes and the training images of its data.
            precisions: whose peaks are wanted.
        """
        missing = {key: cell for key, cell in cells.items() if key not in self._kept["counts"]}
        known = self.speed()
        unmeasured = sorted(precisions - known.peak_flop_per_s.keys())
        if not self._may_ask or not (missing or unmeasured or known.start_s is None):
            return
        requests: list[dict[str, Any]] = []
        if unmeasured or known.start_s is None:
            machine = {"cpu": self._use_cpu, "threads": self._threads, "precisions": unmeasured}
            requests.append({"key": "machine", "machine": machine})
        requests += [
            {"key": key, "cell": cell.model_dump(), "num_classes": num_classes, "num_fit": num_fit}
            for key, (cell, num_classes, num_fit) in missing.items()
        ]
        self._say(
            f"measuring this machine and counting the compute of {len(missing)} model(s), once"
            if requests[0]["key"] == "machine"
            else f"counting the compute of {len(missing)} model(s), once"
        )
        replies, start_s, problem = _ask_child(requests)
        self._take(replies, start_s)
        for key in missing:
            if key not in self._kept["counts"]:
                self._problems[key] = replies.get(key, {}).get("problem") or problem
        with suppress(StorageError):  # without its file it is asked again
            write_text(self._path, json.dumps(self._kept))

    @property
    def _machine_key(self) -> str:
        threads = "all" if self._threads is None else self._threads
        return f"{socket.gethostname()} {'cpu' if self._use_cpu else 'any'} {threads}"

    def _take(self, replies: dict[str, dict[str, Any]], start_s: float | None) -> None:
        machine = replies.pop("machine", None)
        if machine is not None and start_s is not None:
            before = self._kept["machines"].get(self._machine_key, {}).get("peak_flop_per_s", {})
            machine["peak_flop_per_s"] = before | machine["peak_flop_per_s"]
            self._kept["machines"][self._machine_key] = machine | {"start_s": start_s}
        for key, reply in replies.items():
            if "problem" not in reply:
                self._kept["counts"][key] = {name: reply[name] for name in _COUNTED}


def _speed(kept: dict[str, Any] | None) -> Speed:
    if kept is None:
        return Speed()
    return Speed(kept["device"], kept["threads"], kept["start_s"], kept["peak_flop_per_s"])


def _ask_child(requests: list[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], float | None, str]:
    """The replies by their keys; seconds until the child was ready; why there are no more replies."""
    replies: dict[str, dict[str, Any]] = {}
    start_s = None
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as errors:
        asked.write("".join(json.dumps(request) + "\n" for request in requests).encode())
        asked.seek(0)
        began = time.monotonic()
        command = [sys.executable, "-m", "harness.estimate"]
        with subprocess.Popen(command, cwd=ROOT, stdin=asked, stdout=subprocess.PIPE, stderr=errors) as child:
            limit = threading.Timer(CHILD_TIMEOUT_S, child.kill)
            limit.daemon = True
            limit.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    reply = json.loads(line)
                    if reply.get("ready"):
                        start_s = time.monotonic() - began
                    else:
                        replies[reply.pop("key")] = reply
                child.wait()  # the limit ends it if need be
            finally:
                limit.cancel()
                child.kill()
        if time.monotonic() - began >= CHILD_TIMEOUT_S:
            return replies, start_s, f"counting took more than {CHILD_TIMEOUT_S:.0f} s"
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return replies, start_s, f"counting ended with exit code {child.returncode}: {last}"


def _code_version() -> str:
    """Changes with the code that decides what a model computes."""
    files = [*sorted((ROOT / "models").glob("*.py")), ROOT / "harness" / "model.py"]
    states = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:12]


def _read_cache(path: Path) -> dict[str, Any]:
    """What earlier children said; empty where it is damaged or about other code."""
    empty: dict[str, Any] = {"code": _code_version(), "counts": {}, "machines": {}}
    try:
        kept = json.loads(path.read_bytes())
        for machine in kept["machines"].values():
            _speed(machine)
        for count in kept["counts"].values():
            Compute(*(count[name] for name in _COUNTED))
        if kept["code"] != empty["code"]:
            return empty | {"machines": kept["machines"]}
        return {name: kept[name] for name in empty}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return empty
