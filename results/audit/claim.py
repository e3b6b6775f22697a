"""Whether a vendor's claim agrees with what was measured, and which classes it is weak at.

check_claim(share_of(9318, 10_000), claim_percent=70.0)
weak_classes(figures)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from results.audit.binomial import at_most_p, two_sided_p
from results.compare.holm import holm
from results.compare.power import ALPHA
from results.figures import Figures
from results.metrics import Share, share_of


@dataclass(frozen=True)
class ClaimTest:
    """A claim against a measurement."""

    consistent: bool
    """Whether the exact two-sided p-value is above 5%."""

    p_value: float
    direction: Literal["as claimed", "better than claimed", "worse than claimed"]
    """Of the measured accuracy; `as claimed` exactly where it is consistent."""


@dataclass(frozen=True)
class WeakClass:
    """A class that is recognized significantly less often than images are on the whole."""

    name: str
    recall: Share
    p_value: float
    """Exact, one-sided, adjusted by Holm over the classes."""


def check_claim(measured: Share, claim_percent: float) -> ClaimTest:
    """The exact two-sided binomial test that the true accuracy is the claimed one.

    Args:
        measured: the accuracy on the test images.
        claim_percent: from 0 to 100.
    """
    p_value = two_sided_p(measured.count, measured.n, claim_percent / 100)
    if p_value > ALPHA:
        return ClaimTest(True, p_value, "as claimed")
    better = measured.percent > claim_percent
    return ClaimTest(False, p_value, "better than claimed" if better else "worse than claimed")


def weak_classes(figures: Figures) -> tuple[WeakClass, ...]:
    """The classes whose recall is significantly below the accuracy on all images, the weakest first.

    For each class the exact one-sided binomial test against the measured accuracy on all images, taken as
    fixed; p-values are adjusted by Holm over the classes with images, and significant at 5%.
    """
    overall = figures.accuracy.count / figures.accuracy.n
    rows = [
        (name, each)
        for name, each in zip(figures.class_names, figures.classes, strict=True)
        if each.num_images > 0
    ]
    p_values = [at_most_p(each.num_correct, each.num_images, overall) for _, each in rows]
    found = [
        WeakClass(name, share_of(each.num_correct, each.num_images), p_value)
        for (name, each), p_value in zip(rows, holm(p_values), strict=True)
        if p_value <= ALPHA
    ]
    return tuple(sorted(found, key=lambda weak: weak.recall.percent))
