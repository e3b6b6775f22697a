"""The time ledger of a cell: named spans that add up, with the rest, to the wall time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.process import Process


class Clock:
    """Seconds spent in each named span since the clock was made. Spans do not nest."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._start = time.perf_counter()
        self._open: str | None = None
        self.spans_s: dict[str, float] = defaultdict(float)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`; the device is synchronised at both ends."""
        assert self._open is None, f"span {name} opened inside {self._open}"
        self._open = name
        self._process.synchronize()
        start = time.perf_counter()
        try:
            yield
            self._process.synchronize()
        finally:
            self.spans_s[name] += time.perf_counter() - start
            self._open = None

    def wall_s(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start


class StepTimer:
    """Seconds between successive marks, without making the host wait for a GPU inside an epoch."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Note the end of a step; the first mark is the start of the first step."""
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
            event.record()
            self._events.append(event)
        else:
            self._times.append(time.perf_counter())

    def read(self) -> list[float]:
        """The seconds of each step since the last reading; the device must be synchronised."""
        if self._on_gpu:
            pairs = zip(self._events, self._events[1:], strict=False)
            steps = [first.elapsed_time(second) / 1000 for first, second in pairs]
            self._events = []
        else:
            steps = [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
            self._times = []
        return steps
