"""The columns of the leaderboard: what is shown of a run, and which are left out first on a narrow screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.measurements import Measurements
from harness.record import ModelFacts
from results.derived import kept_scores
from results.references import Reference
from results.score import Score
from results.store import Run

UNKNOWN = "—"
SMALLER_PARTS = "†"


@dataclass(frozen=True)
class LeaderboardColumn:
    """What is shown of each run, and of each reference."""

    header: str
    importance: int
    """Columns that do not fit into the width are left out, the highest number first."""

    align: Literal["left", "right"]
    of_run: Callable[[Run, Score], str]
    of_reference: Callable[[Reference], str] = lambda _: UNKNOWN


LEADERBOARD_COLUMNS: tuple[LeaderboardColumn, ...] = (
    LeaderboardColumn("\nmodel", 1, "left", lambda run, _: _model_name(run), lambda entry: entry.name),
    LeaderboardColumn("\naugment", 2, "left", lambda run, _: run.record.cell.augmentation),
    LeaderboardColumn("\nprec.", 6, "left", lambda run, _: _precision(run)),
    LeaderboardColumn("\nseed", 7, "right", lambda run, _: str(run.record.cell.seed)),
    LeaderboardColumn("\nepochs", 13, "right", lambda run, _: str(run.record.cell.recipe.epochs)),
    LeaderboardColumn(
        "accuracy %\n95% interval",
        3,
        "left",
        lambda _, score: f"{score.accuracy_percent:5.2f} {interval_text(score)}",
        lambda entry: f"{entry.accuracy_percent:5.2f}",
    ),
    LeaderboardColumn("\nPFLOP", 5, "right", lambda _, score: number_text(score.total_train_pflop)),
    LeaderboardColumn("acc. /\nPFLOP", 4, "right", lambda _, score: number_text(score.accuracy_per_pflop)),
    LeaderboardColumn(
        "\nparams",
        8,
        "right",
        lambda run, _: number_text(_model(run).num_params),
        lambda entry: number_text(entry.num_params),
    ),
    LeaderboardColumn(
        "% of GPipe\nparams", 11, "right", lambda _, score: number_text(score.share_of_gpipe_params_percent)
    ),
    LeaderboardColumn("train\ntime", 9, "right", lambda run, _: _train_time(run)),
    LeaderboardColumn(
        "images\n/ s",
        10,
        "right",
        lambda run, _: number_text(_measured(run).images_per_s),
    ),
    LeaderboardColumn("peak memory\nMiB", 12, "right", lambda run, _: _memory(run)),
    LeaderboardColumn("corrupted\naccuracy %", 15, "right", lambda run, _: _corrupted(run)),
    LeaderboardColumn("calibration\nerror %", 16, "right", lambda run, _: _calibration_error(run)),
    LeaderboardColumn(
        "latency\nms", 17, "right", lambda run, _: number_text(_measured(run).latency_batch1_p50_ms)
    ),
    LeaderboardColumn("energy\nkJ", 18, "right", lambda run, _: _energy(run)),
    LeaderboardColumn("\ncell", 14, "left", lambda run, _: run.record.cell_id),
)


def _model(run: Run) -> ModelFacts:
    assert run.record.model is not None
    return run.record.model


def _measured(run: Run) -> Measurements:
    assert run.record.measurements is not None
    return run.record.measurements


def interval_text(score: Score) -> str:
    """The ends of the accuracy's interval."""
    return f"[{score.accuracy_low_percent:.1f}, {score.accuracy_high_percent:.1f}]"


def _model_name(run: Run) -> str:
    """The model, and what of it was trained where that was not all."""
    cell = run.record.cell
    name = cell.model if cell.recipe.tuning == "all" else f"{cell.model} {cell.recipe.tuning}"
    return f"{name}{SMALLER_PARTS}" if ran_out_of_memory(run) else name


def ran_out_of_memory(run: Run) -> bool:
    """Whether its batches were taken in more parts than the cell says."""
    found = run.record.in_effect
    return found is not None and found.accumulation_steps > run.record.cell.accumulation_steps


def _precision(run: Run) -> str:
    cell = run.record.cell
    strategy = "" if cell.strategy in ("single", "ddp") else f" {cell.strategy}"
    processes = f"{strategy}×{cell.num_processes}" if cell.num_processes > 1 else ""
    return f"{cell.precision}{processes}"


def _train_time(run: Run) -> str:
    seconds = _measured(run).training_time_s
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _memory(run: Run) -> str:
    """Peak memory, saying which: of the tensors on a GPU, or of the whole process on a CPU."""
    measured = _measured(run)
    if measured.peak_allocated_mib is not None:
        return f"{measured.peak_allocated_mib:,.0f} allocated"
    return UNKNOWN if measured.peak_resident_mib is None else f"{measured.peak_resident_mib:,.0f} resident"


def number_text(value: float | None) -> str:
    """Three significant digits, in thousands (k), millions (M) and so on."""
    if value is None:
        return UNKNOWN
    for suffix in ("", "k", "M", "G"):
        text = f"{value:#.3g}"
        if "e+" not in text:
            return text.rstrip(".") + suffix
        value /= 1000
    return f"{value:.3g}T"


def _corrupted(run: Run) -> str:
    """Mean accuracy under corruption, saying how much was measured where that was not all."""
    scores = kept_scores(run).robustness
    if scores is None:
        return UNKNOWN
    level = "" if scores.robustness_level == "full" else f" {scores.robustness_level}"
    return f"{scores.mean_corruption_accuracy_percent:.1f}{level}"


def _calibration_error(run: Run) -> str:
    error = kept_scores(run).scores.ece_percent
    return UNKNOWN if error is None else f"{error:.2f}"


def _energy(run: Run) -> str:
    energy_j = _measured(run).energy_j
    return UNKNOWN if energy_j is None else number_text(energy_j / 1000)
