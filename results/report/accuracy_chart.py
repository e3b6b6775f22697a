"""The picture that the summary opens with: what was measured, beside what is claimed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from results.audit.result import Audit
from results.metrics import Share
from results.references import Reference, leaderboard_references
from results.report.boards import Board
from results.report.charts import Row, base, draw, layered, looks, model_colour, model_shape
from results.report.leaders import Leader
from results.report.palette import OTHERS, Palette, colour
from results.report.text import fixed, listed
from results.report.values import UNKNOWN, Chart, Column, Entry, Table
from results.store import one_line

_ROW_HEIGHT = 34
_LABEL_HEIGHT = 14


def accuracy_chart(key: str, leaders: Sequence[Leader], vendor: Audit | None, palette: Palette) -> Chart:
    """Accuracy of some runs of one board with its interval; claims are dashed rules across.

    Args:
        key: of the chart.
        leaders: of one board, not empty.
        vendor: an audit; shown where it is about the same images.
        palette: of the report.
    """
    board = leaders[0].board
    claims = leaderboard_references() if board.is_cifar10 else []
    ordered = sorted(leaders, key=lambda leader: -leader.figures.accuracy.percent)
    measured: list[Row] = [_measured(leader, palette) for leader in ordered]
    if vendor is not None and vendor.stored.test_fingerprint == _test_fingerprint(ordered[0]):
        measured.append(_audited(vendor))
    measured.sort(key=lambda row: -float(row["accuracy"]))
    rows = [*measured, *_claims(claims)]
    low = min([row["low"] for row in measured] + [claim.accuracy_percent for claim in claims])
    domain = [max(0, 5 * int((low - 9) // 5)), 100]
    names = [row["name"] for row in measured]
    claim_layers = [
        _claim_layer(_x("accuracy", board, domain), number, entry.accuracy_percent > sum(domain) / 2)
        for number, entry in enumerate(claims)
    ]
    layers = _measured_layers(board, domain, names, palette, looks(palette, rows))
    return draw(
        key,
        "Measured accuracy beside what others claim" if claims else "Measured accuracy",
        _description(measured, claims),
        layered(*claim_layers, *layers),
        rows,
        size=(620, _ROW_HEIGHT * len(measured)),
        table=_table(key, measured, claims),
        note=_note(board, bool(claims)),
        cell_ids=[leader.cell_id for leader in ordered],
    )


def _x(field: str, board: Board, domain: list[int]) -> alt.X:
    """The axis of accuracy."""
    axis = alt.X(f"{field}:Q", title=f"accuracy on {board.num_test_images:,} test images, %")
    step = 5 if domain[0] >= 50 else 10
    return axis.scale(domain=domain, nice=False).axis(values=list(range(domain[0], domain[1] + 1, step)))


def _measured_layers(
    board: Board, domain: list[int], names: list[str], palette: Palette, look: list[str]
) -> list[alt.Chart]:
    """Interval, point and figure of each run."""
    x, ends = _x("accuracy", board, domain), _x("low", board, domain)
    shown = base().transform_filter("datum.kind == 'measured'")
    y = alt.Y("name:N", title=None, sort=names).axis(
        ticks=False, domain=False, labelLimit=210, labelColor=colour("ink"), labelFontSize=12, labelPadding=8
    )
    tooltip = [
        alt.Tooltip("name:N", title="run"),
        alt.Tooltip("accuracy:Q", title="accuracy, %", format=".2f"),
        alt.Tooltip("interval:N", title="95% interval, %"),
        alt.Tooltip("cell:N", title="cell"),
    ]
    return [
        shown.mark_rule(strokeWidth=5, opacity=0.35, aria=False).encode(
            x=ends, x2="high:Q", y=y, color=model_colour(palette, look)
        ),
        shown.mark_point(filled=True, size=110, opacity=1, aria=False).encode(
            x=x, y=y, color=model_colour(palette, look), shape=model_shape(palette, look), tooltip=tooltip
        ),
        shown.mark_text(align="right", dx=-9, fontSize=12, fontWeight=600, aria=False).encode(
            x=ends, y=y, text=alt.Text("accuracy:Q", format=".2f")
        ),
    ]


def _claim_layer(x: alt.X, number: int, is_right: bool) -> alt.LayerChart:
    """A dashed rule with its name above the runs, on a line of its own."""
    shown = base().transform_filter(f"datum.claim == {number}")
    rule = shown.mark_rule(strokeDash=[4, 4], strokeWidth=1.5, color=colour("claim"), aria=False).encode(x=x)
    label = shown.mark_text(
        align="right" if is_right else "left",
        dx=-4 if is_right else 4,
        baseline="bottom",
        color=colour("claim"),
        aria=False,
    )
    above = alt.value(-4 - _LABEL_HEIGHT * number)
    return layered(rule, label.encode(x=x, y=above, text="name:N"))


def _test_fingerprint(leader: Leader) -> str:
    assert leader.record.data is not None
    return leader.record.data.test_fingerprint


def _measured(leader: Leader, palette: Palette) -> Row:
    look = palette.group(leader.model)
    return _row(leader.label, look, leader.figures.accuracy, leader.cell_id)


def _audited(vendor: Audit) -> Row:
    return _row(f"{one_line(vendor.vendor, 40)}, audited", OTHERS, vendor.accuracy, UNKNOWN)


def _row(name: str, look: str, share: Share, cell_id: str) -> Row:
    return {
        "kind": "measured",
        "name": name,
        "look": look,
        "accuracy": share.percent,
        "low": share.low_percent,
        "high": share.high_percent,
        "interval": f"{share.low_percent:.2f} to {share.high_percent:.2f}",
        "cell": cell_id,
    }


def _claims(claims: Sequence[Reference]) -> list[Row]:
    return [
        {
            "kind": "claim",
            "claim": number,
            "name": f"claim: {entry.name} {entry.accuracy_percent:g}",
            "accuracy": entry.accuracy_percent,
        }
        for number, entry in enumerate(claims)
    ]


def _description(measured: Sequence[Row], claims: Sequence[Reference]) -> str:
    best, worst = measured[0], measured[-1]
    text = f"{len(measured)} measured systems, from {worst['name']} at {worst['accuracy']:.2f}% "
    text += f"to {best['name']} at {best['accuracy']:.2f}%."
    if claims:
        named = listed([f"{entry.name} {entry.accuracy_percent:g}%" for entry in claims])
        text += f" Dashed rules mark claims: {named}."
    return text


def _table(key: str, measured: Sequence[Row], claims: Sequence[Reference]) -> Table:
    rows = [
        (
            Entry(row["name"]),
            *(Entry(fixed(row[name]), repr(row[name])) for name in ("accuracy", "low", "high")),
            Entry(row["cell"]),
        )
        for row in measured
    ]
    return Table(
        f"{key}-data",
        "Accuracy of the leading runs, and claims",
        (
            Column("run", "text"),
            Column("accuracy, %"),
            Column("95% from"),
            Column("to"),
            Column("cell", "cell"),
        ),
        tuple(rows),
        claims=tuple(
            (Entry(f"claim: {each.name}"), Entry(fixed(each.accuracy_percent)), *[Entry(UNKNOWN)] * 3)
            for each in claims
        ),
    )


def _note(board: Board, has_claims: bool) -> str:
    note = "Bars: 95% Wilson intervals."
    if not has_claims:
        return f"{note} No claim is about this data set."
    if board.is_claimed_test_set:
        return f"{note} Dashed: claims, not measured here."
    return f"{note} Dashed: claims, not measured here, and about CIFAR-10's official test images, not these."
