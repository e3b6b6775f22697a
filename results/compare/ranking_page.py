"""Several systems side by side as a page for people, 80 columns or wider.

print_ranking(compare_systems(found), notes, Console())
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from results.compare.parts import print_dropped, print_notes, print_sentence, system_name
from results.compare.several import Pair, Ranking
from results.compare.ties import group_letters
from results.compare.wording import interval, p_text, points, ranking_verdict
from results.console_parts import empty_table, fitting_table, print_title

MAX_PAIRS = 30
"""Rows of the table of pairs; of more, those of largest p-value are shown."""


def print_ranking(found: Ranking, notes: Sequence[str], console: Console) -> None:
    """Print who leads, who is tied with whom, and every pair.

    Args:
        found: as `compare_systems` returns it.
        notes: what limits the figures.
        console: where to.
    """
    print_sentence(ranking_verdict(found), console)
    num_resolved = sum(pair.resolved for pair in found.pairs)
    words = f"{num_resolved:,} of {len(found.pairs):,} pairs are resolved at 5%"
    console.print(Text(f"{words} (exact McNemar, Holm over all of them)"))
    console.print()
    _print_systems(found, console)
    console.print(Text("Systems with a letter in common are tied: these images do not tell them apart."))
    console.print()
    print_notes(notes, console)
    _print_matrix(found, console)
    _print_pairs(found, console)


def _print_systems(found: Ranking, console: Console) -> None:
    letters = group_letters(list(found.tie_groups), len(found.systems))
    shown = empty_table("#", "system", "accuracy %", "95% interval", "right", "tied")
    shown.columns[1].justify = shown.columns[-1].justify = "left"
    shown.columns[1].no_wrap = shown.columns[-1].no_wrap = False
    for place, system in enumerate(found.systems):
        share = system.accuracy
        shown.add_row(
            str(place + 1),
            system_name(system.name),
            points(share.percent, share.n),
            interval(share.low_percent, share.high_percent, share.n),
            f"{share.count:,}",
            letters[place],
        )
    console.print(shown)


def _print_matrix(found: Ranking, console: Console) -> None:
    """The differences, where they fit: the better system in rows."""
    num_systems = len(found.systems)
    cells = {(pair.first, pair.second): _cell(pair) for pair in found.pairs}
    width = max(len(cell) for cell in cells.values()) + 1
    index_width = len(str(num_systems))
    if index_width + width * (num_systems - 1) > console.width:
        return
    print_title("Row minus column in points; in brackets where that is not resolved", console)
    header = "".join(f"{place + 1:>{width}}" for place in range(1, num_systems))
    console.print(Text(" " * index_width + header, style="dim"))
    for first in range(num_systems - 1):
        line = Text(f"{first + 1:>{index_width}}", style="dim")
        for second in range(1, num_systems):
            line.append(f"{cells.get((first, second), ''):>{width}}", style="not dim")
        line.rstrip()
        console.print(line)


def _cell(pair: Pair) -> str:
    difference = points(pair.comparison.difference_points, pair.comparison.n)
    return difference if pair.resolved else f"({difference})"


def _print_pairs(found: Ranking, console: Console) -> None:
    least_sure_first = sorted(found.pairs, key=lambda pair: (-pair.p_holm, -pair.comparison.p_value))
    num_more = len(found.pairs) - MAX_PAIRS
    print_title("Pairs, the least certain first; right images of the 1st or 2nd alone", console)
    rows = [(_pair_cells(pair), "" if pair.resolved else "bold") for pair in least_sure_first[:MAX_PAIRS]]
    headers = ("pair", "points", "95% interval", "1st", "2nd", "p", "p Holm", "resolvable")
    shown, dropped = fitting_table(headers, rows, ("resolvable", "p", "2nd", "1st"), console)
    console.print(shown)
    print_dropped(dropped, console)
    if num_more > 0:
        console.print(Text(f"and {num_more:,} pairs of smaller p (--json has all)", style="dim"))


def _pair_cells(pair: Pair) -> list[str]:
    each = pair.comparison
    return [
        f"{pair.first + 1} and {pair.second + 1}",
        points(each.difference_points, each.n),
        interval(each.low_points, each.high_points, each.n),
        f"{each.only_a:,}",
        f"{each.only_b:,}",
        p_text(each.p_value),
        p_text(pair.p_holm),
        points(each.resolvable_points, each.n),
    ]
