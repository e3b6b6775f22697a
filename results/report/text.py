"""Numbers as people read them."""

from __future__ import annotations

import math

from results.report.values import UNKNOWN


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with that many digits after the point."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def significant(value: float | None) -> str:
    """Three significant digits, in thousands (k), millions (M) and so on."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value == 0:
        return "0"
    for suffix in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{_three_digits(value)}{suffix}"
        value /= 1000
    return f"{value:.3g}P"


def whole(value: float | None) -> str:
    """A count."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def signed(value: float, digits: int = 1) -> str:
    """A difference, with its sign."""
    return f"{value:+,.{digits}f}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _three_digits(value: float) -> str:
    if abs(value) < 0.001:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    return f"{value:.{digits}f}"
