"""Whether the leading runs know what they know: reliability, and risk against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from results.calibration import NUM_BINS
from results.report.charts import (
    Row,
    base,
    draw,
    faded_unless_picked,
    highlight,
    inline,
    layered,
    looks,
    model_colour,
)
from results.report.labels import LINE_HEIGHT, room_for, spread
from results.report.leaders import Leader
from results.report.palette import Palette, colour
from results.report.text import fixed, listed, whole
from results.report.values import Chart, Column, Entry, Missing, Table
from results.selective import TARGET_ACCURACY, points_near, risk_coverage

_COVERAGES = tuple(np.linspace(0.01, 1, 100).tolist())
_TABLE_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_AXIS_WIDTH = 60
_RISK_TICKS = [0, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 100]
_COVERAGE_SIZE = (700, 340)


def reliability_chart(key: str, leader: Leader, palette: Palette) -> Chart | Missing:
    """Accuracy by confidence of one run; where it is honest, the points lie on the diagonal."""
    found = leader.figures.calibration
    if found is None:
        return Missing(f"{leader.label}: {leader.figures.reasons['calibration']}.")
    rows: list[Row] = [
        {
            "confidence": 100 * entry.mean_confidence,
            "accuracy": 100 * entry.accuracy,
            "images": entry.num_images,
            "look": palette.group(leader.model),
        }
        for entry in found.reliability
        if entry.accuracy is not None and entry.mean_confidence is not None
    ]
    fit = leader.figures.temperature
    after = leader.figures.calibration_after
    note = f"Expected calibration error {found.ece_percent:.2f}%"
    if fit is not None and after is not None:
        note += f"; {after.ece_percent:.2f}% with the temperature {fit.temperature:.3g}"
    ends = [0, 100]
    x = alt.X("confidence:Q", title="mean confidence, %").scale(domain=ends)
    y = alt.Y("accuracy:Q", title="accuracy, %").scale(domain=ends)
    look = looks(palette, rows)
    tooltip = [
        alt.Tooltip("confidence:Q", title="mean confidence, %", format=".1f"),
        alt.Tooltip("accuracy:Q", title="accuracy, %", format=".1f"),
        alt.Tooltip("images:Q", format=","),
    ]
    diagonal = inline([{"at": end} for end in ends]).mark_line(
        strokeDash=[3, 3], color=colour("muted"), strokeWidth=1, aria=False
    )
    chart = layered(
        diagonal.encode(x=alt.X("at:Q").scale(domain=ends), y=alt.Y("at:Q").scale(domain=ends)),
        base().mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=model_colour(palette, look)),
        base()
        .mark_point(filled=True, opacity=1, aria=False)
        .encode(
            x=x,
            y=y,
            color=model_colour(palette, look),
            size=alt.Size("images:Q", legend=None).scale(type="sqrt", range=[15, 160]),
            tooltip=tooltip,
        ),
    )
    return draw(
        key,
        leader.label,
        f"Accuracy by confidence of {leader.label}, in {len(rows)} bins. {note}.",
        chart,
        rows,
        size=(240, 240),
        table=_reliability_table(key, leader, rows),
        note=f"{note}.",
        cell_ids=[leader.cell_id],
    )


def _reliability_table(key: str, leader: Leader, rows: Sequence[Row]) -> Table:
    columns = (Column("mean confidence, %"), Column("accuracy, %"), Column("images"))
    return Table(
        f"{key}-data",
        f"{leader.label}: accuracy in {NUM_BINS} bins of confidence of equal width",
        columns,
        tuple(
            (
                Entry(fixed(row["confidence"]), repr(row["confidence"])),
                Entry(fixed(row["accuracy"]), repr(row["accuracy"])),
                Entry(whole(row["images"]), str(row["images"])),
            )
            for row in rows
        ),
        note="Empty bins are left out.",
        cell_ids=(leader.cell_id,),
    )


def risk_coverage_chart(key: str, leaders: Sequence[Leader], palette: Palette) -> Chart | Missing:
    """Share of wrong answers among the answered, of runs of one board."""
    rows = [row for leader in leaders for row in _coverage_rows(leader, palette, _COVERAGES)]
    if not rows:
        return Missing("Of the leading runs only the predicted classes are known, no confidences.")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        row["is_last"] = following is None or following["cell"] != row["cell"]
    look = looks(palette, rows)
    target = 100 * (1 - TARGET_ACCURACY)
    highest = max(row["risk"] for row in rows) + 1
    _place_ends_on_roots(rows, highest)
    room = room_for([row["run"] for row in rows], _COVERAGE_SIZE[0] - _AXIS_WIDTH)
    x = alt.X("coverage:Q", title="coverage: answered test images, %")
    x = x.scale(domain=[0, 100 * room], nice=False).axis(values=list(range(0, 101, 10)), grid=False)
    y = alt.Y("risk:Q", title="risk: wrong ones among the answered, %")
    y = y.scale(type="sqrt", domain=[0, highest], nice=False).axis(values=_RISK_TICKS, format="~g")
    coloured: dict[str, Any] = {
        "color": model_colour(palette, look),
        "detail": "cell:N",
        "opacity": faded_unless_picked(),
    }
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("coverage:Q", title="coverage, %", format=".1f"),
        alt.Tooltip("risk:Q", title="risk, %", format=".2f"),
        alt.Tooltip("cell:N", title="cell id"),
    ]
    ends = base().transform_filter("datum.is_last")
    line = inline([{"risk": target}])
    chart = layered(
        line.mark_rule(strokeDash=[3, 3], color=colour("muted"), aria=False).encode(y=y),
        line.mark_text(
            align="right", baseline="bottom", dy=-3, color=colour("muted"), text="99% right"
        ).encode(x=alt.value("width"), y=y),
        base().mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, tooltip=tooltip, **coloured),
        ends.mark_text(align="left", dx=6, fontWeight=600, aria=False).encode(
            x=x, y=alt.Y("label_at:Q"), text="run:N", **coloured
        ),
    ).add_params(highlight())
    reached = [
        f"{leader.label} {leader.figures.coverage_at_99.coverage.percent:.1f}%"
        for leader in leaders
        if leader.figures.coverage_at_99 is not None
    ]
    text = f" Coverage at the threshold for 99%: {listed(reached)}." if reached else ""
    return draw(
        key,
        "Risk against coverage",
        f"Share of wrong answers against the share of answered images, of {len(leaders)} runs.{text}",
        chart,
        rows,
        size=_COVERAGE_SIZE,
        table=_coverage_table(key, leaders, palette),
        note="The surest images are answered first; confidence is the largest softmax probability.",
        cell_ids=[leader.cell_id for leader in leaders],
    )


def _place_ends_on_roots(rows: Sequence[Row], highest: float) -> None:
    """Set `label_at` of the last rows on an axis of square roots."""
    ends = [row for row in rows if row["is_last"]]
    gap = LINE_HEIGHT * highest**0.5 / _COVERAGE_SIZE[1]
    roots = spread([row["risk"] ** 0.5 for row in ends], gap)
    for row, root in zip(ends, roots, strict=True):
        row["label_at"] = max(root, 0.0) ** 2


def _coverage_rows(leader: Leader, palette: Palette, coverages: tuple[float, ...]) -> list[Row]:
    given = leader.predictions.distributions()
    if given is None:
        return []
    correct = leader.predictions.classes == leader.predictions.labels
    curve = risk_coverage(given.probs.max(axis=1), correct)
    rows: list[Row] = []
    for point in points_near(curve, coverages):
        assert point.accuracy is not None
        rows.append(
            {
                "run": leader.label,
                "look": palette.group(leader.model),
                "cell": leader.cell_id,
                "coverage": point.coverage.percent,
                "risk": 100 - point.accuracy.percent,
                "threshold": point.threshold,
            }
        )
    return rows


def _coverage_table(key: str, leaders: Sequence[Leader], palette: Palette) -> Table:
    rows = []
    for leader in leaders:
        for row in _coverage_rows(leader, palette, _TABLE_COVERAGES):
            figures = (row["coverage"], row["risk"])
            cells = [Entry(fixed(value), repr(value)) for value in figures]
            threshold = Entry(fixed(row["threshold"], 5), repr(row["threshold"]))
            rows.append((Entry(leader.label), *cells, threshold, Entry(leader.cell_id)))
    return Table(
        f"{key}-data",
        "Risk at some coverages",
        (
            Column("run", "text"),
            Column("coverage, %"),
            Column("risk, %"),
            Column("confidence at least"),
            Column("cell", "cell"),
        ),
        tuple(rows),
    )
