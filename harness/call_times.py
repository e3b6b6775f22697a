"""How long calls take, one after the other: raw times, and the percentiles that come from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

CALLS_FOR_P99 = 100
"""Fewer calls have no hundredth part."""

WARMUP_CALLS = 10
_WARMUP_SHARE = 0.25
"""Of the time for one batch size, taken by calls that warm up at most."""


@dataclass(frozen=True)
class LatencyRow:
    """The calls with one batch size."""

    batch_size: int
    times_s: tuple[float, ...]
    """Of every call after the warm-up, in order."""

    @property
    def num_calls(self) -> int:
        """How many were measured."""
        return len(self.times_s)

    @property
    def p50_ms(self) -> float:
        """Half of the calls took no longer."""
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        """Nine of ten calls took no longer."""
        return self.percentile_ms(90)

    @property
    def p99_ms(self) -> float | None:
        """99 of 100 calls took no longer; None where there are too few of them, see `p99_reason`."""
        return None if self.p99_reason else self.percentile_ms(99)

    @property
    def p99_reason(self) -> str:
        """Why there is no `p99_ms`; empty where there is."""
        if self.num_calls >= CALLS_FOR_P99:
            return ""
        return f"{self.num_calls} calls in the time given, and the 99th percentile needs {CALLS_FOR_P99}"

    @property
    def images_per_s(self) -> float:
        """Of all calls together, one after the other."""
        return self.batch_size * self.num_calls / sum(self.times_s)

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the calls, between two of them linearly (numpy's method `linear`)."""
        return 1000 * float(np.percentile(self.times_s, percent))


def measure_latency(
    call: Callable[[int], None],
    batch_sizes: list[int],
    *,
    synchronize: Callable[[], None] = lambda: None,
    warmup_calls: int = WARMUP_CALLS,
    min_calls: int = CALLS_FOR_P99,
    min_time_s: float = 1.0,
    max_time_s: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[LatencyRow]:
    """Time calls with each batch size, one after the other.

    Args:
        call: works on one batch of the size given.
        batch_sizes: in this order.
        synchronize: returns when the device has done all that a call gave it.
        warmup_calls: not measured; fewer where they take a quarter of `max_time_s`, but at least one.
        min_calls: at least so many are measured,
        min_time_s: and for at least so long,
        max_time_s: but no call begins later than that; at least one is measured.
        clock: gives seconds.
    """
    return [
        LatencyRow(
            batch_size,
            _times_s(
                partial(call, batch_size), synchronize, warmup_calls, min_calls, min_time_s, max_time_s, clock
            ),
        )
        for batch_size in batch_sizes
    ]


def _times_s(
    call: Callable[[], None],
    synchronize: Callable[[], None],
    warmup_calls: int,
    min_calls: int,
    min_time_s: float,
    max_time_s: float,
    clock: Callable[[], float],
) -> tuple[float, ...]:
    start = clock()
    for _ in range(max(1, warmup_calls)):
        call()
        synchronize()
        if clock() - start >= _WARMUP_SHARE * max_time_s:
            break
    times: list[float] = []
    start = now = clock()
    while not times or (now - start < max_time_s and (len(times) < min_calls or now - start < min_time_s)):
        synchronize()
        before = clock()
        call()
        synchronize()
        now = clock()
        times.append(now - before)
    return tuple(times)
