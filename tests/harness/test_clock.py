from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness import clock as clock_module
from harness.clock import Clock, StepTimer
from harness.process import Process


class FakeTime:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(perf_counter=fake.perf_counter))
    return fake


def test_spans_of_one_name_add_up_and_with_the_rest_make_the_wall_time(
    fake_time: FakeTime, one_process: Process
) -> None:
    clock = Clock(one_process)
    for name, seconds in [("train", 5), ("evaluate", 1), ("train", 7)]:
        with clock.span(name):
            fake_time.now_s += seconds
        fake_time.now_s += 0.5
    assert clock.spans_s == {"train": 12, "evaluate": 1}
    assert clock.wall_s() == 14.5


def test_a_span_waits_for_its_own_work_and_not_for_earlier_work(
    fake_time: FakeTime, one_process: Process
) -> None:
    class SlowDevice(Process):
        """A process whose device takes a second to finish what was queued on it."""

        def synchronize(self) -> None:
            fake_time.now_s += 1

    clock = Clock(SlowDevice(**vars(one_process)))
    with clock.span("train"):
        fake_time.now_s += 5
    assert clock.spans_s["train"] == 6
    assert clock.wall_s() == 7


def test_real_time_passes_in_a_span(one_process: Process) -> None:
    clock = Clock(one_process)
    with clock.span("work"):
        sum(range(100_000))
    assert 0 < clock.spans_s["work"] <= clock.wall_s()


def test_the_time_of_a_span_within_a_span_is_its_own_alone(fake_time: FakeTime, one_process: Process) -> None:
    clock = Clock(one_process)
    with clock.span("train"):
        fake_time.now_s += 3
        with clock.span("checkpoint"):
            fake_time.now_s += 2
        fake_time.now_s += 4
    assert clock.spans_s == {"train": 7, "checkpoint": 2}
    assert clock.wall_s() == 9


def test_the_times_of_an_earlier_attempt_are_carried_over(fake_time: FakeTime, one_process: Process) -> None:
    clock = Clock(one_process)
    clock.carry_over({"train": 5.0}, wall_s=6.0)
    with clock.span("train"):
        fake_time.now_s += 3
    assert clock.spans_s == {"train": 8}
    assert clock.wall_s() == 9


def test_an_exception_closes_its_span_and_its_time_counts(fake_time: FakeTime, one_process: Process) -> None:
    clock = Clock(one_process)

    def fail() -> None:
        with clock.span("train"):
            fake_time.now_s += 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with clock.span("write"):
        fake_time.now_s += 1
    assert clock.spans_s == {"train": 3, "write": 1}


def test_steps_are_timed_from_mark_to_mark_and_not_across_readings(fake_time: FakeTime) -> None:
    timer = StepTimer(torch.device("cpu"))
    for seconds in (0, 2, 3):
        fake_time.now_s += seconds
        timer.mark()
    assert timer.read() == [2, 3]
    for seconds in (100, 4):  # the evaluation between two epochs is no step
        fake_time.now_s += seconds
        timer.mark()
    assert timer.read() == [4]
    assert timer.read() == []


def test_steps_on_a_gpu_are_timed_by_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded_ms = iter([10.0, 30.0, 60.0, 500.0, 540.0])

    class FakeEvent:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at_ms = next(recorded_ms)

        def elapsed_time(self, later: FakeEvent) -> float:
            return later.at_ms - self.at_ms

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    timer = StepTimer(torch.device("cuda"))
    for _ in range(3):
        timer.mark()
    assert timer.read() == [0.02, 0.03]
    for _ in range(2):
        timer.mark()
    assert timer.read() == [0.04]


@pytest.mark.gpu
def test_steps_on_a_real_gpu_take_time() -> None:
    device = torch.device("cuda")
    timer = StepTimer(device)
    matrix = torch.randn(2048, 2048, device=device)
    timer.mark()
    for _ in range(3):
        matrix = (matrix @ matrix).clamp(-1, 1)
        timer.mark()
    torch.cuda.synchronize()
    steps_s = timer.read()
    assert len(steps_s) == 3
    assert all(0 < step_s < 5 for step_s in steps_s)


def test_whoever_listens_is_told_of_each_span_as_its_time_begins(
    fake_time: FakeTime, one_process: Process
) -> None:
    told: list[str | None] = []
    clock = Clock(one_process, tell=told.append)
    with clock.span("startup"):
        assert told == ["startup"]
    assert told.pop() is None
    with clock.span("train"):
        with clock.span("checkpoint"):
            pass
        assert told == ["startup", "train", "checkpoint", "train"]
    assert told[-1] is None
