"""A recommendation on the console, and as Markdown."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from results.markdown import as_text
from results.recommend.recommendation import Reason, Recommendation
from results.store import one_line

_STYLES = {"BUILD": "bold green", "BUY": "bold cyan", "NOT YET DECIDED": "bold yellow"}
_MAX_WIDTH = 110


def print_recommendation(found: Recommendation, notes: tuple[str, ...], console: Console) -> None:
    """Print it: the answer first, then why, what speaks against, and what to do.

    Args:
        found: the recommendation.
        notes: on the choice of the run.
        console: at most 110 columns of it are used.
    """
    width = min(console.width, _MAX_WIDTH)
    console.print(Text(found.verdict, style=_STYLES[found.verdict]))
    console.print(Text(one_line(found.headline)), width=width)
    console.print()
    confidence = f"Confidence: {found.confidence}, because {found.confidence_because}."
    console.print(Text(one_line(confidence), style="dim"), width=width)
    for title, lines in _sections(found):
        console.print()
        console.print(Text(title, style="bold"))
        console.print(Padding(_list(lines), (0, 0, 0, 2)), width=width)
    console.print()
    for note in (f"Measured on {found.measured_on}.", *notes):
        console.print(Text(one_line(note), style="dim"), width=width)


def recommendation_markdown(found: Recommendation, notes: tuple[str, ...]) -> str:
    """It as Markdown, for a memo."""
    lines = [f"**{found.verdict}.** {as_text(found.headline)}", ""]
    lines.append(f"Confidence: {found.confidence}, because {as_text(found.confidence_because)}.")
    for title, entries in _sections(found):
        lines += ["", f"**{title}**", ""]
        lines += [f"{number}. {as_text(entry)}" for number, entry in enumerate(entries, 1)]
    lines += ["", " ".join(as_text(note) for note in (f"Measured on {found.measured_on}.", *notes))]
    return "\n".join(lines) + "\n"


def _sections(found: Recommendation) -> list[tuple[str, list[str]]]:
    sections = [(found.reasons_title, [_reason(reason) for reason in found.reasons])]
    counter = found.no_counter if found.counter_argument is None else _reason(found.counter_argument)
    sections.append((found.counter_title, [counter]))
    sections.append(("What would change it", list(found.would_change)))
    sections.append(("What to measure next", list(found.measure_next)))
    return sections


def _reason(reason: Reason) -> str:
    return f"{reason.text} ({', '.join(reason.sources)})"


def _list(lines: list[str]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for number, line in enumerate(lines, 1):
        table.add_row(f"{number}.", Text(one_line(line)))
    return table
