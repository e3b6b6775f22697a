"""What is recommended, and what a reader needs to judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["BUILD", "BUY", "NOT YET DECIDED"]
Confidence = Literal["high", "moderate", "low"]


@dataclass(frozen=True)
class Reason:
    """One argument, with where it comes from."""

    text: str
    sources: tuple[str, ...]
    """Cell ids, keys of references, or `assumptions`."""

    strength: float | None
    """How many standard errors the figure is from where it would say nothing; None where it has none."""


@dataclass(frozen=True)
class Recommendation:
    """BUILD, BUY, or why neither can be said yet."""

    verdict: Verdict
    headline: str
    """The answer in one sentence."""

    confidence: Confidence
    confidence_because: str
    reasons: tuple[Reason, ...]
    """At most three, the strongest first; for NOT YET DECIDED, why not."""

    counter_argument: Reason | None
    """The strongest against the verdict; while there is none, what it leans to; None: there is neither."""

    would_change: tuple[str, ...]
    measure_next: tuple[str, ...]
    measured_on: str
    """On which images and how many the accuracy was measured."""

    cell_id: str | None
    """Of the run that stands for building; None where there is none."""

    vendor: str

    @property
    def reasons_title(self) -> str:
        """What stands above the reasons."""
        return "Why not" if self.verdict == "NOT YET DECIDED" else "Why"

    @property
    def counter_title(self) -> str:
        """What stands above the counter-argument."""
        return (
            "What it leans to so far"
            if self.verdict == "NOT YET DECIDED"
            else "The strongest argument against"
        )

    @property
    def no_counter(self) -> str:
        """What is said where there is no counter-argument."""
        if self.verdict == "NOT YET DECIDED":
            return "Neither side: it is not beyond doubt which one is cheaper, or they cannot be compared."
        return "Nothing that was measured speaks against it."
