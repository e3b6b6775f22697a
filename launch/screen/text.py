"""Amounts and names for people, short and safe to print. No torch here."""

from __future__ import annotations

from functools import cache

from rich.cells import cell_len, set_cell_size

from harness.errors import UsageError
from harness.recipe import Recipe
from harness.recipes import RECIPES, recipe_for

UNKNOWN = "?"
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def duration(seconds: float | None) -> str:
    """`0.8 s`, `45 s`, `2.5 min`, `12 min`, `3 h 10 min`, `2 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 595:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `3:10:00`: what has passed."""
    whole = int(seconds)
    minutes, hours = whole // 60, whole // 3600
    return f"{hours}:{minutes % 60:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def compute(flops: float | None) -> str:
    """`1.23 PFLOP`: three significant digits."""
    if flops is None:
        return UNKNOWN
    for size, prefix in _PREFIXES:
        if flops >= size:
            return f"{significant(flops / size)} {prefix}FLOP"
    return f"{flops:.0f} FLOP"


def significant(value: float) -> str:
    """Three significant digits, in thousands (k), millions (M) and so on."""
    for suffix in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:#.3g}".rstrip(".") + suffix
        value /= 1000
    return f"{value:.3g}T"


def number(count: int, word: str) -> str:
    """`1 cell`, `1,234 cells`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` columns of a terminal, cut with an ellipsis where it is longer."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"[:width]
    return set_cell_size(text, width)


@cache
def recipe_name(model: str, recipe: Recipe) -> str:
    """The named recipe that is nearest, and what differs from it: `fast, epochs=3`."""
    values = recipe.model_dump()
    best: tuple[int, str] | None = None
    for name in RECIPES:
        try:
            named = recipe_for(model, name, {"batch_size": recipe.batch_size}).model_dump()
        except UsageError:
            continue
        changed = [key for key, value in values.items() if value != named[key]]
        own = recipe_for(model, name, {}).batch_size
        words = [f"batch_size={recipe.batch_size}"] if own != recipe.batch_size else []
        words += [f"{key}={_short(values[key])}" for key in changed]
        if best is None or len(words) < best[0]:
            best = (len(words), ", ".join([name, *words]))
    return f"{recipe.epochs} epochs" if best is None else best[1]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
