"""What one group of runs is worth, as tables for people, 80 columns or wider.

print_value(value_of(peers), Console())

Names of models and devices are shown through `Text`, so that rich reads no markup in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.console_parts import empty_table
from results.index.run_table import RunTable
from results.references import load_references
from results.score import vendor_bar_percent
from results.store import one_line
from results.value.crossing import Crossing
from results.value.numbers import UNKNOWN, number
from results.value.page_law import print_law
from results.value.page_weights import print_weights
from results.value.peers import Peers
from results.value.ratios import GPipeShares
from results.value.summary import Value
from results.value.views import View

MAX_ROWS = 12
"""Of a table; of more, those of lowest error are shown."""

_NAME_LENGTH = 20
_ID_LENGTH = 6
_WIDE = 100
"""Columns of a console that has room for one more share."""


def print_value(value: Value, console: Console) -> None:
    """Print every view of one group, and what is a claim as a claim."""
    peers = value.peers
    official = "official" if peers.is_official else "not official"
    title = (
        f"{peers.dataset} ({official}), {peers.num_test_images:,} test images, "
        f"fingerprint {peers.data_fingerprint}; {peers.league}"
    )
    console.print(Text(one_line(title), style="bold"))
    console.print(Text(f"{len(peers)} cells of {len(peers.rows)} runs; seeds are averaged."))
    console.print()
    for view in value.views:
        _print_view(view, value, console)
    _print_notes(_view_notes(value), console)
    _print_ratios(value, console)
    print_law(value.law, console)
    print_weights(value.weighing, cell_names(peers, value.weighing.candidates), console)


def print_warnings(table: RunTable, console: Console) -> None:
    """Name what could not be looked at."""
    for warning in table.warnings:
        console.print(Text(f"left out: {warning}", style="yellow"), soft_wrap=True)


def cell_names(peers: Peers, places: Sequence[int] | NDArray[np.int64]) -> list[str]:
    """Model and augmentation of some cells, and the start of their ids, for neither is unique."""
    models, augmentations = peers.texts("model")[places], peers.texts("augmentation")[places]
    ids = peers.texts("cell_id")[places]
    return [
        f"{one_line(f'{model}/{augmentation}', _NAME_LENGTH)} {one_line(cell_id, _ID_LENGTH)[:_ID_LENGTH]}"
        for model, augmentation, cell_id in zip(models, augmentations, ids, strict=True)
    ]


def _print_view(view: View, value: Value, console: Console) -> None:
    where = f", on {one_line(view.device, 40)}" if view.device else ""
    if view.reason is not None:
        console.print(Text(f"{view.title}{where}: {UNKNOWN} ({view.reason})"))
        console.print()
        return
    shown, num_front = _lowest_errors(view), int(view.front.sum())
    console.print(
        Text(f"Error against {view.title}{where}: {num_front} of {len(view.rows)} cells on the front")
    )
    table = _table("cell", f"{view.unit}", "test error %", "seeds")
    places = np.searchsorted(value.peers.first_rows, view.rows[shown])
    for place, name, index in zip(places, cell_names(value.peers, places), shown, strict=True):
        table.add_row(
            Text(name),
            number(view.costs[index]),
            f"{view.errors_percent[index]:.2f}",
            str(value.peers.num_seeds[place]),
        )
    for claim in view.claims:
        row = f"{claim.reference.name}: {claim.how}"
        table.add_row(Text(row), Text(number(claim.cost)), f"{claim.error_percent:.2f}", "claim", style="dim")
    console.print(table)
    if num_front > len(shown):
        console.print(Text(f"and {num_front - len(shown)} more with a larger error", style="dim"))
    console.print()


def _lowest_errors(view: View) -> list[int]:
    front = np.flatnonzero(view.front)
    order = np.lexsort((view.costs[front], view.errors_percent[front]))
    places: list[int] = front[order][:MAX_ROWS].tolist()
    return places


def _view_notes(value: Value) -> list[str]:
    peers = value.peers
    notes = [
        "The front: no other cell costs as little and errs as little, with one of them less. Of two near "
        "errors either may be noise: compare the cells.",
        "1 MAC = 2 FLOPs; training compute is forward and backward, over all epochs.",
        "claim: neither trained nor measured here, and never on the front.",
    ]
    if value.price_per_hour is not None:
        notes.append(
            "price of training: hours of training, the first step included and evaluation not, x processes "
            f"x {value.price_per_hour:g} dollars; `economics` prices the wall time of the whole run instead."
        )
    gpipe = load_references()["gpipe"]
    assert gpipe.counted is not None
    if peers.dataset == gpipe.dataset:
        notes.append(f"GPipe's training: {gpipe.counted.least_train_images_source}.")
        if not peers.is_official or peers.num_test_images != gpipe.num_test_images:
            notes.append("Claims are about the 10,000 official test images of CIFAR-10, these cells are not.")
    if peers.league == "pre-trained":
        notes.append("The compute that made the first weights is not counted.")
    return notes


def _print_ratios(value: Value, console: Console) -> None:
    """NetScore, shares of GPipe, and the compute until the bar, of the cells on any front."""
    peers, shares = value.peers, value.shares
    front = value.front
    errors = peers.errors_percent
    shown = front[np.argsort(errors[front], kind="stable")][:MAX_ROWS]
    bar = f"{vendor_bar_percent():g}%"
    console.print(Text(f"Beside GPipe, and until {bar}: cells on a front, of lowest error"))
    columns = _share_columns(shares, console.width >= _WIDE)
    table = _table("cell", "NetScore", *(header for header, _ in columns), f"PFLOP\nto {bar}")
    for place, name in zip(shown.tolist(), cell_names(peers, shown), strict=True):
        table.add_row(
            Text(name),
            f"{value.net_scores[place]:.1f}",
            *(number(column[place]) for _, column in columns),
            _crossing(value.crossings.get(place)),
        )
    console.print(table)
    _print_notes(_ratio_notes(value), console)


def _share_columns(shares: GPipeShares | None, is_wide: bool) -> list[tuple[str, NDArray[np.float64]]]:
    """Headers and percentages; none on data that GPipe's accuracy is not about."""
    if shares is None:
        return []
    per_image = [("training\nper image", shares.train_flops)] if is_wide else []
    return [
        ("accu-\nracy", shares.accuracy),
        ("para-\nmeters", shares.params),
        ("forward\nFLOPs", shares.forward_flops),
        *per_image,
        ("training\nat most", shares.least_train_compute),
    ]


def _crossing(found: Crossing | str | None) -> str:
    if not isinstance(found, Crossing):
        return UNKNOWN
    bound = "≤ " if found.is_upper_bound else ""
    return f"{bound}{number(found.pflop)}"


def _ratio_notes(value: Value) -> list[str]:
    gpipe = load_references()["gpipe"]
    assert gpipe.counted is not None
    notes = [
        "NetScore: 20 log10(a² / √(p m)), a in %, p in million parameters, m in billion MACs (Wong 2018).",
    ]
    if value.shares is None:
        notes.append("GPipe's accuracy is about CIFAR-10: no share of it is given on other data.")
    else:
        counted = gpipe.counted
        notes.append(
            f"Shares in % of GPipe's claims ({gpipe.accuracy_percent:g}%, {number(gpipe.num_params)} "
            f"parameters), and of its compute, {counted.label}: "
            f"{counted.forward_flops_per_image / 1e9:,.0f} GFLOP an image forward, at least "
            f"{counted.least_train_pflop:,.0f} PFLOP to train, so that the last share is an upper bound."
        )
    notes.append(
        f"PFLOP to {vendor_bar_percent():g}%: until the Wilson interval of the validation accuracy lies "
        "above what Detectocorp claims."
    )
    reasons = {each for each in value.crossings.values() if isinstance(each, str)}
    notes += [f"{UNKNOWN} there: {reason}." for reason in sorted(reasons)]
    return notes


def _table(first: str, *others: str) -> Table:
    """The first column takes several lines where there is no room for it."""
    table = empty_table(first, *others)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    return table


def _print_notes(notes: Sequence[str], console: Console) -> None:
    console.print(Text("\n".join(one_line(note) for note in notes), style="dim"))
    console.print()
