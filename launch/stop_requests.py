"""What the user asks of a running launcher by signals: to stop, and to stop at once. No torch here."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any, Self

SAME_REQUEST_S = 2.0
"""Two SIGTERMs within this time are one request: `timeout` sends one to the process and one to its group."""


class Requests:
    """Counts requests to stop inside a `with` block of the main thread.

    SIGINT and SIGTERM count each; a closed terminal (SIGHUP) never asks for more than a first stop, as it
    may be told twice. Signals that are ignored, as SIGHUP is under nohup, stay so.
    """

    def __init__(self) -> None:
        self.num = 0
        self._told = 0
        self._terminated_at = float("-inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def new(self) -> int:
        """How many requests there are in all, where there is a new one; else 0."""
        if self.num == self._told:
            return 0
        self._told = self.num
        return self.num

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if number == signal.SIGINT:
            self.num += 1
        elif number == signal.SIGTERM:
            self.num += now - self._terminated_at >= SAME_REQUEST_S
            self._terminated_at = now
        else:
            self.num = max(self.num, 1)
