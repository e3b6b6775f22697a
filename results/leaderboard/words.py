"""What stands above and below a table of the leaderboard, in every format for people."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.interval import CONFIDENCE
from harness.record import PRUNED
from results.leaderboard.board import ON_FRONT, Board, Section
from results.leaderboard.rows import (
    ONE_SEED,
    SMALLER_PARTS,
    UNKNOWN,
    Row,
    interval_text,
    number_text,
    ran_out_of_memory,
)
from results.leaderboard.ties import MAX_TIED
from results.score import vendor_bar_percent
from results.store import MAX_LINE_LENGTH, one_line

BELOW_BAR = "*"
CIFAR10_TEST_IMAGES = 10_000
MAX_LISTED = 20
"""Failed runs, and warnings, that are listed one by one."""


@dataclass(frozen=True)
class Words:
    """Of one table."""

    title: str
    caption: list[str]
    summary: str
    """What the first row says, as one sentence; empty where the rows are not in order of value."""


def words_of(section: Section, rows: list[Row], board: Board) -> Words:
    """The words around a table of at least one row."""
    first = rows[0]
    caption = _caption(section, first, board)
    if any(ran_out_of_memory(row) for row in rows):
        caption.append(f"{SMALLER_PARTS}: memory ran out, and each batch was taken in more, smaller parts.")
    summary = "" if board.options.sorts else _summary(first, board.options.by == "cell")
    return Words(_title(first), caption, summary)


def unranked_lines(board: Board) -> list[str]:
    """Lines about runs that failed, were stopped or are not finished yet."""
    lines = []
    is_pruned = board.failed.texts("failure_kind") == PRUNED
    failed, num_pruned = board.failed.select(~is_pruned), int(is_pruned.sum())
    if num_pruned:
        lines.append(f"Stopped early by a budget: {num_pruned:,}; results.csv says how far each had come")
    if len(failed):
        lines.append(f"Failed runs: {len(failed)}")
    columns = ("label", "cell_id", "failure_kind", "failure_message")
    for label, cell_id, kind, message in zip(
        *(failed.texts(name)[:MAX_LISTED].tolist() for name in columns), strict=True
    ):
        reason = f"{kind}: {message}" if kind else "no reason recorded"
        lines.append(f"  {one_line(f'{label} ({cell_id}): {reason}', MAX_LINE_LENGTH)}")
    if len(failed) > MAX_LISTED:
        lines.append(f"  ... and {len(failed) - MAX_LISTED:,} more: results.csv has them all")
    if board.num_filtered:
        lines.append(f"Finished runs that the filters leave out: {board.num_filtered:,}")
    if board.num_unfinished:
        lines.append(f"Unfinished runs, without a record yet: {board.num_unfinished}")
    return lines


def warning_lines(board: Board) -> list[str]:
    """Lines about the runs that cannot be trusted."""
    lines = [f"left out: {warning}" for warning in board.warnings[:MAX_LISTED]]
    if len(board.warnings) > MAX_LISTED:
        more = len(board.warnings) - MAX_LISTED
        lines.append(f"left out: {more:,} more: python -m results csv RUNS lists them all")
    return lines


def more_line(section: Section) -> str:
    """How many rows are not shown; empty where all are."""
    return f"... and {section.num_more:,} more: --top says how many are shown" if section.num_more else ""


def _title(first: Row) -> str:
    official = "official" if first.number("official") else "not official"
    return one_line(
        f"{first.text('dataset')} ({official}): {first.known('num_train_images'):,.0f} train, "
        f"{first.known('num_test_images'):,.0f} test images; "
        f"fingerprint {first.text('full_fingerprint')[:8]}; {first.text('league')}"
    )


def _caption(section: Section, first: Row, board: Board) -> list[str]:
    come_first = "" if board.options.sorts else "Rows that clear it come first; those"
    lines = [
        "acc. / PFLOP: test accuracy in % over total training compute, forward + backward "
        "(1 MAC = 2 FLOPs, 1 PFLOP = 1e15 FLOPs).",
        f"Bar: the {CONFIDENCE:.0%} Wilson interval lies above {vendor_bar_percent():g}%, which Detectocorp "
        f"claims. {come_first or 'Rows'} marked {BELOW_BAR} do not{'' if come_first else ' clear it'}.",
        f"claim: a system neither trained nor measured here; {UNKNOWN} is undisclosed or not stated.",
        f"{ON_FRONT}: no run of this data and league has both less error and less training compute.",
    ]
    if any(section.letters):
        among = f"the first {MAX_TIED} rows" if len(section.rows) > MAX_TIED else "these rows"
        lines.append(
            f"a, b, ...: of {among}, those with a letter in common are tied: their accuracies cannot be told "
            "apart on these images (exact McNemar, Holm over all pairs, 5%)."
        )
    if board.options.by == "cell":
        lines.append(
            "Each row is the mean over the seeds of a cell; SD: standard deviation over them. A row clears "
            f"the bar if every seed does. {ONE_SEED.capitalize()}: its {CONFIDENCE:.0%} Wilson interval."
        )
    if first.text("league") == "pre-trained":
        lines.append("These models started from weights; the compute that made those is not counted.")
    if first.text("data_kind") != "cifar10":
        lines.append("The claims are about CIFAR-10: they cannot be compared with the rows of this table.")
    elif not _official_cifar10_test(first):
        lines.append(
            "The rows were not measured on the 10,000 official test images of CIFAR-10 that the claims "
            "are about."
        )
    return lines + [one_line(note) for note in _notes(first)]


def _notes(row: Row) -> list[str]:
    text = row.text("data_notes")
    return [str(note) for note in json.loads(text)] if text.startswith("[") else [text]


def _summary(row: Row, is_pooled: bool) -> str:
    """What the first row of a table says, as one sentence."""
    is_mean = is_pooled and row.known("num_seeds") > 1
    spread = f"(mean of {row.count('num_seeds')} seeds)" if is_mean else interval_text(row)
    best = (
        f"{row.text('model')}/{row.text('augmentation')}, "
        f"{row.known('test_accuracy_percent'):.1f}% {spread}, "
        f"{number_text(row.number('total_train_pflop'))} PFLOP"
    )
    bar = f"{vendor_bar_percent():g}%"
    clears = row.number("clears_vendor_bar") == 1
    if row.text("data_kind") != "cifar10":
        relation = "above" if clears else "not above"
        return f"Best value: {best}: {relation} the bar of {bar}; the claims are about other data."
    if not clears:
        return f"No run clears Detectocorp's claimed {bar}; the best value below it: {best}."
    where = "" if _official_cifar10_test(row) else " (claimed for other test images)"
    return (
        f"Best value: {best}: clears Detectocorp's claimed {bar} and reaches "
        f"{row.known('share_of_gpipe_accuracy_percent'):.1f}% of GPipe's accuracy with "
        f"{row.known('share_of_gpipe_params_percent'):.2g}% of its parameters{where}."
    )


def _official_cifar10_test(row: Row) -> bool:
    as_published = row.number("official") == 1 and row.text("image_shape") == "3; 32; 32"
    return as_published and row.number("num_test_images") == CIFAR10_TEST_IMAGES
