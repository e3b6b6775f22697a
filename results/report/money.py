"""Cost and sensitivity: what each side costs, what may turn that, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from results.economics.decide import Appraisal
from results.economics.sensitivity import Sensitivity
from results.economics.words import (
    answer_words,
    break_even_words,
    build_words,
    buy_words,
    figure_words,
    number_words,
)
from results.report.charts import Row, base, draw, inline, layered
from results.report.money_tables import (
    assumptions_table,
    costs_table,
    draws_table,
    flips_table,
    tornado_table,
)
from results.report.palette import colour
from results.report.values import Chart, Table

MAX_BARS = 12
_ROW_HEIGHT = 26
_LEGEND: dict[str, Any] = {
    "orient": "top",
    "labelColor": colour("ink"),
    "titleColor": colour("muted"),
    "titleFontWeight": "normal",
}
_USD = "difference, USD: above 0 building is cheaper"


@dataclass(frozen=True)
class Money:
    """What the section about costs shows."""

    answer: str
    sides: tuple[str, ...]
    """What is weighed against what, a line each."""

    break_evens: tuple[str, ...]
    tornado: Chart | None
    """None where no figure has a range."""

    draws: Chart
    costs: Table
    flips: Table
    assumptions: Table
    caveats: tuple[str, ...]
    notes: tuple[str, ...]
    """How the run was chosen, and the like."""


def money_of(appraisal: Appraisal, notes: tuple[str, ...]) -> Money:
    """The section about costs."""
    return Money(
        answer=answer_words(appraisal),
        sides=(f"Build: {build_words(appraisal.build)}.", f"Buy: {buy_words(appraisal.buy)}."),
        break_evens=(
            f"Volume: {break_even_words(appraisal.break_even_volume)}.",
            f"Accuracy: {break_even_words(appraisal.break_even_gap)}.",
            f"Price of an error: {break_even_words(appraisal.break_even_error_usd)}.",
        ),
        tornado=_tornado(appraisal),
        draws=_draws(appraisal),
        costs=costs_table(appraisal),
        flips=flips_table(appraisal),
        assumptions=assumptions_table(appraisal),
        caveats=appraisal.caveats,
        notes=notes,
    )


def _tornado(appraisal: Appraisal) -> Chart | None:
    shown = [row for row in appraisal.sensitivities if row.difference_at_low_usd is not None][:MAX_BARS]
    if not shown:
        return None
    rows = [
        {
            "label": row.label,
            "value": figure_words(value),
            "end": end,
            "difference": difference,
            "centre": appraisal.difference_usd,
            "words": number_words(difference),
            "unit": row.unit,
        }
        for row in shown
        for end, value, difference in (
            ("low", row.low, row.difference_at_low_usd),
            ("high", row.high, row.difference_at_high_usd),
        )
        if value is not None and difference is not None
    ]
    return draw(
        "tornado",
        "What the answer depends on",
        _tornado_description(appraisal, shown[0]),
        _tornado_layers([row.label for row in shown], appraisal.difference_usd),
        rows,
        size=(520, _ROW_HEIGHT * len(shown)),
        table=tornado_table(shown),
        note="Each figure alone at the low and the high end of its range, all others at their central "
        "values. Solid rule: both sides cost the same; dashed: all figures at their central values.",
    )


def _tornado_description(appraisal: Appraisal, widest: Sensitivity) -> str:
    flips = sum(row.flips_in_range for row in appraisal.sensitivities)
    return (
        f"Bars of the difference in cost for each figure. Widest: {widest.label}, from "
        f"{number_words(widest.difference_at_low_usd or 0)} to "
        f"{number_words(widest.difference_at_high_usd or 0)} USD. {flips} figures alone turn the answer."
    )


def _tornado_layers(labels: list[str], centre: float) -> alt.LayerChart:
    x = alt.X("difference:Q", title=_USD).axis(format="~s", tickCount=6)
    y = alt.Y("label:N", title=None, sort=labels).axis(
        ticks=False, domain=False, labelLimit=200, labelColor=colour("ink"), labelPadding=8
    )
    ends = alt.Color("end:N", title="figure at its").scale(
        domain=["low", "high"], range=[colour("m6"), colour("m0")]
    )
    ends = ends.legend(**_LEGEND)
    tooltip = [
        alt.Tooltip("label:N", title="figure"),
        alt.Tooltip("end:N"),
        alt.Tooltip("value:N"),
        alt.Tooltip("unit:N"),
        alt.Tooltip("words:N", title="difference, USD"),
    ]
    rule: dict[str, Any] = {"aria": False, "strokeWidth": 1.5}
    return layered(
        base().mark_bar(height=14, aria=False).encode(x=x, x2="centre:Q", y=y, color=ends, tooltip=tooltip),
        _rule_at(0.0).mark_rule(color=colour("ink"), **rule).encode(x="at:Q"),
        _rule_at(centre).mark_rule(color=colour("muted"), strokeDash=[3, 3], **rule).encode(x="at:Q"),
    )


def _rule_at(value: float) -> alt.Chart:
    return inline([{"at": value}])


def _draws(appraisal: Appraisal) -> Chart:
    simulated = appraisal.monte_carlo
    edges = simulated.bin_edges_usd
    rows: list[Row] = [
        {
            "from": low,
            "to": high,
            "percent": 100 * count / simulated.num_draws,
            "cheaper": "building" if low + high > 0 else "buying",
        }
        for low, high, count in zip(edges[:-1], edges[1:], simulated.bin_counts, strict=True)
    ]
    cheaper = alt.Color("cheaper:N", title="cheaper").scale(
        domain=["building", "buying"], range=[colour("good"), colour("bad")]
    )
    cheaper = cheaper.legend(**_LEGEND)
    bars = (
        base()
        .mark_bar(aria=False)
        .encode(
            x=alt.X("from:Q", title=_USD, bin="binned").axis(format="~s", tickCount=6),
            x2="to:Q",
            y=alt.Y("percent:Q", title="share of the draws, %"),
            color=cheaper,
            tooltip=[
                alt.Tooltip("from:Q", format=",.3~s"),
                alt.Tooltip("to:Q", format=",.3~s"),
                alt.Tooltip("percent:Q", title="draws, %", format=".1f"),
            ],
        )
    )
    zero = _rule_at(0.0).mark_rule(color=colour("ink"), strokeWidth=1.5, aria=False).encode(x="at:Q")
    probability = simulated.probability_build_cheaper
    return draw(
        "draws",
        f"Building is cheaper in {probability:.0%} of the draws",
        f"Histogram of the difference in cost over {simulated.num_draws:,} draws of all figures: building is "
        f"cheaper in {probability:.1%} of them; 95% of them lie from {number_words(simulated.low_usd)} to "
        f"{number_words(simulated.high_usd)} USD.",
        layered(bars, zero),
        rows,
        size=(520, 240),
        table=draws_table(appraisal),
        note=f"{simulated.num_draws:,} draws, seed {simulated.seed}; the outermost 2% are not drawn.",
    )
