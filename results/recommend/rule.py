"""The rule that turns evidence into BUILD, BUY or NOT YET DECIDED.

    recommendation = recommend(gather(table, None, load_assumptions()))
    recommendation.verdict

    BUILD            our accuracy is beyond doubt the higher one, with every seed, and building is the
                     cheaper side, wrong predictions included, at the central assumptions and in at least 90%
                     of their draws
    BUY              the vendor was audited, and buying is the cheaper side in the same sense
    NOT YET DECIDED  anything else

"Beyond doubt": `Gap.better`. What is cheaper has the price of wrong predictions in it, so that a vendor may
be bought though ours is better; a vendor is never bought on a claim that nobody has measured.
"""

from __future__ import annotations

from collections.abc import Iterable

from results.economics.words import number_words
from results.recommend.evidence import Evidence
from results.recommend.gap import is_official_cifar10_test
from results.recommend.reasons import (
    MIN_PROBABILITY,
    MIN_SEEDS,
    doubts_about_building,
    lower_cost,
    open_questions,
    reasons_to_build,
    reasons_to_buy,
)
from results.recommend.recommendation import Confidence, Reason, Recommendation, Verdict

SURE_PROBABILITY = 0.975

_NUM_REASONS = 3
_NUM_FLIPS = 3


def recommend(evidence: Evidence) -> Recommendation:
    """Apply the rule; see the module's docstring."""
    verdict = _verdict(evidence)
    reasons, counter = _arguments(evidence, verdict)
    confidence, because = _confidence(evidence, verdict)
    return Recommendation(
        verdict=verdict,
        headline=_headline(evidence, verdict),
        confidence=confidence,
        confidence_because=because,
        reasons=tuple(reasons[:_NUM_REASONS]),
        counter_argument=counter,
        would_change=tuple(_would_change(evidence)),
        measure_next=tuple(_measure_next(evidence)),
        measured_on=_measured_on(evidence),
        cell_id=evidence.cell_id,
        vendor=evidence.name,
    )


def _verdict(evidence: Evidence) -> Verdict:
    probability = evidence.appraisal.monte_carlo.probability_build_cheaper
    cheaper = evidence.appraisal.cheaper
    if evidence.better == "ours" and cheaper == "build" and probability >= MIN_PROBABILITY:
        return "BUILD"
    if evidence.is_measured and cheaper == "buy" and probability <= 1 - MIN_PROBABILITY:
        return "BUY"
    return "NOT YET DECIDED"


def _arguments(evidence: Evidence, verdict: Verdict) -> tuple[list[Reason], Reason | None]:
    """The reasons, the strongest first, and the strongest argument against them.

    What is not decided has no argument against it, but may lean to the cheaper side.
    """
    build, buy = reasons_to_build(evidence), reasons_to_buy(evidence)
    if verdict == "BUILD":
        return build, next(iter((*buy, *doubts_about_building(evidence))), None)
    if verdict == "BUY":
        return buy, next(iter(build), None)
    leaning = [*lower_cost(evidence, "build"), *lower_cost(evidence, "buy")] if evidence.same_dataset else []
    return open_questions(evidence), next(iter(leaning), None)


def _headline(evidence: Evidence, verdict: Verdict) -> str:
    appraisal, theirs = evidence.appraisal, evidence.vendor_words
    ours = f"our {appraisal.build.name} is right on {evidence.score.accuracy_percent:.1f}% of the test images"
    usd = f"{number_words(abs(appraisal.difference_usd))} USD"
    horizon = f"{appraisal.assumptions['horizon_years'].value:g} years"
    condition = "" if evidence.is_measured else ", if that claim is true"
    if verdict == "BUILD":
        above = f"{evidence.gap.points:.1f} points above {theirs}"
        return f"Build: {ours}, {above}, and costs {usd} less over {horizon}{condition}."
    if verdict == "BUY":
        return f"Buy: {theirs} costs {usd} less over {horizon} than building, where {ours}."
    return f"Not yet decided: {_why_open(evidence, ours, theirs, usd)}"


def _why_open(evidence: Evidence, ours: str, theirs: str, usd: str) -> str:
    probability = evidence.appraisal.monte_carlo.probability_build_cheaper
    if not evidence.same_dataset:
        return f"{evidence.name} and our runs have not been measured on the same images."
    if probability <= 1 - MIN_PROBABILITY and not evidence.is_measured:
        return f"buying looks {usd} cheaper, but {theirs} has never been measured."
    if evidence.better is None:
        return f"{ours}, and that cannot be told from {theirs} with what was measured."
    if evidence.better == "vendor":
        return f"building is no dearer for certain, but {theirs} is better than ours."
    return f"{ours}, against {theirs}, but which side costs less hangs on assumptions."


def _confidence(evidence: Evidence, verdict: Verdict) -> tuple[Confidence, str]:
    if verdict == "NOT YET DECIDED":
        return "low", "the evidence does not carry a decision yet"
    lacking = list(_lacking(evidence))
    if not lacking:
        return "high", "the vendor was audited, the run repeated, and the ranges of the costs settle it"
    return ("moderate" if len(lacking) == 1 else "low"), ", ".join(lacking)


def _lacking(evidence: Evidence) -> Iterable[str]:
    """What would have to be there for a decision to be sure."""
    if not evidence.is_measured:
        yield "the vendor has not been audited"
    if evidence.is_stand_in and not is_official_cifar10_test(evidence.data):
        yield "the images are neither the official test images of CIFAR-10 nor your own"
    if len(evidence.candidate.seeds) < MIN_SEEDS:
        yield f"fewer than {MIN_SEEDS} seeds were run"
    probability = evidence.appraisal.monte_carlo.probability_build_cheaper
    if max(probability, 1 - probability) < SURE_PROBABILITY:
        yield "the costs are not settled"


def _would_change(evidence: Evidence) -> list[str]:
    """Figures that alone would turn the cheaper side, the ones that move most first."""
    appraisal = evidence.appraisal
    lines = []
    for row in appraisal.flips[:_NUM_FLIPS]:
        assert row.flip is not None
        side = "building" if row.flip.build_cheaper_above else "buying"
        lines.append(
            f"{row.label}: above {number_words(row.flip.value)} {row.unit} {side} is the cheaper side "
            f"(assumed: {number_words(row.value)})."
        )
    if not lines:
        lines.append("No single assumption turns the costs within its range.")
    return [*lines, *_turns_beyond(evidence)]


def _turns_beyond(evidence: Evidence) -> Iterable[str]:
    """Where the vendor's accuracy and the volume turn the costs, which have no range or lie beyond it."""
    appraisal = evidence.appraisal
    accuracy, volume = appraisal.break_even_vendor_percent, appraisal.break_even_volume
    if accuracy.value is not None and accuracy.build_cheaper_above is False:
        is_above = accuracy.value > evidence.vendor.facts.accuracy_percent
        bound, side = ("or more", "buying") if is_above else ("or less", "building")
        found = "An audit that finds" if not evidence.is_measured else "A later audit that finds"
        yield (
            f"{found} {evidence.name} right on {accuracy.value:.1f}% of these images {bound}: {side} is then "
            "the cheaper side."
        )
    if volume.value is not None and not any(row.key == "images_per_year" for row in appraisal.flips):
        side = "building" if volume.build_cheaper_above else "buying"
        yield f"Volume: above {number_words(volume.value)} images per year {side} is the cheaper side."


def _measure_next(evidence: Evidence) -> list[str]:
    """What would settle most, first."""
    run, data = evidence.candidate.run, evidence.data
    lines = []
    if not evidence.is_measured:
        lines.append(f"Audit {evidence.name} on the same test images: python -m results audit --help.")
    if evidence.is_stand_in:
        lines.append(
            "Measure both on images of your own, labelled by you: "
            "python -m launch run cifar10-quick --dataset imagefolder:PATH."
        )
    if data.dataset == "cifar10" and not is_official_cifar10_test(data):
        lines.append("Score on the 10,000 official test images, which the claims are about.")
    if len(evidence.candidate.seeds) < MIN_SEEDS:
        lines.append(f"Repeat {run.record.cell.label()} with {MIN_SEEDS} seeds or more.")
    if evidence.derived.robustness is None:
        lines.append(f"Robustness: python -m harness.robustness RUNS/{evidence.cell_id}.")
    flips = evidence.appraisal.flips
    if flips:
        names = ", ".join(row.label for row in flips[:_NUM_FLIPS])
        lines.append(f"Replace the assumptions that turn the costs with your own figures: {names}.")
    return lines


def _measured_on(evidence: Evidence) -> str:
    data, record = evidence.data, evidence.candidate.run.record
    official = "the published files" if data.official else "not the published files"
    return (
        f"{data.num_test_images:,} test images of {data.dataset} ({official}; fingerprint "
        f"{data.test_fingerprint[:8]}), after training on {record.num_fit_images:,}"
    )
