"""Figures as people read them. No numpy here."""

from __future__ import annotations

from results.economics.assumptions import Assumption
from results.economics.break_even import BreakEven
from results.economics.decide import Appraisal
from results.economics.facts import BuildFacts, BuyFacts
from results.store import one_line

_UNITS = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1e3, " thousand"))
_NAME_LENGTH = 60


def usd_words(usd: float) -> str:
    """An amount in a sentence: three digits and a word."""
    return f"{number_words(abs(usd))} USD"


def number_words(number: float) -> str:
    """A number with three significant digits and a word for its thousands."""
    for size, word in _UNITS:
        if abs(number) >= size * 0.9995:
            return f"{_three_digits(number / size)}{word}"
    return _three_digits(number)


def short(number: float) -> str:
    """The same in few characters: 1.23M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{_three_digits(number / size)}{letter}"
    return _three_digits(number)


def amount(number: float) -> str:
    """An amount in a table: whole dollars, with separators."""
    return f"{round(number):,}"


def figure_words(value: float) -> str:
    """A figure that is looked up again: six significant digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:,.6g}"


def saving_words(difference_usd: float) -> str:
    """What one side saves against the other."""
    side = "building" if difference_usd > 0 else "buying"
    return f"{usd_words(difference_usd)} saved by {side}"


def answer_words(appraisal: Appraisal) -> str:
    """The answer in two sentences: which side costs less, by how much, and how sure that is."""
    horizon = figure_words(appraisal.assumptions["horizon_years"].value)
    side = "Building" if appraisal.cheaper == "build" else "Buying"
    if appraisal.is_settled:
        words = "confirm that"
    elif appraisal.is_contradicted:
        words = "point the other way"
    else:
        words = "do not settle it"
    return (
        f"{side} costs {usd_words(appraisal.difference_usd)} less over {horizon} years, at the central "
        f"figures{_believed(appraisal)}. The ranges of the figures {words}: {side.lower()} is cheaper in "
        f"{_share_of_draws(appraisal)} of the draws."
    )


def _believed(appraisal: Appraisal) -> str:
    """On which condition, where the vendor only claims its accuracy."""
    if appraisal.buy.is_measured:
        return ""
    claimed, ours = appraisal.buy.dataset, appraisal.build.dataset
    if claimed is None or claimed == ours:
        return ", if the vendor's claim is true"
    about, here = (one_line(name, _NAME_LENGTH) for name in (claimed, ours))
    return f", if the vendor's claim is true and, though it is about {about}, holds on {here} too"


def _share_of_draws(appraisal: Appraisal) -> str:
    """How often the side that is cheaper at the central figures is so; all is said only of all."""
    share = appraisal.monte_carlo.probability_build_cheaper
    if appraisal.cheaper == "buy":
        share = 1 - share
    if share in (0.0, 1.0):
        return "all" if share else "none"
    return f"{share:.0%}" if 0.005 <= share < 0.995 else ("over 99%" if share > 0.5 else "under 1%")


def build_words(facts: BuildFacts) -> str:
    """Our side as one line."""
    name = one_line(facts.name, _NAME_LENGTH)
    run = f" (run {facts.cell_id})" if facts.cell_id else ""
    return (
        f"{name}{run}: {facts.accuracy_percent:.2f}% measured, {facts.num_correct:,} of {facts.num_images:,}"
    )


def buy_words(facts: BuyFacts) -> str:
    """The vendor as one line."""
    name = one_line(facts.name, _NAME_LENGTH)
    if facts.num_correct is None or facts.num_images is None:
        return f"{name}: {facts.accuracy_percent:.2f}% claimed, not verified"
    return f"{name}: {facts.accuracy_percent:.2f}% measured, {facts.num_correct:,} of {facts.num_images:,}"


def break_even_words(found: BreakEven) -> str:
    """A break-even as one line."""
    if found.value is None:
        return f"none: {found.reason}"
    above = "building" if found.build_cheaper_above else "buying"
    return f"{number_words(found.value)} {found.unit}; above it {above} is cheaper"


def range_words(entry: Assumption) -> str:
    """The figure with its range, or alone where it is known."""
    if entry.is_known:
        return figure_words(entry.value)
    return f"{figure_words(entry.value)} [{figure_words(entry.low)}, {figure_words(entry.high)}]"


def _three_digits(number: float) -> str:
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
