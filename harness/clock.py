"""The time ledger of a cell: named spans that add up, with the rest, to the wall time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from harness.process import Process

LEDGER = (
    *("startup", "data", "compile", "first_step", "train", "evaluate"),
    *("checkpoint", "write", "latency", "idle"),
)
"""The spans of a cell, as the record names them: `startup_time_s` and so on."""


class Clock:
    """Seconds spent in each named span since the clock was made; time in an inner span is not the outer's.

    `tell` is called with the name of a span when its time begins, also again after an inner one, and with
    None where none is open.
    """

    def __init__(self, process: Process, tell: Callable[[str | None], None] | None = None) -> None:
        self._process = process
        self._tell = tell
        self._start = self._since = time.perf_counter()
        self._open: str | None = None
        self.spans_s: dict[str, float] = defaultdict(float)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`; the device is synchronised at both ends."""
        outer = self._open
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def wall_s(self) -> float:
        """Seconds since the clock was made, and those that were carried over."""
        return time.perf_counter() - self._start

    def train_s(self) -> float:
        """Seconds of training, with the first step, which is told apart."""
        return self.spans_s["train"] + self.spans_s["first_step"]

    def carry_over(self, spans_s: dict[str, float], wall_s: float) -> None:
        """Add the times of an earlier attempt, which this one goes on with."""
        for name, seconds in spans_s.items():
            self.spans_s[name] += seconds
        self._start -= wall_s

    def _switch(self, name: str | None) -> None:
        self._process.synchronize()
        now = time.perf_counter()
        if self._open is not None:
            self.spans_s[self._open] += now - self._since
        self._open, self._since = name, now
        if self._tell is not None:
            self._tell(name)


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
