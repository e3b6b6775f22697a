"""A cell that was run again: does it agree with what was published of it?

    found = compare_again(Path("results/published/epyc-2-cores/runs/3f1c09a2b7de"), Path("runs/3f1c09a2b7de"))
    found.agrees, found.low_percent, found.high_percent

Another machine, another number of threads or another version of a library round differently, and after
some steps that is as good as another seed. So the new accuracy is held against what one more seed would
give: with two published seeds or more, the 95% prediction interval for one more draw from a normal
distribution of unknown mean and variance, mean ± t s √(1 + 1/n) (Hahn and Meeker 1991, "Statistical
Intervals", section 4.7). One seed tells nothing of the spread between seeds; then the 95% interval of the
paired difference on the test images is taken, which only holds what the images leave open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from harness.interval import CONFIDENCE
from results.compare.paired import PairedComparison, compare_pair
from results.index.load import load_table, usable_processors
from results.predictions import read_prediction_set

Basis = Literal["seeds", "images"]


@dataclass(frozen=True)
class Again:
    """A published run, and the same cell run again."""

    pair: PairedComparison
    """The new run against the published one."""

    seeds_percent: tuple[float, ...]
    """Accuracies of all published seeds of the cell, the published run's among them."""

    basis: Basis
    """What the interval is made of."""

    low_percent: float
    high_percent: float

    warnings: tuple[str, ...] = ()
    """Lines about runs beside the published one that cannot be trusted, and do not count as seeds."""

    @property
    def can_tell(self) -> bool:
        """Whether there is an accuracy that would not agree; two seeds far apart leave none."""
        return self.low_percent > 0 or self.high_percent < 100

    @property
    def again_percent(self) -> float:
        """Accuracy of the new run."""
        return 100 * self.pair.correct_a / self.pair.n

    @property
    def published_percent(self) -> float:
        """Accuracy of the published run."""
        return 100 * self.pair.correct_b / self.pair.n

    @property
    def agrees(self) -> bool:
        """Whether the new accuracy is what was to be expected."""
        return self.can_tell and self.low_percent <= self.again_percent <= self.high_percent


def compare_again(published: Path, again: Path) -> Again:
    """Compare two runs of one cell on the same test images.

    Args:
        published: folder of a run, among those of its seeds.
        again: folder of the new run.

    Raises:
        UsageError: one is no run.
        DataError: a file is damaged, or they were not asked about the same images.
    """
    pair = compare_pair(read_prediction_set(again), read_prediction_set(published))
    seeds, warnings = _accuracies_of_seeds(published)
    if len(seeds) > 1:
        low, high = prediction_interval(seeds)
        return Again(pair, seeds, "seeds", max(0.0, low), min(100.0, high), warnings)
    low, high = -pair.high_points, -pair.low_points
    again_percent = 100 * pair.correct_a / pair.n
    low, high = max(0.0, again_percent + low), min(100.0, again_percent + high)
    return Again(pair, seeds, "images", low, high, warnings)


def prediction_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Where one more value is to be expected, after two or more from the same normal distribution."""
    from scipy.stats import t

    mean, deviation, n = float(np.mean(values)), float(np.std(values, ddof=1)), len(values)
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) * deviation * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach


def _accuracies_of_seeds(published: Path) -> tuple[tuple[float, ...], tuple[str, ...]]:
    columns = ("cell_id", "seedless_id", "status", "test_accuracy_percent")
    folder = published.resolve().parent
    table = load_table(folder, columns, usable_processors())
    cell_ids, twins = table.texts("cell_id"), table.texts("seedless_id")
    own = twins[cell_ids == published.resolve().name]
    is_twin = (twins == own[0]) & (table.texts("status") == "finished")
    return tuple(table.numbers("test_accuracy_percent")[is_twin].tolist()), tuple(table.warnings)
