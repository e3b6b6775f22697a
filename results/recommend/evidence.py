"""Everything that a recommendation rests on, gathered once.

evidence = gather(load_table(Path("runs"), CHOICE_COLUMNS), audit=None, assumptions=load_assumptions())
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.datasets.base import DataProvenance
from results.derived import Derived, derive
from results.economics.assumptions import Assumptions
from results.economics.choose import Candidate, Vendor, choose_candidate, choose_vendor
from results.economics.decide import Appraisal, appraise
from results.economics.facts import build_facts
from results.index.run_table import RunTable
from results.recommend.gap import Gap, gap_to_audit, gap_to_claim
from results.score import Score, score_run
from results.store import Run

OWN_IMAGES = "imagefolder"
"""What the name of a data set of the user's own begins with; the others only stand in for it."""


@dataclass(frozen=True)
class Evidence:
    """What is known of both sides."""

    candidate: Candidate
    vendor: Vendor
    score: Score
    data: DataProvenance
    derived: Derived
    gap: Gap
    """Of the seed that stands for the cell."""

    seed_gaps: tuple[Gap, ...]
    """Of every seed."""

    appraisal: Appraisal
    same_dataset: bool
    """Whether the vendor's accuracy is about the kind of images that ours was measured on."""

    @property
    def better(self) -> Literal["ours", "vendor"] | None:
        """Who is right more often, beyond doubt and with every seed; None: that cannot be told."""
        found = {gap.better for gap in self.seed_gaps}
        return found.pop() if len(found) == 1 and self.same_dataset else None

    @property
    def is_measured(self) -> bool:
        """Whether the vendor's accuracy was measured rather than claimed."""
        return self.vendor.audit is not None

    @property
    def name(self) -> str:
        """Of the vendor."""
        return self.vendor.facts.name

    @property
    def vendor_words(self) -> str:
        """The vendor's accuracy, and what it is."""
        how = "measured" if self.is_measured else "claimed"
        return f"{self.name}'s {self.vendor.facts.accuracy_percent:.4g}% ({how})"

    @property
    def cell_id(self) -> str:
        """Of the run that stands for building."""
        return self.candidate.run.record.cell_id

    @property
    def is_stand_in(self) -> bool:
        """Whether the images only stand in for the user's own."""
        return not self.data.dataset.startswith(OWN_IMAGES)

    @property
    def seed_words(self) -> str:
        """The range of the seeds' accuracies."""
        accuracies = [_accuracy_percent(run) for run in self.candidate.seeds]
        return f"{len(accuracies)} seeds from {min(accuracies):.2f} to {max(accuracies):.2f}%"


def gather(
    table: RunTable, audit: Path | None, assumptions: Assumptions, cell: str | None = None, seed: int = 0
) -> Evidence:
    """Weigh the runs of a folder against a vendor.

    Args:
        table: of the runs, with at least `CHOICE_COLUMNS` of `results/economics/choose.py`.
        audit: folder of the vendor's audit; None: Detectocorp's claim.
        assumptions: of the costs.
        cell: the run to build on; None: choose.
        seed: of the Monte Carlo draws.

    Raises:
        VerdictError: no run, no audit, or they do not fit each other.
    """
    vendor = choose_vendor(audit)
    candidate = choose_candidate(table, cell, vendor, assumptions)
    run = candidate.run
    assert run.record.data is not None
    return Evidence(
        candidate=candidate,
        vendor=vendor,
        score=score_run(run),
        data=run.record.data,
        derived=derive(run, run.predictions),
        gap=_gap(run, vendor),
        seed_gaps=tuple(_gap(each, vendor) for each in candidate.seeds),
        appraisal=appraise(build_facts(run), vendor.facts, assumptions, seed),
        same_dataset=vendor.dataset is None or run.record.data.dataset == vendor.dataset,
    )


def _gap(run: Run, vendor: Vendor) -> Gap:
    if vendor.audit is None:
        return gap_to_claim(run, vendor.facts.accuracy_percent)
    return gap_to_audit(run, vendor.audit)


def _accuracy_percent(run: Run) -> float:
    assert run.scores is not None
    return run.scores.test_accuracy_percent
