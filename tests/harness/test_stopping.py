from __future__ import annotations

import os
import signal
import time

import pytest

from harness.process import Process
from harness.stopping import Ask, Stopping


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_nothing_is_asked_without_a_signal_or_a_clock(one_process: Process) -> None:
    with Stopping(one_process, every_s=None) as stopping:
        assert [stopping.asked() for _ in range(5)] == [Ask.NOTHING] * 5


@pytest.mark.parametrize(
    ("number", "ask"), [(signal.SIGTERM, Ask.STOP), (signal.SIGINT, Ask.STOP), (signal.SIGUSR1, Ask.SAVE)]
)
def test_a_signal_asks_once(one_process: Process, number: signal.Signals, ask: Ask) -> None:
    with Stopping(one_process, every_s=None) as stopping:
        send(number)
        assert [stopping.asked(), stopping.asked()] == [ask, Ask.NOTHING]


def test_to_stop_counts_more_than_to_save(one_process: Process) -> None:
    with Stopping(one_process, every_s=None) as stopping:
        send(signal.SIGTERM)
        send(signal.SIGUSR1)
        assert stopping.asked() is Ask.STOP


def test_a_second_signal_stops_at_once(one_process: Process) -> None:
    with Stopping(one_process, every_s=None):
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)


def test_one_request_to_end_that_comes_on_two_ways_counts_once(
    one_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stopping(one_process, every_s=None) as stopping:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stopping.asked() is Ask.STOP
    monkeypatch.setattr("harness.stopping.SAME_REQUEST_S", 0.0)
    with Stopping(one_process, every_s=None):
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)


def test_the_clock_asks_again_and_again_but_not_right_after_a_save(one_process: Process) -> None:
    with Stopping(one_process, every_s=0.05) as stopping:
        assert stopping.asked() is Ask.NOTHING
        time.sleep(0.06)
        send(signal.SIGUSR1)
        assert [stopping.asked(), stopping.asked()] == [Ask.SAVE, Ask.NOTHING]
        time.sleep(0.06)
        assert stopping.asked() is Ask.SAVE


def test_the_handlers_of_before_come_back(one_process: Process) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    with Stopping(one_process, every_s=None):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before
