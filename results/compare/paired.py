"""Two systems on the same images: who is right more often, and do these images tell them apart?

    found = compare_pair(read_prediction_set(Path("runs/be8502089858")), read_prediction_set(Path("b.npz")))
    found.difference_points, found.p_value

Only images on which exactly one of the two is right (discordant ones) tell them apart. Two accuracies with
an interval each say far less: most errors are made by both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from results.compare.intervals import bootstrap_interval, newcombe_interval
from results.compare.power import ALPHA, images_for_power
from results.compare.same_images import check_same_images
from results.predictions import PredictionSet


@dataclass(frozen=True)
class PairedComparison:
    """What n images say about the difference between the accuracies of a and b."""

    name_a: str
    name_b: str
    n: int
    correct_a: int
    correct_b: int
    only_a: int
    """Images that a got right and b did not."""

    only_b: int
    difference_points: float
    """Accuracy of a minus accuracy of b, in percentage points."""

    low_points: float
    high_points: float
    """Ends of Newcombe's 95% interval of the difference."""

    bootstrap_low_points: float
    bootstrap_high_points: float
    """Ends of the paired bootstrap's 95% percentile interval."""

    p_value: float
    """Of the exact two-sided McNemar test."""

    resolvable_points: float
    """The smallest difference that would be significant at 5% with as many discordant images.

    Where there are fewer than six, with six; above 100 where there are not even six images.
    """

    images_for_power: int | None
    """Images for a chance of 80% to resolve a true difference as large as this one; None where it is 0."""

    @property
    def resolved(self) -> bool:
        """Whether the difference is significant at 5%, with no other comparison beside it."""
        return self.p_value <= ALPHA


def compare_pair(a: PredictionSet, b: PredictionSet) -> PairedComparison:
    """Compare two systems image by image.

    Raises:
        DataError: they were not asked about the same images in the same order.
    """
    check_same_images(a, b)
    right_a, right_b = a.classes == a.labels, b.classes == b.labels
    return compare_counts(
        a.name,
        b.name,
        both=int(np.count_nonzero(right_a & right_b)),
        only_a=int(np.count_nonzero(right_a & ~right_b)),
        only_b=int(np.count_nonzero(right_b & ~right_a)),
        n=len(a.labels),
    )


def compare_counts(
    name_a: str, name_b: str, *, both: int, only_a: int, only_b: int, n: int
) -> PairedComparison:
    """Compare two systems of which only is known how many of n images both, or one alone, got right.

    Raises:
        ValueError: there is no image, or the counts are not from 0 to n.
    """
    low, high = newcombe_interval(both, only_a, only_b, n - both - only_a - only_b)
    bootstrap_low, bootstrap_high = bootstrap_interval(only_a, only_b, n)
    return PairedComparison(
        name_a=name_a,
        name_b=name_b,
        n=n,
        correct_a=both + only_a,
        correct_b=both + only_b,
        only_a=only_a,
        only_b=only_b,
        difference_points=100 * (only_a - only_b) / n,
        low_points=100 * low,
        high_points=100 * high,
        bootstrap_low_points=100 * bootstrap_low,
        bootstrap_high_points=100 * bootstrap_high,
        p_value=mcnemar_exact(only_a, only_b),
        resolvable_points=100 * resolvable_count(only_a + only_b) / n,
        images_for_power=images_for_power(only_a, only_b, n),
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value of the exact test that a and b are right equally often.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages", in its exact form: given the number of discordant images, those of a are binomial with
    share 1/2. 1 where there is no discordant image; 0 where it is too small for a float.

    Raises:
        ValueError: a count is negative.
    """
    fewer, discordant = min(only_a, only_b), only_a + only_b
    if fewer < 0:
        raise ValueError(f"negative counts: {only_a}, {only_b}")
    if only_a == only_b:
        return 1.0
    # Only the largest term of the tail is computed; each one below is a known fraction of the one above.
    log_choices = math.lgamma(discordant + 1) - math.lgamma(fewer + 1) - math.lgamma(discordant - fewer + 1)
    term = math.exp(log_choices - discordant * math.log(2))
    tail = term
    for count in range(fewer, 0, -1):
        term *= count / (discordant - count + 1)
        tail += term
        if term < 1e-18 * tail:
            break
    return min(1.0, 2 * tail)


@lru_cache(maxsize=4096)
def resolvable_count(discordant: int) -> int:
    """The smallest |only_a - only_b| that is significant at 5% among so many discordant images.

    Fewer than six are not significant however they fall: 6 is returned, which six on one side reach.
    """
    low, high = 0, discordant // 2  # `low` images on the smaller side are significant, `high` are not
    if mcnemar_exact(0, discordant) > ALPHA:
        return 6
    while high - low > 1:
        middle = (low + high) // 2
        if mcnemar_exact(middle, discordant - middle) <= ALPHA:
            low = middle
        else:
            high = middle
    return discordant - 2 * low
