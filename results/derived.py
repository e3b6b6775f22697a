"""The few figures of a run, beyond its accuracy, that a table shows.

    derived_scores(run.predictions).ece_percent
    derive(run, run.predictions).robustness     # None where it was not measured, with the reason in `reasons`

They are kept in the index of a folder (`results/index/load.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import DataError
from results.figures import figures_of
from results.predictions import from_run
from results.robustness import RobustnessScores, read_robustness
from results.store import Predictions, Run

_COLUMNS_OF_REASONS = {
    "top5": ("top5_accuracy_percent",),
    "nll": ("nll",),
    "temperature": ("temperature", "nll_after_temperature", "ece_after_temperature_percent"),
    "coverage_at_99": ("coverage_at_99_percent", "accuracy_at_that_coverage_percent"),
    "accuracy_at_99_coverage": ("accuracy_at_that_coverage_percent",),
}
"""The columns that are empty where a figure is missing."""


@dataclass(frozen=True)
class DerivedScores:
    """The figures of a run that a table shows; see `Figures` for what they mean."""

    nll: float | None
    brier: float | None
    ece_percent: float | None
    ece_equal_mass_percent: float | None
    temperature: float | None
    nll_after_temperature: float | None
    ece_after_temperature_percent: float | None
    top5_accuracy_percent: float | None
    worst_class: str | None
    """The class of lowest recall; of several the first."""

    worst_class_recall_percent: float | None
    aurc: float | None
    coverage_at_99_percent: float | None
    """Share of the test images above the threshold that reaches 99% on the validation images."""

    accuracy_at_that_coverage_percent: float | None
    reasons: dict[str, str]
    """Why a figure is None, or what must be known about it, by its name."""


def derived_scores(predictions: Predictions) -> DerivedScores:
    """The figures of a run for a table.

    Args:
        predictions: of a finished run, as `results.store` checked them.
    """
    figures = figures_of(from_run("", None, predictions))
    before, after, point = figures.calibration, figures.calibration_after, figures.coverage_at_99
    assert before is not None
    recalls = [(each.recall, index) for index, each in enumerate(figures.classes) if each.recall is not None]
    worst_recall, worst = min(recalls)
    return DerivedScores(
        nll=before.nll,
        brier=before.brier,
        ece_percent=before.ece_percent,
        ece_equal_mass_percent=before.ece_equal_mass_percent,
        temperature=None if figures.temperature is None else figures.temperature.temperature,
        nll_after_temperature=None if after is None else after.nll,
        ece_after_temperature_percent=None if after is None else after.ece_percent,
        top5_accuracy_percent=None if figures.top5 is None else figures.top5.percent,
        worst_class=figures.class_names[worst],
        worst_class_recall_percent=100 * worst_recall,
        aurc=figures.aurc,
        coverage_at_99_percent=None if point is None else point.coverage.percent,
        accuracy_at_that_coverage_percent=None
        if point is None or point.accuracy is None
        else point.accuracy.percent,
        reasons={
            column: reason
            for name, reason in figures.reasons.items()
            for column in _COLUMNS_OF_REASONS.get(name, ())
        },
    )


@dataclass(frozen=True)
class Derived:
    """What the predictions of a run, and its answers to changed images, say."""

    scores: DerivedScores
    robustness: RobustnessScores | None
    reasons: dict[str, str]
    """Why a figure of robustness is None, by its name."""


def derive(run: Run, predictions: Predictions) -> Derived:
    """The figures of a finished run, from its predictions and from `robustness.npz` beside them.

    Raises:
        DataError: `robustness.npz` cannot be read now, which may pass.
    """
    robustness, reasons = _robustness(run)
    return Derived(derived_scores(predictions), robustness, reasons)


def may_pass(error: DataError) -> bool:
    """Whether the same file may be readable another time."""
    cause = error.__context__
    return isinstance(cause, OSError | MemoryError) and not isinstance(cause, FileNotFoundError)


def _robustness(run: Run) -> tuple[RobustnessScores | None, dict[str, str]]:
    """The figures of robustness; a damaged file takes no row out of a table, an unreadable one does."""
    try:
        found = read_robustness(run.run_dir, run.record)
    except DataError as error:
        if may_pass(error):
            raise
        return None, {"robustness": str(error).replace(f"{run.run_dir}/", "")}
    if found is None:
        return None, {"robustness": "not measured: python -m harness.robustness RUN does it"}
    scores = found.scores
    reasons = {
        "fgsm_accuracy_percent": scores.attacks_unavailable,
        "pgd_accuracy_percent": scores.attacks_unavailable,
        "relative_robustness_percent": "no image is classified correctly",
        "confidence_when_wrong_percent": "no image is classified wrongly",
        "cifar10_c_accuracy_percent": "its files were not there",
        "cifar10_1_accuracy_percent": "its files were not there",
    }
    return scores, {
        name: reason for name, reason in reasons.items() if reason and getattr(scores, name) is None
    }
