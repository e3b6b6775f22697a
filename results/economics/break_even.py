"""Where both sides cost the same: the volume, in closed form, and our accuracy or the price of an error.

volume = break_even_volume(build, values)
volume.value, volume.build_cheaper_above        # or None, and volume.reason
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.economics.cash_flow import difference_usd
from results.economics.compute_cost import Values
from results.economics.facts import BuildFacts
from results.economics.keys import BUILD_ACCURACY, BUY_ACCURACY, KEYS
from results.economics.sensitivity import flip

_VOLUME = "images_per_year"


@dataclass(frozen=True)
class BreakEven:
    """The figure at which both sides cost the same, or why there is none."""

    value: float | None
    unit: str
    build_cheaper_above: bool | None
    reason: str | None


def break_even_volume(build: BuildFacts, values: Values) -> BreakEven:
    """Images per year at which both sides cost the same.

    Every cost is a constant plus a share of the volume, and so is the difference: d(v) = d(0) + s v. It is
    0 at v = -d(0) / s, where that is positive.

    Args:
        build: what compute is counted from.
        values: all other figures, [1] each.
    """
    unit = "images per year"
    scale = max(float(values[_VOLUME][0]), 1.0)
    at_none, at_scale = difference_usd(build, {**values, _VOLUME: np.array([0.0, scale])})
    slope = float(at_scale - at_none) / scale
    if slope == 0:
        return BreakEven(None, unit, None, "the volume changes both sides alike")
    volume = -float(at_none) / slope
    if 0 < volume <= KEYS[_VOLUME].maximum:
        return BreakEven(volume, unit, slope > 0, None)
    cheaper = "building" if (at_none or slope) > 0 else "buying"
    return BreakEven(None, unit, None, f"{cheaper} is cheaper at any volume")


def break_even_of(build: BuildFacts, values: Values, key: str, unit: str) -> BreakEven:
    """The value of any other figure at which both sides cost the same."""
    found = flip(build, values, key)
    if found is not None:
        return BreakEven(found.value, unit, found.build_cheaper_above, None)
    cheaper = "building" if difference_usd(build, values)[0] > 0 else "buying"
    return BreakEven(None, unit, None, f"{cheaper} is cheaper whatever it is")


def break_even_gap(build: BuildFacts, values: Values) -> BreakEven:
    """Points that our accuracy has to be above the vendor's (below, if negative) for equal costs."""
    found = break_even_of(build, values, BUILD_ACCURACY, "points above the vendor's accuracy")
    if found.value is None:
        return found
    gap = found.value - float(values[BUY_ACCURACY][0])
    return BreakEven(gap, found.unit, found.build_cheaper_above, None)
