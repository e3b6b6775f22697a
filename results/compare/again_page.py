"""A cell that was run again, beside what was published of it, for people."""

from __future__ import annotations

from rich.console import Console

from harness.record import Record
from results.compare.again import Again

_BASES = {
    "seeds": "95% prediction interval for one more seed, from {count} published ones",
    "images": "95% interval of the paired difference on these images; one seed says nothing of the spread",
}


def print_again(found: Again, record: Record, console: Console) -> None:
    """Print both accuracies, what was to be expected, and whether they agree."""
    seeds = ", ".join(f"{value:.2f}" for value in found.seeds_percent)
    verdict = "it agrees with" if found.agrees else "it does NOT agree with"
    if not found.can_tell:
        verdict = "the published seeds are too far apart to tell whether it agrees with"
    lines = (
        *(f"not counted  {warning}" for warning in found.warnings),
        f"published   {found.published_percent:.2f}% of {found.pair.n:,} test images (its seeds: {seeds})",
        f"here        {found.again_percent:.2f}%",
        f"expected    {found.low_percent:.2f} to {found.high_percent:.2f}% "
        f"({_BASES[found.basis].format(count=len(found.seeds_percent))})",
        f"{record.cell.label()}: {verdict} what was published.",
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
