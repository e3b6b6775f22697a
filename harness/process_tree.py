"""Memory of a process and of all that it started, each page counted once among those that share it. No torch.

The resident sets of processes cannot simply be added: the pages of torch's libraries, which all of them
map, would count again and again. Linux can divide each page by the number of processes that have it
(proportional set size, PSS), which adds up to what is really taken, also over several ranks. But to know
it the kernel walks all pages: some 20 ms for a process that has loaded torch, more with its data. So the
resident sets are read at every sample, which is cheap, and less what they count too much, which changes
slowly and is measured now and then. Where there is no PSS (macOS) pages count in every process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

from harness.usage import Missing

PROPORTIONAL = "shared pages divided among their processes (PSS)"
RESIDENT = "shared pages counted in every process (RSS)"

_MIB = 2**20
_SELDOM = 1000  # a costly reading rests for so many times what it took: it costs a thousandth of the time


class ProcessTree:
    """This process and its descendants."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._own = psutil.Process()
        self._family = [self._own]
        self._family_due_s = self._excess_due_s = float("-inf")
        self._excess: dict[int, int] = {}
        self._measured: list[int] = []
        self.method = PROPORTIONAL

    def read_mib(self) -> float | Missing:
        """Memory of all of them now."""
        try:
            self._find_family()
            if self.method == PROPORTIONAL:
                self._measure_excess()
            resident = {process.pid: _resident(process) for process in self._family}
        except (psutil.Error, OSError) as error:
            return Missing(f"the memory of the processes cannot be read: {error}")
        excess = self._excess if self.method == PROPORTIONAL else {}
        return sum(max(0, size - excess.get(pid, 0)) for pid, size in resident.items()) / _MIB

    def _find_family(self) -> None:
        start_s = self._now()
        if start_s < self._family_due_s:
            return
        self._family = [self._own, *self._own.children(recursive=True)]
        end_s = self._now()
        self._family_due_s = end_s + _SELDOM * (end_s - start_s)
        if [process.pid for process in self._family] != self._measured:
            self._excess_due_s = end_s  # what pages are shared has changed

    def _measure_excess(self) -> None:
        """Find by how much the resident set of each process exceeds its part of the pages."""
        start_s = self._now()
        if start_s < self._excess_due_s:
            return
        self._measured = [process.pid for process in self._family]
        self._excess = {}
        for process in self._family:
            try:
                sizes: Any = process.memory_full_info()
            except psutil.NoSuchProcess:
                continue  # it has ended
            except psutil.AccessDenied:
                sizes = None
            if not hasattr(sizes, "pss"):
                self.method = RESIDENT  # one that cannot be divided makes the sum another figure
                return
            self._excess[process.pid] = max(0, sizes.rss - sizes.pss)
        end_s = self._now()
        self._excess_due_s = end_s + _SELDOM * (end_s - start_s)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0  # it has ended
