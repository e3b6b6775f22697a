"""Signs of life of the processes that train together, so that one that hangs or is gone can be named.

Each process tells the others about once a second where it is, through the key-value store that brought
them together. When an exchange fails, those that are alive say so, and the rest is lost.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from torch._C._distributed_c10d import Store

BEAT_EVERY_S = 1.0
ANSWER_WITHIN_S = 5.0


class Heartbeat:
    """Of one process among `world_size`; all use the same store."""

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._beaten_at = float("-inf")
        self.beat("the start")

    def beat(self, where: str) -> None:
        """Say that this process has come to `where`; costs nothing most of the time."""
        now = time.monotonic()
        if now - self._beaten_at < BEAT_EVERY_S:
            return
        self._beaten_at = now
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time(), "where": where}
        self._store.set(f"beat/{self._rank}", json.dumps(sign))

    def who_is_lost(self) -> str:
        """Which processes do not answer, and where they were last seen; all that are alive call it."""
        answer = ["the process that the others meet at, or the network to it, is gone"]
        # asking waits for ever where the network is cut
        asking = threading.Thread(target=self._ask, args=(answer,), daemon=True)
        asking.start()
        asking.join(2 * ANSWER_WITHIN_S)
        return answer[0]

    def _ask(self, answer: list[str]) -> None:
        with suppress(RuntimeError):  # of the store, which may have gone with the process that had it
            self._store.set(f"alive/{self._rank}", "")
            missing = self._not_answering()
            lost = ", ".join(_described(rank, self._last_sign(rank)) for rank in missing)
            if missing:
                within = f"within {ANSWER_WITHIN_S:.0f} s"
                answer[0] = f"no answer from {lost} {within}: it hangs, has died or cannot be reached"
            else:
                answer[0] = "all processes answer, but an exchange between them failed: look at the network"

    def _not_answering(self) -> list[int]:
        waiting = set(range(self._world_size))
        end = time.monotonic() + ANSWER_WITHIN_S
        while waiting and time.monotonic() < end:
            waiting = {rank for rank in waiting if not self._store.check([f"alive/{rank}"])}
            time.sleep(0.1)
        return sorted(waiting)

    def _last_sign(self, rank: int) -> dict[str, Any] | None:
        key = f"beat/{rank}"
        if not self._store.check([key]):
            return None
        sign: dict[str, Any] = json.loads(self._store.get(key))
        return sign


def _described(rank: int, sign: dict[str, Any] | None) -> str:
    if sign is None:
        return f"process {rank}"
    age_s = max(0.0, time.time() - sign["time"])
    where = f"last seen {age_s:.0f} s ago at {sign['where']}"
    return f"process {rank} (pid {sign['pid']} on {sign['host']}, {where})"
