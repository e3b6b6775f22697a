"""By how much our accuracy is above the vendor's, and whether these images can tell.

gap = gap_to_claim(candidate.run, claim_percent=70.0)        # a claim, perhaps about other images
gap = gap_to_audit(candidate.run, read_audit(folder))        # image by image
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from harness.datasets.base import DataProvenance
from harness.errors import UsageError
from harness.interval import CONFIDENCE, wilson_interval
from results.audit.result import Audit
from results.compare.paired import compare_pair
from results.predictions import from_run
from results.store import Run

OTHER_IMAGES_POINTS = 10.0
"""What is asked for on top where the claim is about other images than ours were measured on.

Recht et al. 2018, "Do CIFAR-10 Classifiers Generalize to CIFAR-10?" (arXiv 1806.00451), abstract: on a new
test set, made like the old one, accuracy falls by 4 to 10 points.
"""

_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True)
class Gap:
    """Our accuracy less the vendor's, in percentage points."""

    points: float
    low_points: float
    high_points: float
    """Ends of the 95% interval: of ours alone against a claim, of the paired difference against an audit."""

    p_value: float | None
    """Of the exact McNemar test; None against a claim."""

    margin_points: float
    """The difference that is asked for before it counts."""

    @property
    def better(self) -> Literal["ours", "vendor"] | None:
        """Who is right more often, beyond doubt and the margin; None: these images cannot tell."""
        if self.p_value is not None and self.p_value > 1 - CONFIDENCE:
            return None
        if self.low_points > self.margin_points:
            return "ours"
        return "vendor" if self.high_points < -self.margin_points else None

    @property
    def standard_errors(self) -> float:
        """How far the difference is beyond the margin, on either side; below 0: short of it."""
        error = (self.high_points - self.low_points) / (2 * _Z)
        return (abs(self.points) - self.margin_points) / error if error > 0 else 0.0


def is_official_cifar10_test(data: DataProvenance) -> bool:
    """Whether accuracies are about the 10,000 images that published ones are about."""
    as_published = data.official and data.image_shape == (3, 32, 32)
    return data.dataset == "cifar10" and as_published and data.num_test_images == 10_000


def gap_to_claim(run: Run, claim_percent: float) -> Gap:
    """Our measured accuracy against one that is only claimed."""
    assert run.scores is not None
    assert run.record.data is not None
    low, high = wilson_interval(run.scores.test_correct, run.scores.num_test)
    return Gap(
        points=run.scores.test_accuracy_percent - claim_percent,
        low_points=100 * low - claim_percent,
        high_points=100 * high - claim_percent,
        p_value=None,
        margin_points=0.0 if is_official_cifar10_test(run.record.data) else OTHER_IMAGES_POINTS,
    )


def gap_to_audit(run: Run, audit: Audit) -> Gap:
    """Our accuracy against the vendor's, on the same images.

    Raises:
        UsageError: the audit is about other images than the run.
        DataError: the labels differ, though the images are said to be the same.
    """
    assert run.record.data is not None
    asked, ours = audit.stored.test_fingerprint, run.record.data.test_fingerprint
    if asked is not None and asked != ours:
        raise UsageError(
            f"the audit of {audit.vendor} is about other images than the run {run.record.cell_id}: "
            "audit the vendor on the test images of the runs"
        )
    compared = compare_pair(from_run("ours", run.run_dir, run.predictions), audit.predictions)
    return Gap(
        points=compared.difference_points,
        low_points=compared.low_points,
        high_points=compared.high_points,
        p_value=compared.p_value,
        margin_points=0.0,
    )
