"""Samples what a run uses, from a thread of its own, while the run does something else.

    with Sampler(source_of(process.device)) as sampler:
        sampler.mark("train")        # at each change of phase
        ...
        usage = sampler.read()

Only the thread asks the driver. The run hands it notes and never waits for an answer but in `read`, and
there not for ever: a driver that hangs takes no training with it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

from harness.meters import CpuSource, GpuSource, Meter, NoMeter, Source, open_meter
from harness.usage import Usage, nothing_measured

if TYPE_CHECKING:
    import torch

INTERVAL_S = 0.1
"""NVML's counters change about as often."""

ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True)
class _Mark:
    phase: str | None


@dataclass(frozen=True)
class _Question:
    answer: Future[Usage]


class Sampler:
    """Reads `source` at an interval while its `with` block runs."""

    def __init__(self, source: Source, interval_s: float = INTERVAL_S) -> None:
        self._source = source
        self._interval_s = interval_s
        self._notes: SimpleQueue[_Mark | _Question | None] = SimpleQueue()
        self._asked: _Question | None = None
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._last: Usage | None = None
        self.cpu_s = 0.0
        """Processor time that the sampling took, once it is over."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._last = self.read()
        self._notes.put(None)
        self._thread.join(ANSWER_WITHIN_S)

    def mark(self, phase: str | None) -> None:
        """Begin a phase, or none; the energy from here on is its own."""
        self._notes.put(_Mark(phase))

    def read(self) -> Usage:
        """What was used so far; after the block, what was used in it."""
        if self._last is not None:
            return self._last
        question = _Question(Future())
        self._notes.put(question)
        try:
            return question.answer.result(ANSWER_WITHIN_S)
        except NoAnswerError:
            return nothing_measured("?", f"the driver has not answered for {ANSWER_WITHIN_S:.0f} s")

    def _run(self) -> None:
        try:
            with open_meter(self._source) as meter:
                self._serve(meter)
        except Exception as error:  # noqa: BLE001  # a fault of the measuring must not end a training
            self._serve(NoMeter("?", f"the sampling failed: {type(error).__name__}: {error}"))
        self.cpu_s = time.thread_time()

    def _serve(self, meter: Meter) -> None:
        """Sample, and take what the run hands over, until it says that it is enough."""
        meter.sample()
        due_s = time.perf_counter() + self._interval_s
        while True:
            if self._asked is not None:
                self._asked.answer.set_result(meter.usage())
                self._asked = None
            try:
                note = self._notes.get(timeout=max(0.0, due_s - time.perf_counter()))
            except Empty:
                meter.sample()
                due_s = time.perf_counter() + self._interval_s
                continue
            if note is None:
                return
            if isinstance(note, _Mark):
                meter.mark(note.phase)
            else:
                self._asked = note
                meter.sample()


def source_of(device: torch.device) -> Source:
    """What to read for a run on `device`."""
    if device.type != "cuda":
        return CpuSource()
    import torch

    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", None)
    place = [getattr(properties, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
    numbers = [number for number in place if number is not None]
    bus_id = "{:08x}:{:02x}:{:02x}.0".format(*numbers) if len(numbers) == len(place) else None
    return GpuSource(None if uuid is None else str(uuid), bus_id)
