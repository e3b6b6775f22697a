"""The law of error against compute as a few lines for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from results.value.bootstrap import CENTRAL_PERCENT
from results.value.numbers import UNKNOWN, number
from results.value.power_law import PowerLaw, Target


def print_law(found: PowerLaw | str, console: Console) -> None:
    """Print the law, what it says of the target, and how far beyond the cells that is."""
    if isinstance(found, str):
        console.print(Text(f"Error against training compute, a power law: {UNKNOWN} ({found})"))
        console.print()
        return
    law = found.law
    floor = f" + {law.c:.3g}" if law.c else ""
    lines = [
        f"Error against training compute: error % = {law.a:.3g} · PFLOP^-{law.b:.3g}{floor}",
        f"  fitted to {found.num_cells} cells on the front, {number(found.min_pflop)} to "
        f"{number(found.max_pflop)} PFLOP; R² of log error {found.r_squared:.3f}",
        f"  exponent {law.b:.3g}, {_range(found.b_low, found.b_high)} ({CENTRAL_PERCENT}%, "
        f"{found.num_fitted} of {found.num_resamples} resamples of the cells gave a law)",
        f"  {found.target.accuracy_percent:g}% at {_target(found.target)}",
    ]
    console.print(Text("\n".join(lines)))
    console.print(Text(found.warning, style="yellow"))
    console.print()


def _target(target: Target) -> str:
    if target.low_pflop is None and target.high_pflop is None:
        interval = "no interval" if not target.never_percent else "never in the interval"
    else:
        interval = f"{CENTRAL_PERCENT}%: {_range(target.low_pflop, target.high_pflop)}"
    never = f"; {target.never_percent:.0f}% of the resamples never get there" if target.never_percent else ""
    middle = "no compute" if target.pflop is None else f"{number(target.pflop)} PFLOP"
    return f"{middle} ({interval}{never})"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "no interval"
    return f"{number(low)} to {'no end' if high is None else number(high)}"
