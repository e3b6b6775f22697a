"""Learning curves of the leading runs: validation accuracy and training loss by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from results.report.charts import (
    Row,
    base,
    draw,
    faded_unless_picked,
    highlight,
    layered,
    looks,
    model_colour,
)
from results.report.labels import LINE_HEIGHT, room_for, spread
from results.report.leaders import Leader
from results.report.palette import Palette
from results.report.text import fixed, listed, whole
from results.report.values import Chart, Column, Entry, Missing, Table

_MAX_EPOCH_ROWS = 400
_AXIS_WIDTH = 60
_EPOCH_SIZE = (460, 280)


def learning_curves(key: str, leaders: Sequence[Leader], palette: Palette) -> tuple[Chart, ...] | Missing:
    """Validation accuracy and training loss by epoch, of runs of one board."""
    with_history = [leader for leader in leaders if leader.record.history]
    if not with_history:
        return Missing("No record of the leading runs keeps its epochs.")
    charts = []
    validated = [
        leader
        for leader in with_history
        if any(row.val_accuracy is not None for row in leader.record.history)
    ]
    if validated:
        charts.append(_epoch_chart(f"{key}-accuracy", validated, palette, is_accuracy=True))
    charts.append(_epoch_chart(f"{key}-loss", with_history, palette, is_accuracy=False))
    return tuple(charts)


def _epoch_chart(key: str, leaders: Sequence[Leader], palette: Palette, is_accuracy: bool) -> Chart:
    what = "accuracy on the validation images, %" if is_accuracy else "training loss, nats"
    rows = [row for leader in leaders for row in _epochs(leader, palette, is_accuracy)]
    look = looks(palette, rows)
    last_epoch = max(row["epoch"] for row in rows)
    domain = _padded([row["value"] for row in rows])
    _place_ends(rows, "value", domain, _EPOCH_SIZE[1])
    room = room_for([row["run"] for row in rows], _EPOCH_SIZE[0] - _AXIS_WIDTH)
    x = alt.X("epoch:Q", title="epoch").axis(values=_epoch_ticks(last_epoch), grid=False)
    x = x.scale(domain=[min(1, last_epoch - 1), 1 + (last_epoch - 1 or 1) * room], nice=False)
    y = alt.Y("value:Q", title=what).scale(domain=domain, nice=False, zero=False)
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("value:Q", title=what, format=".3f"),
        alt.Tooltip("cell:N", title="cell id"),
    ]
    picked = faded_unless_picked()
    coloured: dict[str, Any] = {"color": model_colour(palette, look), "detail": "cell:N", "opacity": picked}
    dashes = alt.StrokeDash("twin:O", legend=None).scale(
        domain=[0, 1, 2, 3, 4, 5], range=[[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [1, 4], [10, 4]]
    )
    ends = base().transform_filter("datum.is_last")
    chart = layered(
        base().mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, strokeDash=dashes, **coloured),
        base().mark_point(filled=True, size=36, aria=False).encode(x=x, y=y, tooltip=tooltip, **coloured),
        ends.mark_text(align="left", dx=8, fontWeight=600, aria=False).encode(
            x=x, y=alt.Y("label_at:Q"), text="run:N", **coloured
        ),
    ).add_params(highlight())
    name = "Validation accuracy" if is_accuracy else "Training loss"
    last = listed([f"{row['run']} {row['value']:.2f}" for row in rows if row["is_last"]])
    return draw(
        key,
        f"{name} by epoch",
        f"{name} by epoch of {len(leaders)} runs. At the last epoch: {last}.",
        chart,
        rows,
        size=_EPOCH_SIZE,
        table=_epoch_table(key, name, rows),
        note="The test images play no part in it."
        if is_accuracy
        else "Of the training images, as augmented.",
        cell_ids=[leader.cell_id for leader in leaders],
    )


def _place_ends(rows: Sequence[Row], field: str, domain: tuple[float, float], height: int) -> None:
    """Set `label_at` of the last row of each run: beside its end, and beside no other name."""
    ends = [row for row in rows if row["is_last"]]
    gap = LINE_HEIGHT * (domain[1] - domain[0]) / height
    for row, place in zip(ends, spread([row[field] for row in ends], gap), strict=True):
        row["label_at"] = place


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _epoch_ticks(last: int) -> list[int]:
    step = max(1, -(-last // 8))
    return [1, *range(step if step > 1 else 2, last + 1, step)]


def _epochs(leader: Leader, palette: Palette, is_accuracy: bool) -> list[Row]:
    rows: list[Row] = []
    for row in leader.record.history:
        value = row.val_accuracy if is_accuracy else row.train_loss
        if value is None:
            continue
        rows.append(
            {
                "run": leader.label,
                "look": palette.group(leader.model),
                "twin": leader.twin,
                "epoch": row.epoch,
                "value": 100 * value if is_accuracy else value,
                "cell": leader.cell_id,
                "is_last": False,
            }
        )
    if rows:
        rows[-1]["is_last"] = True
    return rows


def _epoch_table(key: str, name: str, rows: Sequence[Row]) -> Table:
    shown = rows[:_MAX_EPOCH_ROWS]
    more = len(rows) - len(shown)
    return Table(
        f"{key}-data",
        f"{name} by epoch",
        (Column("run", "text"), Column("epoch"), Column("value"), Column("cell", "cell")),
        tuple(
            (
                Entry(row["run"]),
                Entry(whole(row["epoch"]), str(row["epoch"])),
                Entry(fixed(row["value"], 3), repr(row["value"])),
                Entry(row["cell"]),
            )
            for row in shown
        ),
        note=f"{more:,} more rows are drawn; the records have them." if more else "",
    )
