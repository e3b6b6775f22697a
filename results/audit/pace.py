"""When the next request may be sent: a rate that all threads keep together, and pauses a server asks for."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Pace:
    """Gives threads their turns."""

    def __init__(self, rate_per_s: float | None, stop: threading.Event) -> None:
        """Begin now.

        Args:
            rate_per_s: turns a second; None: any number.
            stop: ends every wait.
        """
        self._interval_s = 0.0 if rate_per_s is None else 1 / rate_per_s
        self._stop = stop
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self) -> bool:
        """Wait for a turn; False where `stop` was set instead."""
        while not self._stop.is_set():
            with self._lock:
                now = time.monotonic()
                if self._next <= now:
                    self._next = now + self._interval_s
                    return True
                left = self._next - now
            self._stop.wait(left)
        return False

    def hold(self, seconds: float) -> None:
        """Give no turn for so long, to any thread."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def retry_after_s(header: str | None) -> float | None:
    """The seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3); None where it is none."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return float(header)
    try:
        when = parsedate_to_datetime(header)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
