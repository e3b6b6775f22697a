"""Faults for cells of certain seeds, in the process that trains them: put this folder on PYTHONPATH.

Seed 97 has a bug (an exception of no type of ours), seed 98 stands still for ever, in its first step.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

CRASHES, HANGS = 97, 98
_TARGET = "harness.gradients"


def _seed() -> int | None:
    words = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    if "--cell" not in words:
        return None
    cell: dict[str, Any] = json.loads(Path(words[words.index("--cell") + 1]).read_text())
    return int(cell["seed"])


def _crash(*_: object) -> None:
    raise RuntimeError("index 7 is out of bounds")


def _hang(*_: object) -> None:
    time.sleep(1e6)


class _Finder(importlib.abc.MetaPathFinder):
    """Loads the module as ever, then puts the fault into it."""

    def __init__(self, fault: Any) -> None:
        self._fault = fault

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            module.take_gradients = self._fault  # type: ignore[attr-defined]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_fault = {CRASHES: _crash, HANGS: _hang}.get(_seed() or 0)
if _fault is not None:
    sys.meta_path.insert(0, _Finder(_fault))
