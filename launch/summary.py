"""What became of the cells of a matrix, and how a failure reads. No torch here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from launch.job import Ended
from results.store import one_line


@dataclass
class Summary:
    """What became of the cells."""

    finished: list[str] = field(default_factory=list)
    """Here, by this launcher; cell ids."""

    elsewhere: list[str] = field(default_factory=list)
    """Finished by others while this launcher ran."""

    failed: dict[str, Ended] = field(default_factory=dict)
    pruned: list[Ended] = field(default_factory=list)
    """Stopped early, as a budget has no room for all."""

    unfinished: int = 0
    """Stopped or never started, because of a signal, a budget or --fail-fast."""

    was_interrupted: bool = False

    def failures(self) -> Counter[str]:
        """How many failed in which way."""
        return Counter(ended.kind for ended in self.failed.values())


def failure_line(ended: Ended) -> str:
    """One line about a failure: what, how, after how long, where to read more."""
    words = ended.kind.replace("_", " ")
    return (
        f"{words}: {ended.job.cell.label()} after {ended.seconds:,.0f} s: {one_line(ended.message, 300)} "
        f"(see {ended.job.run_dir / 'output.txt'})"
    )
