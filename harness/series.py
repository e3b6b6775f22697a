"""Sums over samples, in memory that does not grow: the peak and mean of a quantity, the energy by phase.

No torch here.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

from harness.usage import Missing, not_entered

T = TypeVar("T")

LEAST_CHANGES = 10
"""Of a counter each time a phase comes: what it counts at once may belong to the phase before or after."""

LEAST_COVERED = 0.95
"""Share of the time that must have been sampled for a figure to stand for the whole of it."""


class Series:
    """One quantity over time, between two samples as if it changed evenly; a failed sample is a gap."""

    def __init__(self) -> None:
        self.integral = 0.0
        """Of the quantity over time, in its unit times seconds, also over gaps."""

        self._peak: float | None = None
        self._missed_s = 0.0
        self._start_s: float | None = None
        self._first_read_s = 0.0
        self._last_s = 0.0
        self._last_read: tuple[float, float] | None = None
        self._reason = "it was never read"

    def add(self, at_s: float, value: float | Missing) -> None:
        """Take in a sample; `at_s` never goes back."""
        last_s = at_s if self._start_s is None else self._last_s
        self._start_s = at_s if self._start_s is None else self._start_s
        is_after_gap = self._last_read is None or self._last_read[0] < last_s
        self._last_s = at_s
        if isinstance(value, Missing) or is_after_gap:
            self._missed_s += at_s - last_s
        if isinstance(value, Missing):
            self._reason = value.reason
            return
        if self._last_read is None:
            self._first_read_s, self._peak = at_s, value
        else:
            read_s, read = self._last_read
            self.integral += (at_s - read_s) * (read + value) / 2
            self._peak = max(value, _known(self._peak))
        self._last_read = (at_s, value)

    def peak(self) -> float | Missing:
        """The largest sample."""
        return self._gap() or _known(self._peak)

    def mean(self) -> float | Missing:
        """The mean over time."""
        gap = self._gap()
        if gap is not None:
            return gap
        read_s, read = _known(self._last_read)
        covered_s = read_s - self._first_read_s
        return self.integral / covered_s if covered_s > 0 else read  # of one sample

    def _gap(self) -> Missing | None:
        """Why the samples do not stand for the whole time, where they do not."""
        if self._start_s is None or self._last_read is None:
            return Missing(self._reason)
        return _gap(self._missed_s, self._last_s - self._start_s, self._reason)


class PhaseEnergy:
    """Differences of a count of joules, by the phase in which they were counted."""

    def __init__(self, counted_by: str) -> None:
        self._counted_by = counted_by
        self._by_phase_j: dict[str | None, float] = defaultdict(float)
        self._changes: dict[str | None, int] = defaultdict(int)
        self._visits: dict[str | None, int] = defaultdict(int)
        self._is_new = True
        self._first_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._ends_s: tuple[float, float] | None = None
        self._reason = "it was never read"
        self._broken: Missing | None = None
        self._unclear: Missing | None = None

    def add(self, at_s: float, count_j: float | Missing, phase: str | None) -> None:
        """Take in a reading: what was counted since the last one was used in `phase`."""
        self._ends_s = (self._ends_s[0] if self._ends_s else at_s, at_s)
        if isinstance(count_j, Missing):
            self._reason = count_j.reason
            return
        if self._last is not None:
            if count_j < self._last[1]:
                self._broken = Missing(f"the {self._counted_by} went back while it was read")
            self._by_phase_j[phase] += count_j - self._last[1]
            self._changes[phase] += count_j > self._last[1]
            self._visits[phase] += self._is_new
            self._is_new = False
        self._last = (at_s, count_j)
        if self._first_s is None:
            self._first_s = at_s

    def end_phase(self, at_s: float, count_j: float | Missing, phase: str | None) -> None:
        """Take in the reading at which `phase` ends: without it, phases cannot be told apart."""
        self.add(at_s, count_j, phase)
        self._is_new = True
        if isinstance(count_j, Missing):
            self._unclear = Missing(f"not read where a phase ended: {count_j.reason}")

    def total_j(self) -> float | Missing:
        """What was counted in all phases."""
        if self._broken is not None:
            return self._broken
        if self._last is None or self._first_s is None or self._ends_s is None:
            return Missing(self._reason)
        total_s = self._ends_s[1] - self._ends_s[0]
        gap = _gap(total_s - (self._last[0] - self._first_s), total_s, self._reason)
        if gap is not None:
            return gap
        total_j = sum(self._by_phase_j.values())
        if total_j > 0:
            return total_j
        return Missing(f"the {self._counted_by} stood still for the {total_s:.1f} s that were measured")

    def phase_j(self, phase: str) -> float | Missing:
        """What was counted in `phase`."""
        total_j = self.total_j()
        if isinstance(total_j, Missing):
            return total_j
        if self._unclear is not None:
            return self._unclear
        if phase not in self._by_phase_j:
            return not_entered(phase)
        if self._changes[phase] >= LEAST_CHANGES * self._visits[phase]:
            return self._by_phase_j[phase]
        return Missing(f"the phase {phase} was too short: the {self._counted_by} hardly moved in it")


def _gap(missed_s: float, total_s: float, reason: str) -> Missing | None:
    if missed_s <= (1 - LEAST_COVERED) * total_s:
        return None
    return Missing(f"not read for {missed_s / total_s:.0%} of the time: {reason}")


def _known(value: T | None) -> T:
    assert value is not None, "there is no gap, so it was read"
    return value
