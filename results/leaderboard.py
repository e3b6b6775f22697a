"""The leaderboard: one table for each set of data and league; below them, what could not be ranked.

print_leaderboard(Path("runs"), Console())

Runs on data with different fingerprints never share a table, nor do models trained from scratch and
models that started from weights. Whatever comes from a record is shown
through `Text`, so that rich reads no markup in it.
"""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.datasets.base import DataProvenance
from harness.interval import CONFIDENCE
from results.leaderboard_columns import (
    LEADERBOARD_COLUMNS,
    SMALLER_PARTS,
    UNKNOWN,
    LeaderboardColumn,
    interval_text,
    number_text,
    ran_out_of_memory,
)
from results.references import leaderboard_references
from results.score import Score, ranked, vendor_bar_percent
from results.store import MAX_LINE_LENGTH, Run, StoredRuns, load_runs, one_line

BELOW_BAR = "*"
CIFAR10_TEST_IMAGES = 10_000

_RANK_WIDTH = len("claim")
_GAP = 2
"""Spaces between two columns of the table."""


def print_leaderboard(folder: Path, console: Console) -> None:
    """Print the leaderboard of the runs in `folder`.

    Raises:
        UsageError: `folder` cannot be read or holds no run.
    """
    stored = load_runs(folder)
    groups = _group_by_data_and_league(stored.runs)
    for runs in groups:
        _print_group(ranked(runs), console)
    if not groups:
        console.print("No finished run to rank yet.")
    _print_unranked(stored, console)


def _group_by_data_and_league(runs: list[Run]) -> list[list[Run]]:
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        if run.scores is not None:
            data = _data(run)
            groups.setdefault((data.dataset, data.fingerprint, run.record.cell.league), []).append(run)
    return sorted(groups.values(), key=lambda runs: (_data_order(_data(runs[0])), runs[0].record.cell.league))


def _data_order(data: DataProvenance) -> tuple[str, bool, int, str]:
    """Official data first, then the larger test set."""
    return data.dataset, not data.official, -data.num_test_images, data.fingerprint


def _print_group(rows: list[tuple[Run, Score]], console: Console) -> None:
    first = rows[0][0]
    console.print(Text(_title(first), style="bold"))
    console.print()
    console.print(_table(rows, console.width))
    console.print()
    lines = _caption(_data(first), first.record.cell.league)
    if any(ran_out_of_memory(run) for run, _ in rows):
        lines.append(f"{SMALLER_PARTS}: memory ran out, and each batch was taken in more, smaller parts.")
    console.print(Text("\n".join(lines), style="dim"))
    console.print()
    console.print(Text(_summary(*rows[0]), style="bold"))
    console.print()


def _print_unranked(stored: StoredRuns, console: Console) -> None:
    """Print the failed runs, the number of unfinished ones and the warnings."""
    failed = [run for run in stored.runs if run.record.status == "failed"]
    if failed:
        console.print(f"Failed runs: {len(failed)}", style="bold")
    for run in failed:
        failure = run.record.failure
        reason = f"{failure.kind}: {failure.message}" if failure else "no reason recorded"
        line = one_line(f"{run.record.cell.label()} ({run.record.cell_id}): {reason}", MAX_LINE_LENGTH)
        console.print(Text(f"  {line}"), soft_wrap=True)
    if stored.num_unfinished:
        console.print(f"Unfinished runs, without a record yet: {stored.num_unfinished}")
    for warning in stored.warnings:
        console.print(Text(f"left out: {warning}", style="yellow"), soft_wrap=True)


def _table(rows: list[tuple[Run, Score]], width: int) -> Table:
    cells = {
        column: [one_line(column.of_run(run, score)) for run, score in rows] for column in LEADERBOARD_COLUMNS
    }
    shown = _fitting(cells, width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("\nrank", justify="right", no_wrap=True)
    for column in shown:
        # Only the names of references, which may wrap, are longer than the column is planned for.
        table.add_column(column.header, justify=column.align, no_wrap=column is not LEADERBOARD_COLUMNS[0])
    num_clearing = sum(score.clears_vendor_bar for _, score in rows)
    for index in range(len(rows)):
        below = index >= num_clearing
        table.add_row(
            f"{index + 1}{BELOW_BAR if below else ' '}",
            *(Text(cells[column][index]) for column in shown),
            style="yellow" if below else "",
            end_section=index + 1 in (num_clearing, len(rows)),
        )
    for entry in leaderboard_references():
        table.add_row("claim", *(Text(column.of_reference(entry)) for column in shown), style="dim")
    return table


def _fitting(cells: dict[LeaderboardColumn, list[str]], width: int) -> list[LeaderboardColumn]:
    """The most important columns that fit into `width`, in the order in which they are shown."""
    used = _RANK_WIDTH
    shown = set()
    for column in sorted(cells, key=lambda column: column.importance):
        reference_words = [
            word for entry in leaderboard_references() for word in column.of_reference(entry).split()
        ]
        texts = [*column.header.split("\n"), *cells[column], *reference_words]
        used += _GAP + max(cell_len(text) for text in texts)
        if used > width:
            break
        shown.add(column)
    return [column for column in cells if column in shown]


def _title(run: Run) -> str:
    data = _data(run)
    official = "official" if data.official else "not official"
    return one_line(
        f"{run.record.cell.dataset} ({official}): {data.num_train_images:,} train, "
        f"{data.num_test_images:,} test images; fingerprint {data.fingerprint[:8]}; {run.record.cell.league}"
    )


def _caption(data: DataProvenance, league: str) -> list[str]:
    lines = [
        "acc. / PFLOP: test accuracy in % over total training compute, forward + backward "
        "(1 MAC = 2 FLOPs, 1 PFLOP = 1e15 FLOPs).",
        f"Bar: the {CONFIDENCE:.0%} Wilson interval lies above {vendor_bar_percent():g}%, which Detectocorp "
        f"claims. Rows that clear it come first; those marked {BELOW_BAR} do not.",
        f"claim: a system neither trained nor measured here; {UNKNOWN} is undisclosed or not stated.",
    ]
    if league == "pre-trained":
        lines.append("These models started from weights; the compute that made those is not counted.")
    if data.dataset != "cifar10":
        lines.append("The claims are about CIFAR-10: they cannot be compared with the rows of this table.")
    elif not _official_cifar10_test(data):
        lines.append(
            "The rows were not measured on the 10,000 official test images of CIFAR-10 that the claims "
            "are about."
        )
    return lines + [one_line(note) for note in data.notes]


def _summary(run: Run, score: Score) -> str:
    """What the first row of a table says, as one sentence."""
    data, cell = _data(run), run.record.cell
    best = (
        f"{cell.model}/{cell.augmentation}, {score.accuracy_percent:.1f}% {interval_text(score)}, "
        f"{number_text(score.total_train_pflop)} PFLOP"
    )
    bar = f"{vendor_bar_percent():g}%"
    if data.dataset != "cifar10":
        relation = "above" if score.clears_vendor_bar else "not above"
        return f"Best value: {best}: {relation} the bar of {bar}; the claims are about other data."
    if not score.clears_vendor_bar:
        return f"No run clears Detectocorp's claimed {bar}; the best value below it: {best}."
    where = "" if _official_cifar10_test(data) else " (claimed for other test images)"
    return (
        f"Best value: {best}: clears Detectocorp's claimed {bar} and reaches "
        f"{score.share_of_gpipe_accuracy_percent:.1f}% of GPipe's accuracy with "
        f"{score.share_of_gpipe_params_percent:.2g}% of its parameters{where}."
    )


def _official_cifar10_test(data: DataProvenance) -> bool:
    as_published = data.official and data.image_shape == (3, 32, 32)
    return as_published and data.num_test_images == CIFAR10_TEST_IMAGES


def _data(run: Run) -> DataProvenance:
    assert run.record.data is not None
    return run.record.data
