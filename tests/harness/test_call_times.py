from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.call_times import CALLS_FOR_P99, LatencyRow, measure_latency


class FakeDevice:
    """A clock, and calls that take the seconds given: when they are waited for, as on a GPU, if asked."""

    def __init__(self, seconds: Callable[[int], float], is_asynchronous: bool = False) -> None:
        self.now_s = 100.0
        self.calls: list[int] = []
        self.num_synchronized = 0
        self._seconds = seconds
        self._is_asynchronous = is_asynchronous
        self._queued_s = 0.0

    def call(self, batch_size: int) -> None:
        self._queued_s += self._seconds(len(self.calls))
        self.calls.append(batch_size)
        if not self._is_asynchronous:
            self._finish()

    def synchronize(self) -> None:
        self.num_synchronized += 1
        self._finish()

    def _finish(self) -> None:
        self.now_s += self._queued_s
        self._queued_s = 0.0

    def measure(self, batch_sizes: list[int], **limits: Any) -> list[LatencyRow]:
        return measure_latency(
            self.call, batch_sizes, synchronize=self.synchronize, clock=lambda: self.now_s, **limits
        )


def test_percentiles_are_numpys_over_the_raw_times() -> None:
    seconds = np.random.default_rng(0).lognormal(-6, 1, 130)
    device = FakeDevice(lambda call: float(seconds[call]))
    (row,) = device.measure([8], warmup_calls=10, min_calls=120, min_time_s=0)
    assert row.num_calls == 120
    np.testing.assert_allclose(row.times_s, seconds[10:], rtol=1e-9)
    for percent, found in ((50, row.p50_ms), (90, row.p90_ms), (99, row.p99_ms)):
        assert found == pytest.approx(1000 * np.percentile(seconds[10:], percent, method="linear"), rel=1e-9)
    assert row.images_per_s == pytest.approx(8 * 120 / seconds[10:].sum())


def test_calls_that_warm_up_do_not_count() -> None:
    device = FakeDevice(lambda call: 5.0 if call < 3 else 0.001)
    (row,) = device.measure([1], warmup_calls=3, min_calls=100, min_time_s=0, max_time_s=1e9)
    assert row.times_s == pytest.approx([0.001] * 100)


def test_each_batch_size_is_warmed_up_by_itself() -> None:
    device = FakeDevice(lambda _: 0.001)
    device.measure([1, 32], warmup_calls=2, min_calls=3, min_time_s=0)
    assert device.calls == [1] * 5 + [32] * 5


def test_the_device_is_waited_for_around_each_call() -> None:
    """Where it is not, a call takes no time, or that of the warm-up before it."""
    device = FakeDevice(lambda call: 1.0 if call < 2 else 0.25, is_asynchronous=True)
    (row,) = device.measure([1], warmup_calls=2, min_calls=4, min_time_s=0, max_time_s=100)
    assert row.times_s == (0.25,) * 4
    assert device.num_synchronized == 2 + 2 * 4


def test_fast_calls_are_repeated_for_the_time_asked() -> None:
    device = FakeDevice(lambda _: 1 / 1024)
    (row,) = device.measure([1], min_calls=10, min_time_s=2.0)
    assert row.num_calls == 2048


def test_a_slow_call_is_capped() -> None:
    device = FakeDevice(lambda _: 3.0)
    (row,) = device.measure([1], max_time_s=10)
    assert row.num_calls == 4  # the last one begins before the tenth second
    assert len(device.calls) == row.num_calls + 1  # one is enough to warm up
    assert device.measure([1], max_time_s=1)[0].num_calls == 1


@pytest.mark.parametrize("num_calls", [1, CALLS_FOR_P99 - 1, CALLS_FOR_P99])
def test_too_few_calls_have_no_99th_percentile_and_a_reason(num_calls: int) -> None:
    row = LatencyRow(1, (0.5,) * num_calls)
    assert row.p50_ms == row.p90_ms == 500
    if num_calls < CALLS_FOR_P99:
        assert row.p99_ms is None
        assert row.p99_reason == f"{num_calls} calls in the time given, and the 99th percentile needs 100"
    else:
        assert (row.p99_ms, row.p99_reason) == (500, "")
