"""When a training saves its state, and when it stops before its end: by the clock, or by a signal.

    with Stopping(process, every_s=600) as stopping:
        ...                                  # after each step, on every process:
        if stopping.asked() is not Ask.NOTHING: ...

SIGINT (Ctrl-C) and SIGTERM ask to save and stop; a second one stops at once, but for a SIGTERM right after
the first, which Slurm and torchrun may both have sent. SIGUSR1, which Slurm can send some time before it
ends a job (`--signal=USR1@90`), asks to save and go on. A signal may reach one process only; all learn of
it together, after the same step.
"""

from __future__ import annotations

import signal
import time
from enum import IntEnum
from types import FrameType
from typing import Any, Self

from harness.process import Process

AGREE_EVERY_S = 1.0
"""About how long after a signal the processes learn of it, where a step is shorter."""

MAX_STEPS_APART = 1000

SAME_REQUEST_S = 2.0
"""Two SIGTERMs within this time are one request, on two ways."""


class Ask(IntEnum):
    """What is asked of a training; of several, the largest counts."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class Stopping:
    """Listens for signals and watches the clock, inside a `with` block of the main thread.

    Args:
        process: the processes must agree.
        every_s: seconds between two saves; None: no saves by the clock.
    """

    def __init__(self, process: Process, every_s: float | None) -> None:
        self._process = process
        self._every_s = every_s
        self._ask = Ask.NOTHING
        self._saved_at = self._agreed_at = time.monotonic()
        self._terminated_at = float("-inf")
        self._steps = 0
        self._steps_apart = 1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        usual = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        own = {signal.SIGUSR1: self._save} if hasattr(signal, "SIGUSR1") else {}
        for number, handler in (usual | own).items():
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> Ask:
        """What is asked now, the same on every process; to be called after each step."""
        self._steps += 1
        if self._steps < self._steps_apart:
            return Ask.NOTHING
        now = time.monotonic()
        ask = self._ask
        if ask is Ask.NOTHING and self._every_s is not None and now - self._saved_at >= self._every_s:
            ask = Ask.SAVE
        if self._process.world_size > 1:
            speed = self._steps / max(now - self._agreed_at, 1e-6)
            apart = min(MAX_STEPS_APART, max(1, round(AGREE_EVERY_S * speed)))
            found = self._process.largest_on_hosts([int(ask), apart if self._process.is_main else 0])
            ask, self._steps_apart = Ask(found[0]), found[1]
        self._steps, self._agreed_at = 0, now
        if ask is not Ask.NOTHING:
            self._saved_at = now
            if self._ask <= ask:  # or a signal came in just now, and counts after the next step
                self._ask = Ask.NOTHING
        return ask

    def asked_now(self) -> Ask:
        """The same, whatever was agreed about when to ask; every process must call it."""
        self._steps = self._steps_apart
        return self.asked()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._ask is Ask.STOP:
            if number == signal.SIGTERM and now - self._terminated_at < SAME_REQUEST_S:
                return
            raise KeyboardInterrupt
        self._ask = Ask.STOP
        if number == signal.SIGTERM:
            self._terminated_at = now

    def _save(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ask = max(self._ask, Ask.SAVE)
