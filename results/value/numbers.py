"""Numbers as people read them."""

from __future__ import annotations

import math

UNKNOWN = "—"


def number(value: float | None) -> str:
    """Three significant digits, or all before the point up to 100,000, then in thousands, millions."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if 1000 <= round(value) < 100_000:
        return f"{value:,.0f}"
    for suffix in ("", "k", "M", "G"):
        text = f"{value:#.3g}"
        if "e+" not in text:
            return text.rstrip(".") + suffix
        value /= 1000
    return f"{value:.3g}T"
