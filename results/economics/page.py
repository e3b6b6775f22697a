"""What building and buying cost as a page for people, 80 columns or wider: the answer first.

print_economics(appraisal, notes, show_all=False, console=Console())

Names of runs and vendors are shown through `Text`, so that rich reads no markup in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from results.console_parts import empty_table, print_lines, print_title
from results.economics.assumptions import Assumption
from results.economics.decide import Appraisal, SideCost
from results.economics.keys import KEYS
from results.economics.sensitivity import Sensitivity
from results.economics.words import (
    amount,
    answer_words,
    break_even_words,
    build_words,
    buy_words,
    figure_words,
    range_words,
    saving_words,
    short,
)
from results.store import one_line

MAX_BARS = 12
"""Figures in the tornado, and assumptions below it unless all are asked for."""

UNKNOWN = "—"

_LABEL_WIDTH = 10
_TORNADO_WIDTH = 58
"""Columns that the tornado needs beside its bars."""

_BAR_WIDTHS = (20, 60)


def print_economics(appraisal: Appraisal, notes: Sequence[str], show_all: bool, console: Console) -> None:
    """Print the answer, the costs, what they depend on, and the figures behind them.

    Args:
        appraisal: what is shown.
        notes: how the run was picked, and the like; shown with the caveats.
        show_all: every assumption, rather than those that matter most.
        console: where to.
    """
    _print_answer(appraisal, console)
    _print_costs(appraisal, console)
    _print_years(appraisal, console)
    _print_tornado(appraisal.sensitivities[:MAX_BARS], console)
    _print_flips(appraisal, console)
    _print_caveats([*notes, *appraisal.caveats], console)
    _print_assumptions(appraisal, show_all, console)


def _print_answer(appraisal: Appraisal, console: Console) -> None:
    simulated = appraisal.monte_carlo
    console.print(Text(answer_words(appraisal), style="bold"))
    console.print()
    interval = (
        f"from {saving_words(simulated.low_usd)} to {saving_words(simulated.high_usd)}: 95% of "
        f"{simulated.num_draws:,} draws (seed {simulated.seed}); median {saving_words(simulated.median_usd)}"
    )
    _print_lines(
        [
            ("build", build_words(appraisal.build)),
            ("buy", buy_words(appraisal.buy)),
            ("range", interval),
            ("break-even", f"volume: {break_even_words(appraisal.break_even_volume)}"),
            ("", f"our accuracy: {break_even_words(appraisal.break_even_gap)}"),
            ("", f"theirs: {break_even_words(appraisal.break_even_vendor_percent)}"),
            ("", f"an error: {break_even_words(appraisal.break_even_error_usd)}"),
        ],
        console,
    )


def _print_costs(appraisal: Appraisal, console: Console) -> None:
    rate = figure_words(appraisal.assumptions["discount_rate_percent"].value)
    print_title(f"What it costs today, real USD discounted at {rate}% a year", console)
    build = {part.name: part.present_cost_usd for part in appraisal.build_cost.components}
    buy = {part.name: part.present_cost_usd for part in appraisal.buy_cost.components}
    table = empty_table("", "build", "buy", "buy less build")
    # What both sides have stands last, side by side.
    names = [name for name in build if name not in buy]
    names += [name for name in buy if name not in build] + [name for name in build if name in buy]
    for name in names:
        table.add_row(
            name,
            amount(build[name]) if name in build else UNKNOWN,
            amount(buy[name]) if name in buy else UNKNOWN,
            amount(buy.get(name, 0.0) - build.get(name, 0.0)),
            end_section=name == names[-1],
        )
    build_usd, buy_usd = appraisal.build_cost.present_cost_usd, appraisal.buy_cost.present_cost_usd
    table.add_row("total", amount(build_usd), amount(buy_usd), amount(buy_usd - build_usd), style="bold")
    console.print(table)


def _print_years(appraisal: Appraisal, console: Console) -> None:
    print_title("Cash flows, not discounted: year 0 at the start, the others at their end", console)
    table = empty_table("year", "build", "buy", "buy less build", "added up")
    added_up = 0.0
    for year, (build_usd, buy_usd) in enumerate(zip(*_yearly(appraisal), strict=True)):
        added_up += buy_usd - build_usd
        table.add_row(
            str(year), amount(-build_usd), amount(-buy_usd), amount(buy_usd - build_usd), amount(added_up)
        )
    console.print(table)


def _yearly(appraisal: Appraisal) -> tuple[tuple[float, ...], tuple[float, ...]]:
    sides: tuple[SideCost, SideCost] = (appraisal.build_cost, appraisal.buy_cost)
    return sides[0].yearly_usd, sides[1].yearly_usd


def _print_tornado(rows: Sequence[Sensitivity], console: Console) -> None:
    rows = [row for row in rows if row.difference_at_low_usd is not None]
    if not rows:
        return
    print_title("What matters: buy less build, each figure alone at its low and high end", console)
    ends = [end for row in rows for end in _ends(row)]
    first, last = min(0.0, *ends), max(0.0, *ends)
    narrowest, widest = _BAR_WIDTHS
    width = min(widest, max(narrowest, console.width - _TORNADO_WIDTH))
    table = empty_table("", "at low", "at high", "bar", "turns at")
    table.columns[3].justify = "left"
    table.columns[3].header = Text(_scale(first, last, width), style="dim")
    for row in rows:
        low, high = _ends(row)
        table.add_row(
            row.label,
            short(low),
            short(high),
            Text(_bar(low, high, first, last, width)),
            Text(_flip(row), style="bold" if row.flips_in_range else "dim"),
        )
    console.print(table)
    console.print(
        Text(
            "┃ is 0: right of it building is cheaper. Bold: turns within the range of the figure.",
            style="dim",
        )
    )


def _flip(row: Sensitivity) -> str:
    return "never" if row.flip is None else short(row.flip.value)


def _ends(row: Sensitivity) -> tuple[float, float]:
    assert row.difference_at_low_usd is not None
    assert row.difference_at_high_usd is not None
    return row.difference_at_low_usd, row.difference_at_high_usd


def _bar(low: float, high: float, first: float, last: float, width: int) -> str:
    """A bar from one end to the other on a scale from `first` to `last`, with a mark at 0."""
    low, high = sorted((low, high))
    cells = [" "] * width
    start, end = _cell(low, first, last, width), _cell(high, first, last, width)
    cells[start : end + 1] = "█" * (end + 1 - start)
    cells[_cell(0.0, first, last, width)] = "┃"
    return "".join(cells)


def _scale(first: float, last: float, width: int) -> str:
    left, right = short(first), short(last)
    return left + right.rjust(max(width - len(left), len(right) + 1))


def _cell(value: float, first: float, last: float, width: int) -> int:
    return min(width - 1, int(width * (value - first) / (last - first))) if last > first else 0


def _print_flips(appraisal: Appraisal, console: Console) -> None:
    other = "buying" if appraisal.cheaper == "build" else "building"
    if not appraisal.flips:
        print_title("No figure alone turns the decision within its range", console)
        return
    print_title(f"What alone makes {other} cheaper, within its range", console)
    table = empty_table("", "now", "turns at", "range", "unit")
    table.columns[3].justify = table.columns[4].justify = "left"
    table.columns[4].overflow, table.columns[4].no_wrap = "fold", False
    for row in appraisal.flips:
        assert row.flip is not None
        assert row.low is not None
        assert row.high is not None
        table.add_row(
            row.label,
            short(row.value),
            short(row.flip.value),
            f"{short(row.low)} to {short(row.high)}",
            Text(row.unit),
        )
    console.print(table)


def _print_caveats(lines: Iterable[str], console: Console) -> None:
    print_title("What to keep in mind", console)
    _print_lines([("-", line) for line in lines], console, label_width=1)


def _print_assumptions(appraisal: Appraisal, show_all: bool, console: Console) -> None:
    entries = appraisal.assumptions
    if show_all:
        keys = list(KEYS)
        print_title("All figures: value [low, high] unit, date, source", console)
    else:
        moving = (row.key for row in appraisal.sensitivities if row.key in entries)
        keys = [key for key, _ in zip(moving, range(MAX_BARS), strict=False)]
        print_title("The figures that matter most: value [low, high] unit, date, source", console)
    for key in keys:
        _print_assumption(key, entries[key], console)
    if not show_all:
        console.print(
            Text(f"--show-assumptions shows all {len(KEYS)}; --set KEY=VALUE changes one.", style="dim")
        )


def _print_assumption(key: str, entry: Assumption, console: Console) -> None:
    date = "no date" if entry.as_of is None else entry.as_of.isoformat()
    shape = "known" if entry.is_known else entry.distribution
    console.print(Text.assemble((key, "bold"), f"  {range_words(entry)} {entry.unit}; {shape}; {date}"))
    lines = []
    if entry.source is not None:
        lines.append(("source", entry.source))
    if entry.assumption is not None:
        lines.append(("assumed", entry.assumption))
    _print_lines(lines, console)


def _print_lines(lines: list[tuple[str, str]], console: Console, label_width: int = _LABEL_WIDTH) -> None:
    print_lines([(label, one_line(words)) for label, words in lines], console, label_width, gap=1)
