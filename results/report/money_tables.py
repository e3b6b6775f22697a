"""The tables about costs."""

from __future__ import annotations

from results.economics.decide import Appraisal
from results.economics.sensitivity import Sensitivity
from results.economics.words import amount, figure_words
from results.report.values import UNKNOWN, Column, Entry, Table
from results.store import one_line


def tornado_table(rows: list[Sensitivity]) -> Table:
    """The bars of the tornado as figures."""
    return Table(
        "tornado-data",
        "The difference in cost (buying less building, USD) at both ends of each figure",
        (
            Column("figure", "text"),
            Column("central"),
            Column("low"),
            Column("high"),
            Column("unit", "text"),
            Column("difference at low"),
            Column("at high"),
        ),
        tuple(
            (
                Entry(row.label),
                Entry(figure_words(row.value)),
                _figure(row.low),
                _figure(row.high),
                Entry(one_line(row.unit, 60)),
                _dollars(row.difference_at_low_usd),
                _dollars(row.difference_at_high_usd),
            )
            for row in rows
        ),
    )


def draws_table(appraisal: Appraisal) -> Table:
    """The draws as figures."""
    simulated = appraisal.monte_carlo
    figures = (
        ("2.5% point", simulated.low_usd),
        ("median", simulated.median_usd),
        ("mean", simulated.mean_usd),
        ("97.5% point", simulated.high_usd),
    )
    return Table(
        "draws-data",
        "The difference in cost over all draws (buying less building, USD)",
        (Column("", "text"), Column("USD")),
        tuple((Entry(name), _dollars(value)) for name, value in figures),
    )


def costs_table(appraisal: Appraisal) -> Table:
    """What each side costs today, by part."""
    build = {part.name: part.present_cost_usd for part in appraisal.build_cost.components}
    buy = {part.name: part.present_cost_usd for part in appraisal.buy_cost.components}
    rows: list[tuple[Entry, ...]] = [
        (Entry(name), _dollars(build.get(name)), _dollars(buy.get(name)))
        for name in dict.fromkeys([*build, *buy])
    ]
    totals = (appraisal.build_cost.present_cost_usd, appraisal.buy_cost.present_cost_usd)
    rows.append((Entry("total"), *(_dollars(value) for value in totals)))
    horizon = figure_words(appraisal.assumptions["horizon_years"].value)
    rate = figure_words(appraisal.assumptions["discount_rate_percent"].value)
    return Table(
        "costs",
        f"Present cost over {horizon} years, USD",
        (Column("part", "text"), Column("build"), Column("buy")),
        tuple(rows),
        note=f"Real US dollars, discounted at {rate}% a year; all figures at their central values.",
        cell_ids=() if appraisal.build.cell_id is None else (appraisal.build.cell_id,),
    )


def flips_table(appraisal: Appraisal) -> Table:
    """Figures that alone turn the answer."""
    rows = []
    for row in appraisal.flips:
        assert row.flip is not None
        side = "building" if row.flip.build_cheaper_above else "buying"
        rows.append(
            (
                Entry(row.label),
                Entry(figure_words(row.value)),
                Entry(figure_words(row.flip.value)),
                Entry(f"{_figure(row.low).text} to {_figure(row.high).text}"),
                Entry(one_line(row.unit, 60)),
                Entry(f"{side} is cheaper above it"),
            )
        )
    return Table(
        "flips",
        "Figures that alone turn the answer within their range",
        (
            Column("figure", "text"),
            Column("central"),
            Column("turns at"),
            Column("range"),
            Column("unit", "text"),
            Column("what then", "text"),
        ),
        tuple(rows),
        note="" if rows else "None does.",
    )


def assumptions_table(appraisal: Appraisal) -> Table:
    """Every figure with its date and source."""
    rows = []
    for key, entry in appraisal.assumptions.items():
        source = entry.source or f"assumption: {entry.assumption or 'not stated'}"
        dated = UNKNOWN if entry.as_of is None else entry.as_of.isoformat()
        known = entry.is_known
        rows.append(
            (
                Entry(key),
                Entry(figure_words(entry.value)),
                Entry(UNKNOWN if known else figure_words(entry.low)),
                Entry(UNKNOWN if known else figure_words(entry.high)),
                Entry(one_line(entry.unit, 60)),
                Entry(dated),
                Entry(one_line(source, 400)),
            )
        )
    return Table(
        "assumptions",
        "Every figure that the costs rest on",
        (
            Column("key", "text"),
            Column("value"),
            Column("low"),
            Column("high"),
            Column("unit", "text"),
            Column("as of", "text"),
            Column("source", "text"),
        ),
        tuple(rows),
    )


def _figure(value: float | None) -> Entry:
    return Entry(UNKNOWN) if value is None else Entry(figure_words(value), repr(value))


def _dollars(value: float | None) -> Entry:
    return Entry(UNKNOWN) if value is None else Entry(amount(value), repr(value))
