"""Time several ways to do a thing in turns, so that what else a machine does troubles all alike.

seconds = in_turns({"ours": step, "theirs": their_step}, rounds=5)
print(speedup(seconds["theirs"], seconds["ours"]))     # 2.31 (2.24 to 2.40)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Speedup:
    """How many times faster: over the rounds, the median, the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})"


def in_turns(timed: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each function once a round, every other round backwards, after a warm-up that does not count.

    Args:
        timed: functions that return the seconds they took.
        rounds: how often each is called.

    Returns:
        The seconds of each function, [rounds].
    """
    for function in timed.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for index in range(rounds):
        for name in list(timed)[:: -1 if index % 2 else 1]:
            seconds[name].append(timed[name]())
    return seconds


def speedup(slow_s: list[float], fast_s: list[float]) -> Speedup:
    """How many times less the second took than the first, round by round."""
    ratios = [slow / fast for slow, fast in zip(slow_s, fast_s, strict=True)]
    return Speedup(median(ratios), min(ratios), max(ratios))
