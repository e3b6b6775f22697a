"""Numbers as people read them."""

from __future__ import annotations

import math

from results.leaderboard.rows import number_text

UNKNOWN = "—"


def number(value: float | None) -> str:
    """Three significant digits, or all before the point up to 100,000, then in thousands, millions."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if 1000 <= round(value) < 100_000:
        return f"{value:,.0f}"
    return number_text(value)
