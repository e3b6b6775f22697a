"""Everything that the predictions of one model say about it.

    figures = figures_of(read_prediction_set(Path("runs/be8502089858")))
    figures.calibration.ece_percent

A figure that cannot be had is None, with the reason in `reasons` under its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from results.calibration import (
    Calibration,
    Distributions,
    TemperatureFit,
    calibration,
    fit_temperature,
    from_logits,
)
from results.human import HumanFigures, human_figures
from results.metrics import (
    Array,
    ClassFigures,
    Share,
    class_figures,
    confusion_matrix,
    macro_average,
    share_of,
    top_k_count,
)
from results.predictions import Known, PredictionSet
from results.selective import (
    SelectivePoint,
    area_under,
    oracle_point,
    point_at,
    points_near,
    risk_coverage,
    threshold_for,
)

TOP_K = 5
SHOWN_COVERAGES = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
ONLY_CLASSES = "only the predicted classes are known, no probabilities"
NO_VALIDATION = "there are no predictions of validation images"
"""Neither a temperature nor a threshold may be picked on the test images."""


@dataclass(frozen=True)
class Figures:
    """All figures of one model on its test images."""

    name: str
    known: Known
    class_names: tuple[str, ...]
    accuracy: Share
    top5: Share | None
    """None where there are no more than five classes."""

    confusion: Array
    """int64 [C, C], the true class in rows."""

    classes: tuple[ClassFigures, ...]
    macro_precision: float | None
    """The three means leave out the classes for which the figure is undefined."""

    macro_recall: float | None
    macro_f1: float | None
    calibration: Calibration | None
    temperature: TemperatureFit | None
    """Fitted on the validation images."""

    calibration_after: Calibration | None
    """With that temperature."""

    aurc: float | None
    coverage_at_99: SelectivePoint | None
    """The test images at the threshold that was picked on the validation images."""

    coverage_at_99_oracle: SelectivePoint | None
    """The largest coverage that reaches 99% on the test images themselves: not to be had in advance."""

    risk_coverage: tuple[SelectivePoint, ...]
    human: HumanFigures | None
    reasons: dict[str, str]


def figures_of(found: PredictionSet, human_counts: Array | None = None) -> Figures:
    """Every figure of one model.

    Args:
        found: its predictions.
        human_counts: [N, C], judgements of the same images; None without any.

    Raises:
        ValueError: predictions that no figure should come from.
    """
    num_classes, correct = len(found.class_names), found.classes == found.labels
    confusion = confusion_matrix(found.classes, found.labels, num_classes)
    classes = class_figures(confusion)
    reasons: dict[str, str] = {}
    top5 = None
    if found.scores is None:
        reasons["top5"] = ONLY_CLASSES
    elif num_classes <= TOP_K:
        reasons["top5"] = f"there are only {num_classes} classes"
    else:
        top5 = share_of(top_k_count(found.scores, found.labels, TOP_K), len(correct))
    given = found.distributions()
    soft = _SoftFigures() if given is None else _soft_figures(found, given, correct, reasons)
    if given is None:
        reasons |= dict.fromkeys(("calibration", "aurc", "coverage_at_99"), ONLY_CLASSES)
    return Figures(
        name=found.name,
        known=found.known,
        class_names=found.class_names,
        accuracy=share_of(int(correct.sum()), len(correct)),
        top5=top5,
        confusion=confusion,
        classes=classes,
        macro_precision=macro_average(each.precision for each in classes),
        macro_recall=macro_average(each.recall for each in classes),
        macro_f1=macro_average(each.f1 for each in classes),
        calibration=soft.calibration,
        temperature=soft.temperature,
        calibration_after=soft.calibration_after,
        aurc=soft.aurc,
        coverage_at_99=soft.coverage_at_99,
        coverage_at_99_oracle=soft.coverage_at_99_oracle,
        risk_coverage=soft.risk_coverage,
        human=None
        if human_counts is None
        else human_figures(found.classes, found.labels, human_counts, given),
        reasons=reasons,
    )


@dataclass(frozen=True)
class _SoftFigures:
    """The figures that need probabilities."""

    calibration: Calibration | None = None
    temperature: TemperatureFit | None = None
    calibration_after: Calibration | None = None
    aurc: float | None = None
    coverage_at_99: SelectivePoint | None = None
    coverage_at_99_oracle: SelectivePoint | None = None
    risk_coverage: tuple[SelectivePoint, ...] = ()


def _soft_figures(
    found: PredictionSet, given: Distributions, correct: Array, reasons: dict[str, str]
) -> _SoftFigures:
    """The figures that need probabilities; why any is missing is added to `reasons`."""
    before = calibration(given, correct, found.labels)
    if before.nll is None:
        reasons["nll"] = "the true class of an image got probability 0"
    fit = _fit(found, reasons)
    after = None
    if fit is not None:
        assert found.scores is not None
        after = calibration(from_logits(found.scores / fit.temperature), correct, found.labels)
    confidences = given.probs.max(axis=1)
    curve = risk_coverage(confidences, correct)
    oracle = oracle_point(curve)
    if oracle is None:
        reasons["coverage_at_99_oracle"] = "no threshold reaches 99% on the test images"
    threshold = _threshold(found, reasons)
    point = None if threshold is None else point_at(threshold, confidences, correct)
    if point is not None and point.accuracy is None:
        reasons["accuracy_at_99_coverage"] = "no test image reaches the threshold"
    return _SoftFigures(
        before, fit, after, area_under(curve), point, oracle, points_near(curve, SHOWN_COVERAGES)
    )


def _fit(found: PredictionSet, reasons: dict[str, str]) -> TemperatureFit | None:
    if found.val_logits is None or found.val_labels is None:
        reasons["temperature"] = NO_VALIDATION
        return None
    fit = fit_temperature(found.val_logits, found.val_labels)
    if fit is None:
        reasons["temperature"] = "the logits of every validation image are all equal"
    elif fit.at_bound:
        reasons["temperature"] = f"at the bound of the fit, {fit.temperature:g}: the best lies beyond it"
    return fit


def _threshold(found: PredictionSet, reasons: dict[str, str]) -> float | None:
    """The confidence above which the validation images reach 99%."""
    if found.val_logits is None or found.val_labels is None:
        reasons["coverage_at_99"] = NO_VALIDATION
        return None
    val_correct = found.val_logits.argmax(axis=1) == found.val_labels
    val_confidences = from_logits(found.val_logits).probs.max(axis=1)
    threshold = threshold_for(risk_coverage(val_confidences, val_correct))
    if threshold is None:
        reasons["coverage_at_99"] = "no threshold reaches 99% on the validation images"
    return threshold
