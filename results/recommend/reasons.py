"""The arguments, each with how far its figure is from saying nothing.

reasons_to_build(evidence), reasons_to_buy(evidence)      # the strongest first
doubts_about_building(evidence)                           # what else speaks against it, the gravest first

Strength is counted in standard errors where the figure has one; arguments without come after those with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Literal

from results.economics.words import number_words
from results.recommend.evidence import Evidence
from results.recommend.recommendation import Reason

ASSUMPTIONS = "assumptions"
MIN_SEEDS = 3
"""Of a cell, for its spread to say anything."""

MIN_PROBABILITY = 0.9
"""Share of the draws in which one side is the cheaper one, for the costs to speak for it."""

_MIN_COVERAGE_PERCENT = 10.0
_MIN_STANDARD_ERRORS = 2.0
_NORMAL = NormalDist()


def reasons_to_build(evidence: Evidence) -> list[Reason]:
    """What speaks for building."""
    found = [
        *_accuracy(evidence, "ours"),
        *lower_cost(evidence, "build"),
        *_holds_under_corruption(evidence),
        *_sure_answers(evidence),
    ]
    return _strongest_first(found)


def reasons_to_buy(evidence: Evidence) -> list[Reason]:
    """What speaks for buying."""
    return _strongest_first([*_accuracy(evidence, "vendor"), *lower_cost(evidence, "buy")])


def doubts_about_building(evidence: Evidence) -> list[Reason]:
    """What limits the evidence for building."""
    return [
        *_seeds_disagree(evidence),
        *_claim_may_be_low(evidence),
        *_stand_in(evidence),
        *_few_seeds(evidence),
        *_falls_under_corruption(evidence),
    ]


def open_questions(evidence: Evidence) -> list[Reason]:
    """What keeps the question open."""
    both = (evidence.cell_id, evidence.vendor.source)
    if not evidence.same_dataset:
        text = (
            f"{evidence.name}'s accuracy is about {evidence.vendor.dataset}, ours about "
            f"{evidence.data.dataset}: the two cannot be compared."
        )
        return [Reason(text, both, None)]
    found = [*_seeds_disagree(evidence)]
    gap = evidence.gap
    if evidence.better is None and not found:
        asked = f", and more than {gap.margin_points:g} are asked for" if gap.margin_points else ""
        text = (
            f"These {evidence.data.num_test_images:,} images cannot tell the two apart: {gap.points:+.1f} "
            f"points [{gap.low_points:+.1f}, {gap.high_points:+.1f}]{asked}."
        )
        found.append(Reason(text, both, None))
    probability = evidence.appraisal.monte_carlo.probability_build_cheaper
    if evidence.better == "vendor" and probability >= MIN_PROBABILITY:
        text = (
            f"{evidence.vendor_words} is beyond doubt the higher accuracy, but building is the cheaper side."
        )
        found.append(Reason(text, both, None))
    if not evidence.is_measured:
        text = f"{evidence.vendor_words} has never been measured by anyone but the vendor."
        found.append(Reason(text, (evidence.vendor.source,), None))
    if 1 - MIN_PROBABILITY < probability < MIN_PROBABILITY:
        text = (
            f"The costs hang on the assumptions: building is the cheaper side in {share_words(probability)} "
            f"of {evidence.appraisal.monte_carlo.num_draws:,} draws."
        )
        found.append(Reason(text, (ASSUMPTIONS,), None))
    return found


def _accuracy(evidence: Evidence, better: str) -> Iterable[Reason]:
    gap, score = evidence.gap, evidence.score
    if evidence.better != better:
        return
    seeds = f"; {evidence.seed_words}" if len(evidence.candidate.seeds) > 1 else ""
    side = "above" if better == "ours" else "below"
    yield Reason(
        f"We are right on {score.accuracy_percent:.1f}% of the test images "
        f"[{score.accuracy_low_percent:.1f}, {score.accuracy_high_percent:.1f}]{seeds}: "
        f"{abs(gap.points):.1f} points {side} {evidence.vendor_words}.",
        (evidence.cell_id, evidence.vendor.source),
        gap.standard_errors,
    )


def lower_cost(evidence: Evidence, cheaper: Literal["build", "buy"]) -> Iterable[Reason]:
    """That a side is the cheaper one; nothing where the central figures and most draws do not agree on it."""
    appraisal = evidence.appraisal
    simulated = appraisal.monte_carlo
    probability = simulated.probability_build_cheaper
    if cheaper == "buy":
        probability = 1 - probability
    if probability <= 0.5 or appraisal.cheaper != cheaper:
        return
    side = "Building" if cheaper == "build" else "Buying"
    horizon = appraisal.assumptions["horizon_years"].value
    condition = "" if evidence.is_measured else f", if {evidence.name}'s claim is true"
    yield Reason(
        f"{side} saves {number_words(abs(appraisal.difference_usd))} USD over {horizon:g} years, wrong "
        f"predictions included, and is the cheaper side in {share_words(probability)} of "
        f"{simulated.num_draws:,} draws of the assumptions{condition}.",
        (ASSUMPTIONS, evidence.cell_id),
        _NORMAL.inv_cdf(min(probability, 1 - 0.5 / simulated.num_draws)),
    )


def _sure_answers(evidence: Evidence) -> Iterable[Reason]:
    scores = evidence.derived.scores
    coverage, accuracy = scores.coverage_at_99_percent, scores.accuracy_at_that_coverage_percent
    if coverage is not None and accuracy is not None and coverage >= _MIN_COVERAGE_PERCENT:
        yield Reason(
            f"Asked only where it is sure, by a threshold picked on validation images, it answers "
            f"{coverage:.1f}% of the test images and is right on {accuracy:.2f}% of those.",
            (evidence.cell_id,),
            None,
        )


def _holds_under_corruption(evidence: Evidence) -> Iterable[Reason]:
    """Our accuracy on corrupted images, where it is above the vendor's on clean ones."""
    robustness = evidence.derived.robustness
    if robustness is None or not evidence.same_dataset:
        return
    percent = robustness.mean_corruption_accuracy_percent
    error = 100 * math.sqrt(percent / 100 * (1 - percent / 100) / robustness.robustness_images)
    above = percent - evidence.vendor.facts.accuracy_percent - evidence.gap.margin_points
    if error and above / error > _MIN_STANDARD_ERRORS:
        yield Reason(
            f"Even on corrupted images (mean over the 15 main corruptions, {robustness.robustness_level}) we "
            f"are right on {percent:.1f}%, above {evidence.vendor_words} on clean ones.",
            (evidence.cell_id, evidence.vendor.source),
            above / error,
        )


def _falls_under_corruption(evidence: Evidence) -> Iterable[Reason]:
    robustness = evidence.derived.robustness
    if robustness is not None:
        clean = robustness.robustness_clean_accuracy_percent
        yield Reason(
            f"On corrupted images our accuracy falls from {clean:.1f} to "
            f"{robustness.mean_corruption_accuracy_percent:.1f}% (worst: {robustness.worst_corruption}, "
            f"{robustness.worst_corruption_accuracy_percent:.1f}%); how far {evidence.name}'s falls is not "
            "known.",
            (evidence.cell_id,),
            None,
        )


def _seeds_disagree(evidence: Evidence) -> Iterable[Reason]:
    if len({gap.better for gap in evidence.seed_gaps}) > 1:
        yield Reason(
            f"The seeds of the run do not agree on who is better: {evidence.seed_words}.",
            tuple(run.record.cell_id for run in evidence.candidate.seeds),
            None,
        )


def _claim_may_be_low(evidence: Evidence) -> Iterable[Reason]:
    turns = evidence.appraisal.break_even_vendor_percent
    if not evidence.is_measured and turns.value is not None and turns.build_cheaper_above is False:
        yield Reason(
            f"{evidence.vendor_words} is unverified: from {turns.value:.1f}% on, buying would be the cheaper "
            "side.",
            (evidence.vendor.source, ASSUMPTIONS),
            None,
        )


def _stand_in(evidence: Evidence) -> Iterable[Reason]:
    if evidence.is_stand_in:
        height, width = evidence.data.image_shape[-2:]
        yield Reason(
            f"Everything was measured on {evidence.data.dataset} ({height}x{width} pixels, "
            f"{len(evidence.data.class_names)} classes), which stands in for your own images: on those both "
            "may do worse, and not by as much.",
            (evidence.cell_id,),
            None,
        )


def _few_seeds(evidence: Evidence) -> Iterable[Reason]:
    num_seeds = len(evidence.candidate.seeds)
    if num_seeds < MIN_SEEDS:
        yield Reason(
            f"{num_seeds} seed(s) of the run only: how far another would be from it is not known.",
            (evidence.cell_id,),
            None,
        )


def _strongest_first(reasons: list[Reason]) -> list[Reason]:
    return sorted(reasons, key=lambda reason: 1.0 if reason.strength is None else -reason.strength)


def share_words(probability: float) -> str:
    """In percent, never rounded to what would be certain."""
    if 0.9995 <= probability < 1:
        return "more than 99.9%"
    return "less than 0.1%" if 0 < probability < 0.0005 else f"{100 * probability:.3g}%"
