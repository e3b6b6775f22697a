"""The columns of the leaderboard: what is shown of a run, and which are left out first on a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from results.index.run_table import kind_of
from results.leaderboard.rows import (
    SMALLER_PARTS,
    UNKNOWN,
    Row,
    interval_text,
    number_text,
    ran_out_of_memory,
    spread_text,
)
from results.leaderboard.seeds import VARIES
from results.references import Reference, leaderboard_references

SHOWN_COLUMNS = (
    "accumulation_steps",
    "accuracy_per_pflop",
    "augmentation",
    "cell_id",
    "device",
    "ece_percent",
    "energy_j",
    "epochs",
    "first_step_time_s",
    "images_per_s",
    "latency_batch1_p50_ms",
    "mean_corruption_accuracy_percent",
    "model",
    "num_params",
    "num_processes",
    "peak_allocated_mib",
    "peak_resident_mib",
    "precision",
    "robustness_level",
    "seed",
    "share_of_gpipe_params_percent",
    "strategy",
    "test_accuracy_high_percent",
    "test_accuracy_low_percent",
    "test_accuracy_percent",
    "total_train_pflop",
    "train_time_s",
    "tuning",
    "used_accumulation_steps",
)
"""What the functions of this file need of a table."""


_EXPORTED_IDENTITY = (
    "dataset",
    "data_fingerprint",
    "official",
    "num_test_images",
    "league",
    "model",
    "augmentation",
)
_EXPORTED_RECIPE = ("precision", "strategy", "num_processes", "seed", "epochs")
_EXPORTED_ACCURACY = (
    "test_correct",
    "test_accuracy_percent",
    "test_accuracy_low_percent",
    "test_accuracy_high_percent",
)
_EXPORTED_COST = (
    "total_train_pflop",
    "accuracy_per_pflop",
    "clears_vendor_bar",
    "num_params",
    "forward_flops_per_image",
    "train_time_s",
    "images_per_s",
    "peak_allocated_mib",
    "peak_resident_mib",
    "latency_batch1_p50_ms",
    "energy_j",
    "device",
)
ONLY_OF_A_SEED = (
    "cell_id",
    "seed",
    "test_correct",
    "test_accuracy_low_percent",
    "test_accuracy_high_percent",
)

EXPORTED_COLUMNS = (*_EXPORTED_IDENTITY, *_EXPORTED_RECIPE, *_EXPORTED_ACCURACY, *_EXPORTED_COST, "cell_id")
"""In formats for programs, where none were asked for."""


@dataclass(frozen=True)
class LeaderboardColumn:
    """What is shown of each row, and of each reference."""

    header: str
    importance: int
    """Columns that do not fit into the width are left out, the highest number first."""

    align: Literal["left", "right"]
    of_row: Callable[[Row], str]
    of_reference: Callable[[Reference], str] = lambda _: UNKNOWN


def _number(column: str, scale: float = 1.0) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.number(column)
        return number_text(None if value is None else value * scale)

    return text


def _model_name(row: Row) -> str:
    """The model, and what of it was trained where that was not all."""
    tuning = row.text("tuning")
    name = row.text("model") if tuning == "all" else f"{row.text('model')} {tuning}"
    return f"{name}{SMALLER_PARTS}" if ran_out_of_memory(row) else name


def _precision(row: Row) -> str:
    strategy = "" if row.text("strategy") in ("single", "ddp") else f" {row.text('strategy')}"
    is_alone = row.number("num_processes") == 1
    return (
        row.text("precision")
        if is_alone
        else f"{row.text('precision')}{strategy}×{row.count('num_processes')}"
    )


def _train_time(row: Row) -> str:
    first_s, other_s = row.number("first_step_time_s"), row.number("train_time_s")
    if first_s is None or other_s is None:
        return UNKNOWN
    seconds = first_s + other_s
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _memory(row: Row) -> str:
    """Peak memory, saying which: of the tensors on a GPU, or of the whole process on a CPU."""
    allocated, resident = row.number("peak_allocated_mib"), row.number("peak_resident_mib")
    if allocated is not None:
        return f"{allocated:,.0f} allocated"
    return UNKNOWN if resident is None else f"{resident:,.0f} resident"


def _corrupted(row: Row) -> str:
    """Mean accuracy under corruption, saying how much was measured where that was not all."""
    accuracy, level = row.number("mean_corruption_accuracy_percent"), row.text("robustness_level")
    if accuracy is None or level == VARIES:
        return UNKNOWN
    return f"{accuracy:.1f}" if level == "full" else f"{accuracy:.1f} {level}"


def _calibration_error(row: Row) -> str:
    error = row.number("ece_percent")
    return UNKNOWN if error is None else f"{error:.2f}"


_MODEL = LeaderboardColumn("\nmodel", 1, "left", _model_name, lambda entry: entry.name)
_ACCURACY = LeaderboardColumn(
    "accuracy %\n95% interval",
    3,
    "left",
    lambda row: f"{row.known('test_accuracy_percent'):5.2f} {interval_text(row)}",
    lambda entry: f"{entry.accuracy_percent:5.2f}",
)
_SPREAD = LeaderboardColumn(
    "accuracy %\nmean ± SD [range]",
    3,
    "left",
    lambda row: f"{row.known('test_accuracy_percent'):5.2f} {spread_text(row)}",
    lambda entry: f"{entry.accuracy_percent:5.2f}",
)
_MARKS = LeaderboardColumn("\nmarks", 6, "left", lambda row: row.text("marks"), lambda _: "")
_SEED = LeaderboardColumn("\nseed", 8, "right", lambda row: row.count("seed"))
_SEEDS = LeaderboardColumn("\nseeds", 7, "right", lambda row: row.count("num_seeds"))
_CELL = LeaderboardColumn("\ncell", 14, "left", lambda row: row.text("cell_id"))

LEADERBOARD_COLUMNS: tuple[LeaderboardColumn, ...] = (
    _MODEL,
    LeaderboardColumn("\naugment", 2, "left", lambda row: row.text("augmentation")),
    LeaderboardColumn("\nprec.", 7, "left", _precision),
    _SEED,
    LeaderboardColumn("\nepochs", 13, "right", lambda row: row.count("epochs")),
    _ACCURACY,
    _MARKS,
    LeaderboardColumn("\nPFLOP", 5, "right", _number("total_train_pflop")),
    LeaderboardColumn("acc. /\nPFLOP", 4, "right", _number("accuracy_per_pflop")),
    LeaderboardColumn(
        "\nparams", 8, "right", _number("num_params"), lambda entry: number_text(entry.num_params)
    ),
    LeaderboardColumn("% of GPipe\nparams", 11, "right", _number("share_of_gpipe_params_percent")),
    LeaderboardColumn("train\ntime", 9, "right", _train_time),
    LeaderboardColumn("images\n/ s", 10, "right", _number("images_per_s")),
    LeaderboardColumn("peak memory\nMiB", 12, "right", _memory),
    LeaderboardColumn("corrupted\naccuracy %", 15, "right", _corrupted),
    LeaderboardColumn("calibration\nerror %", 16, "right", _calibration_error),
    LeaderboardColumn("latency\nms", 17, "right", _number("latency_batch1_p50_ms")),
    LeaderboardColumn("energy\nkJ", 18, "right", _number("energy_j", 1e-3)),
    _CELL,
)

_OF_SEEDS = {_ACCURACY: _SPREAD, _SEED: _SEEDS}


def columns_of(names: Sequence[str], pooled: bool) -> tuple[LeaderboardColumn, ...]:
    """The columns of a leaderboard.

    Args:
        names: columns of `results.csv`; none: the usual ones.
        pooled: whether the seeds of a cell are one row.
    """
    if not names:
        columns = (_OF_SEEDS.get(column, column) for column in LEADERBOARD_COLUMNS if column is not _CELL)
        return tuple(columns) if pooled else LEADERBOARD_COLUMNS
    return (*(_named(name, importance) for importance, name in enumerate(names, start=1)), _MARKS)


def shown_references(columns: Sequence[LeaderboardColumn]) -> list[Reference]:
    """The references that stand at the foot; none where the columns say nothing of them."""
    return [
        entry
        for entry in leaderboard_references()
        if any(column.of_reference(entry) not in ("", UNKNOWN) for column in columns)
    ]


def _named(name: str, importance: int) -> LeaderboardColumn:
    kind = kind_of(name)

    def of_row(row: Row) -> str:
        if kind == "text":
            return row.text(name) or UNKNOWN
        value = row.number(name)
        if value is None:
            return UNKNOWN
        if kind == "flag":
            return "yes" if value else "no"
        return f"{value:,.0f}" if kind == "integer" and value == int(value) else f"{value:.6g}"

    of_reference = _OF_REFERENCE.get(name, lambda _: UNKNOWN)
    return LeaderboardColumn(
        _header(name), importance, "left" if kind == "text" else "right", of_row, of_reference
    )


def _header(name: str) -> str:
    """The name in two lines of about one length."""
    breaks = [place for place, char in enumerate(name, start=1) if char == "_"]
    if len(name) < 12 or not breaks:
        return f"\n{name}"
    middle = min(breaks, key=lambda place: abs(len(name) - 2 * place))
    return f"{name[:middle]}\n{name[middle:]}"


_OF_REFERENCE: dict[str, Callable[[Reference], str]] = {
    "model": lambda entry: entry.name,
    "dataset": lambda entry: entry.dataset,
    "test_accuracy_percent": lambda entry: f"{entry.accuracy_percent:.6g}",
    "num_params": lambda entry: UNKNOWN if entry.num_params is None else f"{entry.num_params:,}",
}
