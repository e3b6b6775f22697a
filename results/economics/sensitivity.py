"""Which figure matters: the difference at both ends of each, and where each alone turns the decision.

    tornado(build, buy, assumptions)        # the longest bar first
    flip(build, values, "cost_per_error_usd")

One figure is changed at a time, all others stay at their central values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.interval import wilson_interval
from results.economics.assumptions import Assumptions
from results.economics.cash_flow import difference_usd
from results.economics.compute_cost import Array, Values
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.keys import ACCURACIES, BUILD_ACCURACY, BUY_ACCURACY, KEYS
from results.economics.uncertainty import central_values

_ALL_KEYS = KEYS | ACCURACIES
_GRID = 97
_MAX_ROUNDS = 16


@dataclass(frozen=True)
class Flip:
    """The value of one figure at which both sides cost the same."""

    value: float
    build_cheaper_above: bool
    """Whether building is the cheaper side above it."""


@dataclass(frozen=True)
class Sensitivity:
    """What one figure does to the difference (buying less building, in USD)."""

    key: str
    label: str
    unit: str
    value: float
    low: float | None
    high: float | None
    """Ends of its range; None where it has none: it is known, or a claim."""

    difference_at_low_usd: float | None
    difference_at_high_usd: float | None
    flip: Flip | None
    """The nearest one; None: it turns nothing, whatever the figure."""

    searched_from: float
    searched_to: float
    """The figures between which there is no other."""

    @property
    def swing_usd(self) -> float:
        """How far the difference moves over the range."""
        if self.difference_at_low_usd is None or self.difference_at_high_usd is None:
            return 0.0
        return abs(self.difference_at_high_usd - self.difference_at_low_usd)

    @property
    def flips_in_range(self) -> bool:
        """Whether the decision turns within the range."""
        if self.flip is None or self.low is None or self.high is None:
            return False
        return self.low <= self.flip.value <= self.high


def tornado(build: BuildFacts, buy: BuyFacts, assumptions: Assumptions) -> tuple[Sensitivity, ...]:
    """Every figure that changes the difference at all, the one that moves it most first."""
    values = central_values(build, buy, assumptions)
    rows = []
    for key, unit, low, high in _ranges(build, buy, assumptions):
        minimum, maximum = _ALL_KEYS[key].minimum, _ALL_KEYS[key].maximum
        bounds = _difference_at(build, values, key, np.array([minimum, values[key][0], maximum]))
        if np.ptp(bounds) == 0:
            continue
        ends = None if low is None else _difference_at(build, values, key, np.array([low, high]))
        rows.append(
            Sensitivity(
                key=key,
                label=_ALL_KEYS[key].label,
                unit=unit,
                value=float(values[key][0]),
                low=low,
                high=high,
                difference_at_low_usd=None if ends is None else float(ends[0]),
                difference_at_high_usd=None if ends is None else float(ends[1]),
                flip=flip(build, values, key, low, high),
                searched_from=minimum,
                searched_to=maximum,
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.swing_usd))


def flip(
    build: BuildFacts, values: Values, key: str, low: float | None = None, high: float | None = None
) -> Flip | None:
    """The value of `key`, nearest to the one in `values`, at which both sides cost the same.

    A change of sign is looked for between all values that the figure can have, most closely in its range,
    and narrowed down until two numbers cannot be told apart.

    Args:
        build: what compute is counted from.
        values: all other figures, [1] each.
        key: of an assumption or an accuracy.
        low: end of its range, where it has one.
        high: likewise.
    """
    central = float(values[key][0])
    points = _points(central, low, high, _ALL_KEYS[key].minimum, _ALL_KEYS[key].maximum)
    signs = np.sign(_difference_at(build, values, key, points))
    changes = np.flatnonzero((signs[:-1] != signs[1:]) & (signs[:-1] * signs[1:] <= 0))
    if not len(changes) or not signs.any():
        return None
    nearest = min(changes, key=lambda at: min(abs(points[at] - central), abs(points[at + 1] - central)))
    left, right = float(points[nearest]), float(points[nearest + 1])
    above = signs[nearest + 1] > 0 or (signs[nearest + 1] == 0 and signs[nearest] < 0)
    return Flip(_narrowed(build, values, key, left, right), bool(above))


def _narrowed(build: BuildFacts, values: Values, key: str, left: float, right: float) -> float:
    """The root between two points of different sign: each round looks at a finer grid between them."""
    for _ in range(_MAX_ROUNDS):
        points = np.linspace(left, right, _GRID)
        found = _difference_at(build, values, key, points)
        exact = np.flatnonzero(found == 0)
        if len(exact):
            return float(points[exact[0]])
        at = int(np.flatnonzero(np.sign(found[:-1]) != np.sign(found[1:]))[0])
        left, right = float(points[at]), float(points[at + 1])
        if right - left <= 4 * np.spacing(max(abs(left), abs(right))):
            break
    # The difference is all but straight between them.
    first, last = _difference_at(build, values, key, np.array([left, right]))
    return left if first == last else float(left - first * (right - left) / (last - first))


def _ranges(
    build: BuildFacts, buy: BuyFacts, assumptions: Assumptions
) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Key, unit and range of every figure: of an accuracy that was measured, its Wilson interval."""
    for key, entry in assumptions.items():
        ends = (None, None) if entry.is_known else (entry.low, entry.high)
        yield key, entry.unit, *ends
    yield BUILD_ACCURACY, "%", *_accuracy_range(build.num_correct, build.num_images)
    yield BUY_ACCURACY, "%", *_accuracy_range(buy.num_correct, buy.num_images)


def _accuracy_range(num_correct: int | None, num_images: int | None) -> tuple[float | None, float | None]:
    if num_correct is None or num_images is None:
        return None, None
    low, high = wilson_interval(num_correct, num_images)
    return 100 * low, 100 * high


def _points(central: float, low: float | None, high: float | None, minimum: float, maximum: float) -> Array:
    """Where to look for a change of sign: even steps, ever larger ones away from 0, and the range."""
    largest = max(abs(minimum), abs(maximum))
    powers = np.geomspace(largest * 1e-16, largest, _GRID)
    parts = [np.linspace(minimum, maximum, _GRID), powers, -powers, np.array([central])]
    if low is not None and high is not None:
        parts.append(np.linspace(low, high, _GRID))
    points = np.unique(np.concatenate(parts))
    return points[(points >= minimum) & (points <= maximum)]


def _difference_at(build: BuildFacts, values: Values, key: str, points: Array) -> Array:
    found: Array = np.broadcast_to(difference_usd(build, {**values, key: points}), points.shape)
    return found
