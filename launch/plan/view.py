"""A plan for people: a table of its cells or of groups of them, and the totals. No torch here.

print_plan(plan, Console(), show_all=False)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch.plan.plan import STATES, TO_RUN, Plan, State
from launch.plan.workload import Figure
from launch.screen.text import UNKNOWN, compute, duration, number, recipe_name
from results.store import MAX_LINE_LENGTH, one_line

MOST_ROWS = 40
"""Cells that are shown one by one; more are grouped by model and recipe."""

_WIDE = 130
_LEAST_NAME = 12
_GAP = 2
"""Spaces between two columns."""

_MOST_REASONS = 6
_STYLES: dict[State, str] = {
    "finished": "green",
    "failed": "red",
    "pruned": "magenta",
    "paused": "yellow",
    "running": "cyan",
    "unreadable": "red",
    "new": "",
}
_BASES = {
    "measured": "run",
    "same_cell": "seeds",
    "same_model": "model",
    "other_models": "others",
    "lower_bound": "peak",
    None: "",
}
_LEGEND = {
    "same_cell": "seeds: from runs here that differ in the seed at most.",
    "same_model": "model: from other runs of the model here, scaled by compute.",
    "other_models": "others: from the speed that other models reach here.",
    "lower_bound": "peak: at the measured peak of a matrix product; it will take longer, often many times.",
}


def print_plan(plan: Plan, console: Console, show_all: bool) -> None:
    """Print the plan: one line for each cell, or for each model and recipe where there are many.

    Args:
        plan: the plan.
        console: where to.
        show_all: one line for each cell, however many there are.
    """
    one_by_one = show_all or len(plan.cells) <= MOST_ROWS
    if plan.cells:
        console.print(_cell_table(plan, console.width) if one_by_one else _group_table(plan, console.width))
        console.print()
    for line in _legend(plan):
        console.print(Text(line, style="dim"))
    _print_reasons("no time or compute", _without_figures(plan), console)
    unreadable = [cell.reason for cell in plan.cells if cell.state == "unreadable"]
    _print_reasons("cannot be read: move the folder away to run the cell again", unreadable, console)
    _print_reasons("excluded", [reason for _, reason in plan.excluded], console)
    for line in summary(plan):
        console.print(Text(line, style="bold"), soft_wrap=True)


def summary(plan: Plan) -> list[str]:
    """The totals in a few lines."""
    totals = plan.totals
    failures = Counter(cell.kind or "?" for cell in plan.cells if cell.state == "failed")
    parts = []
    for state in STATES:
        count = totals.num_by_state[state]
        if count:
            kinds = f" ({', '.join(_kinds(failures))})" if state == "failed" else ""
            parts.append(f"{count:,} {_STATE_WORDS.get(state, state)}{kinds}")
    excluded = f"; {len(plan.excluded):,} excluded" if plan.excluded else ""
    lines = [f"{number(len(plan.cells), 'cell')}: {', '.join(parts) or 'none'}{excluded}"]
    if totals.num_to_run:
        lines.append(_what_is_left(plan))
    if totals.flops_finished:
        lines.append(f"finished: {compute(totals.flops_finished)} of training")
    return lines


_STATE_WORDS: dict[State, str] = {"failed": "failed before", "running": "running now"}


def _what_is_left(plan: Plan) -> str:
    totals = plan.totals
    at_once = f", {plan.jobs} at once" if plan.jobs > 1 else ""
    line = f"to run: {number(totals.num_to_run, 'cell')}{at_once}"
    unknown = totals.num_to_run - totals.num_without_time == 0
    if unknown:
        return f"{line}; how long is not known"
    least = "at least " if totals.num_lower_bounds else "about "
    line += f", {least}{duration(totals.time_left_s)}"
    if totals.num_without_time:
        line += f" for the {totals.num_to_run - totals.num_without_time:,} that have an estimate"
    if plan.start_s is None:
        line += " and the start of each process"
    line += f"; {compute(totals.flops_left)} of training"
    if totals.num_without_flops:
        line += f", without {number(totals.num_without_flops, 'cell')} not counted"
    return line


def _kinds(failures: Counter[str]) -> Iterable[str]:
    return (f"{count:,} {_words(kind)}" for kind, count in failures.most_common())


def _legend(plan: Plan) -> list[str]:
    used = {cell.time_s.basis for cell in plan.cells if cell.state != "finished"}
    return [line for basis, line in _LEGEND.items() if basis in used]


def _without_figures(plan: Plan) -> list[str]:
    """Why cells have no time or no compute."""
    cells = [cell for cell in plan.cells if cell.state in TO_RUN]
    figures = [cell.flops if cell.flops.value is None else cell.time_s for cell in cells]
    return [figure.note for figure in figures if figure.value is None]


def _print_reasons(what: str, reasons: list[str], console: Console) -> None:
    counts = Counter(reasons).most_common()
    for reason, count in counts[:_MOST_REASONS]:
        line = f"{what} ({number(count, 'cell')}): {one_line(reason, MAX_LINE_LENGTH)}"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    if len(counts) > _MOST_REASONS:
        console.print(Text(f"... and {len(counts) - _MOST_REASONS:,} other reasons", style="yellow"))


def _table(
    columns: dict[str, Literal["left", "right"]],
    rows: list[list[Text]],
    width: int,
    giving_way: Sequence[str],
) -> Table:
    """A table; the columns of these names give way, one after the other, where the width does not do."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    texts = zip(*rows, strict=True)
    widths = [max(len(header), *map(_width, column)) for header, column in zip(columns, texts, strict=True)]
    for name in giving_way:
        place = list(columns).index(name)
        left = width - sum(widths) + widths[place] - _GAP * (len(widths) - 1)
        widths[place] = min(widths[place], max(_LEAST_NAME, left))
    for (header, align), most in zip(columns.items(), widths, strict=True):
        table.add_column(header, justify=align, no_wrap=True, overflow="ellipsis", width=most)
    for row in rows:
        table.add_row(*row)
    return table


def _width(text: Text) -> int:
    return cell_len(text.plain)


def _cell_table(plan: Plan, width: int) -> Table:
    names = [recipe_name(cell.cell.model, cell.cell.recipe) for cell in plan.cells]
    several = len(set(names)) > 1
    columns: dict[str, Literal["left", "right"]] = {"cell": "left"}
    columns |= {"recipe": "left"} if several else {}
    columns |= {"state": "left", "time": "right", "compute": "right", "from": "left"}
    rows = []
    for cell, name in zip(plan.cells, names, strict=True):
        dim = "dim" if cell.state == "finished" else ""
        left_s = cell.time_s.value if cell.state == "finished" else cell.time_left_s
        bound = "≥ " if cell.time_s.basis == "lower_bound" else ""
        state = f"{cell.state}: {_words(cell.kind)}" if cell.kind else cell.state
        rows.append(
            [
                Text(one_line(cell.cell.label())),
                *([Text(name)] if several else []),
                Text(state, style=_STYLES[cell.state]),
                Text(f"{bound}{duration(left_s)}", style=dim),
                Text(compute(cell.flops.value), style=dim),
                Text(one_line(_basis(cell.time_s, width)), style="dim"),
            ]
        )
    giving_way = [*(["recipe"] if several else []), *(["from"] if width >= _WIDE else []), "cell"]
    return _table(columns, rows, width, giving_way)


def _words(kind: str) -> str:
    return one_line(kind, 40).replace("_", " ")


def _basis(figure: Figure, width: int) -> str:
    if width >= _WIDE and figure.basis != "measured":
        return figure.note
    return _BASES[figure.basis]


@dataclass
class _Group:
    states: Counter[State] = field(default_factory=Counter)
    left_s: float = 0.0
    flops_left: float = 0.0
    num_unknown: int = 0
    bases: Counter[str] = field(default_factory=Counter)


def _group_table(plan: Plan, width: int) -> Table:
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for cell in plan.cells:
        group = groups[cell.cell.model, recipe_name(cell.cell.model, cell.cell.recipe)]
        group.states[cell.state] += 1
        if cell.state not in TO_RUN:
            continue
        left_s = cell.time_left_s
        group.left_s += left_s or 0.0
        group.num_unknown += left_s is None
        group.flops_left += cell.flops_left or 0.0
        group.bases[_BASES[cell.time_s.basis]] += 1
    shown = [state for state in STATES if plan.totals.num_by_state[state]]
    columns: dict[str, Literal["left", "right"]] = {"model": "left", "recipe": "left"}
    columns |= dict.fromkeys(shown, "right")
    columns |= {"time": "right", "compute": "right", "from": "left"}
    rows = []
    for (model, recipe), group in groups.items():
        counts = [
            Text(f"{group.states[state]:,}" if group.states[state] else "", style=_STYLES[state])
            for state in shown
        ]
        num_left = sum(group.states[state] for state in TO_RUN)
        known = group.num_unknown < num_left
        at_least = "≥ " if known and (group.num_unknown or group.bases[_BASES["lower_bound"]]) else ""
        left = f"{at_least}{duration(group.left_s if known else None)}" if num_left else ""
        flops = (compute(group.flops_left) if group.flops_left else UNKNOWN) if num_left else ""
        bases = ", ".join(basis for basis, _ in group.bases.most_common() if basis)
        texts = [Text(left), Text(flops), Text(bases, style="dim")]
        rows.append([Text(one_line(model)), Text(recipe), *counts, *texts])
    return _table(columns, rows, width, giving_way=("recipe", "model"))
