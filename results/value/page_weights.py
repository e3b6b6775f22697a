"""Who wins under which weights, as tables for people."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.console_parts import empty_table
from results.value.numbers import UNKNOWN
from results.value.sensitivity import Sensitivity
from results.value.summary import Weighing

MAX_WINNERS = 8


def print_weights(weighing: Weighing, names: list[str], console: Console) -> None:
    """Print the winner, what changes it, and how often each candidate wins over all weights.

    Args:
        weighing: of one group.
        names: of its candidates, in their order.
        console: where to.
    """
    found = weighing.sensitivity
    if isinstance(found, str):
        console.print(Text(f"Weighted score: {UNKNOWN} ({found})"))
        console.print()
        return
    console.print(Text("Which weights decide"))
    console.print(Text(_summary(found, names)))
    console.print(_changes(found, names))
    console.print()
    console.print(Text(f"Over all weights, equally likely ({found.num_samples:,} samples):"))
    for place in np.argsort(-found.win_percent, kind="stable")[:MAX_WINNERS].tolist():
        if found.win_percent[place] > 0:
            console.print(Text(f"  {found.win_percent[place]:5.1f}%  {names[place]}"))
    notes = [
        "Score: -(sum of weight · ln(value / best value)); candidates are the cells above the vendor's bar, "
        "or all where none is."
    ]
    if weighing.num_floored:
        notes.append(
            f"An error of 0 has no logarithm: that of {weighing.num_floored:,} candidates counts as half an "
            "image."
        )
    notes += [f"No criterion: {title} ({reason})." for title, reason in weighing.left_out.items()]
    console.print(Text("\n".join(notes), style="dim"))
    console.print()


def _summary(found: Sensitivity, names: list[str]) -> str:
    if found.runner_up is None or found.margin_factor is None:
        return f"{names[found.winner]} is the only candidate."
    return (
        f"{names[found.winner]} wins; {names[found.runner_up]}, the next, would have to be "
        f"{found.margin_factor:.3g} times better in everything at once."
    )


def _changes(found: Sensitivity, names: list[str]) -> Table:
    table = empty_table("criterion", "weight", "changes at", "to")
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for change in found.changes:
        if change.new_weight is None or change.new_winner is None:
            level, winner = "never", UNKNOWN
        else:
            level, winner = f"{change.new_weight:.3f}", names[change.new_winner]
        table.add_row(change.criterion, f"{change.weight:.3f}", level, Text(winner))
    return table
