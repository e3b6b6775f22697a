"""Two or more systems on the same images: every pair, corrected for being many.

found = compare_systems([read_prediction_set(path, labels) for path in paths])
found.pairs[0].comparison.difference_points, found.pairs[0].p_holm, found.tie_groups
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness.errors import UsageError
from results.compare.holm import holm
from results.compare.paired import PairedComparison, compare_pair
from results.compare.power import ALPHA
from results.compare.ties import tie_groups
from results.metrics import Share, share_of
from results.predictions import PredictionSet


@dataclass(frozen=True)
class System:
    """One of those compared."""

    name: str
    accuracy: Share
    fingerprint: str | None
    """Of its test images; None for a file, which does not say."""


@dataclass(frozen=True)
class Pair:
    """Two of the systems, by their places in the ranking."""

    first: int
    second: int
    comparison: PairedComparison
    p_holm: float
    """Adjusted for testing all pairs; the p-value itself where there is only one."""

    @property
    def resolved(self) -> bool:
        """Whether the difference is significant at 5%, over all pairs."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Ranking:
    """Systems on the same images, the most accurate first."""

    systems: tuple[System, ...]
    order: tuple[int, ...]
    """Place of each system among those that were given."""

    pairs: tuple[Pair, ...]
    """Every pair once, the better placed first, in the order of the ranking."""

    tie_groups: tuple[tuple[int, ...], ...]
    """Places in the ranking; two systems share a group exactly when their difference is not resolved."""


def compare_systems(given: Sequence[PredictionSet]) -> Ranking:
    """Compare every pair of the systems; p-values are adjusted by Holm over all pairs.

    Raises:
        UsageError: there are fewer than two.
        DataError: they were not asked about the same images in the same order.
    """
    if len(given) < 2:
        raise UsageError("a comparison needs at least two systems: name another run or file")
    num_correct = [int(np.count_nonzero(each.classes == each.labels)) for each in given]
    order = sorted(range(len(given)), key=lambda index: -num_correct[index])
    places = list(combinations(range(len(given)), 2))
    compared = [compare_pair(given[order[first]], given[order[second]]) for first, second in places]
    adjusted = holm([each.p_value for each in compared])
    pairs = tuple(
        Pair(*place, comparison, p) for place, comparison, p in zip(places, compared, adjusted, strict=True)
    )
    return Ranking(
        systems=tuple(
            System(
                given[index].name,
                share_of(num_correct[index], len(given[index].labels)),
                given[index].fingerprint,
            )
            for index in order
        ),
        order=tuple(order),
        pairs=pairs,
        tie_groups=tuple(
            tie_groups(len(given), {(pair.first, pair.second) for pair in pairs if pair.resolved})
        ),
    )
