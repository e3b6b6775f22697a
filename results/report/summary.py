"""The first screen: the verdict, four figures that carry it, and where each sentence comes from."""

from __future__ import annotations

from dataclasses import dataclass

from results.economics.words import number_words
from results.recommend.evidence import Evidence
from results.recommend.reasons import share_words
from results.recommend.recommendation import Reason, Recommendation
from results.references import load_references
from results.report.text import duration, fixed, signed, significant
from results.report.values import cell_anchor
from results.store import one_line

TONES = {"BUILD": "good", "BUY": "bad", "NOT YET DECIDED": "open"}


@dataclass(frozen=True)
class Source:
    """Where a sentence comes from."""

    text: str
    href: str
    """Empty where the report has no place for it."""


@dataclass(frozen=True)
class Argument:
    """A reason, with its sources."""

    text: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Tile:
    """One figure, large."""

    figure: str
    label: str
    detail: str
    cell_id: str | None


@dataclass(frozen=True)
class Summary:
    """What management reads."""

    verdict: str
    tone: str
    headline: str
    confidence: str
    confidence_because: str
    reasons_title: str
    reasons: tuple[Argument, ...]
    counter_title: str
    no_counter: str
    counter_argument: Argument | None
    would_change: tuple[str, ...]
    measure_next: tuple[str, ...]
    measured_on: str
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]


def summary_of(evidence: Evidence, found: Recommendation) -> Summary:
    """The first screen of a recommendation and what it rests on."""
    counter = found.counter_argument
    return Summary(
        verdict=found.verdict,
        tone=TONES[found.verdict],
        headline=_without_verdict(one_line(found.headline), found.verdict),
        confidence=found.confidence,
        confidence_because=one_line(found.confidence_because),
        reasons_title=found.reasons_title,
        counter_title=found.counter_title,
        no_counter=found.no_counter,
        reasons=tuple(_argument(reason) for reason in found.reasons),
        counter_argument=None if counter is None else _argument(counter),
        would_change=tuple(one_line(line) for line in found.would_change),
        measure_next=tuple(one_line(line) for line in found.measure_next),
        measured_on=one_line(found.measured_on),
        tiles=_tiles(evidence),
        notes=evidence.candidate.notes,
    )


def source_of(text: str) -> Source:
    """The place in the report that a source of a reason leads to."""
    references = load_references()
    if text in references:
        return Source(f"{references[text].name}, a claim", f"#reference-{text}")
    if text == "assumptions":
        return Source("assumptions", "#assumptions")
    if text.startswith("audit of"):
        return Source(one_line(text, 80), "#vendor")
    return Source(one_line(text, 80), f"#{cell_anchor(text)}")


def _without_verdict(headline: str, verdict: str) -> str:
    """The sentence alone, for the verdict stands above it in large letters."""
    start = f"{verdict}: "
    if not headline.lower().startswith(start.lower()):
        return headline
    rest = headline[len(start) :]
    return rest[:1].upper() + rest[1:]


def _argument(reason: Reason) -> Argument:
    return Argument(one_line(reason.text), tuple(source_of(source) for source in reason.sources))


def _tiles(evidence: Evidence) -> tuple[Tile, ...]:
    score, gap, appraisal = evidence.score, evidence.gap, evidence.appraisal
    record = evidence.candidate.run.record
    assert record.measurements is not None
    assert record.environment is not None
    relation = "measured" if evidence.is_measured else "claimed"
    side = "building" if appraisal.cheaper == "build" else "buying"
    simulated = appraisal.monte_carlo
    horizon = appraisal.assumptions["horizon_years"].value
    vendor, percent = one_line(evidence.name, 40), evidence.vendor.facts.accuracy_percent
    return (
        Tile(
            f"{score.accuracy_percent:.2f}%",
            f"accuracy of {one_line(appraisal.build.name, 40)}",
            f"95% interval {fixed(score.accuracy_low_percent)} to {fixed(score.accuracy_high_percent)}",
            evidence.cell_id,
        ),
        Tile(
            f"{signed(gap.points)} points",
            f"against {vendor}'s {percent:.4g}%, {relation}",
            f"95% interval {signed(gap.low_points)} to {signed(gap.high_points)}",
            evidence.cell_id,
        ),
        Tile(
            f"{significant(score.total_train_pflop)} PFLOP",
            "training compute",
            f"{duration(record.measurements.training_time_s)} on {one_line(record.environment.device, 40)}",
            evidence.cell_id,
        ),
        Tile(
            f"{number_words(abs(appraisal.difference_usd))} USD",
            f"{side} costs less over {horizon:g} years",
            f"building is cheaper in {share_words(simulated.probability_build_cheaper)} of the draws",
            None,
        ),
    )
