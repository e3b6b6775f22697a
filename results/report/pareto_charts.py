"""Error against what it costs: the front drawn exactly, of the others a bounded sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np

from results.index.run_table import RunTable
from results.references import leaderboard_references
from results.report.charts import (
    Row,
    base,
    draw,
    faded_unless_picked,
    highlight,
    layered,
    looks,
    model_colour,
    model_shape,
)
from results.report.labels import SIDES, choose_sides, offset
from results.report.palette import Palette, colour
from results.report.pareto_words import NAME_LENGTH, SEED, Places, description_of, note_of, table_of
from results.report.values import Chart, Missing
from results.store import one_line
from results.value.views import View

MAX_OTHERS = 2_000
"""Points beside the front that a chart draws."""

_MAX_LABELS = 7
_SIZE = (460, 300)
_PLOT_WIDTH = 400
"""What the axis of errors leaves of the width."""

_STEP = 9.0
_TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]


def pareto_chart(key: str, table: RunTable, view: View, palette: Palette) -> Chart | Missing:
    """The chart of one view; Missing where no run has the cost.

    Args:
        key: of the chart.
        table: that the view was made of.
        view: of one kind of cost.
        palette: of the report.
    """
    title = view.title + (f" on {one_line(view.device, 40)}" if view.device else "")
    if view.reason is not None:
        return Missing(f"{title}: {view.reason}.")
    # A logarithmic scale has no place for 0.
    known = np.flatnonzero(np.isfinite(view.costs) & (view.costs > 0) & (view.errors_percent > 0))
    if not len(known):
        return Missing(f"{title}: no cell costs more than 0 and errs at all.")
    front, others = known[view.front[known]], known[~view.front[known]]
    drawn = others
    if len(others) > MAX_OTHERS:
        drawn = np.sort(np.random.default_rng(SEED).choice(others, MAX_OTHERS, replace=False))
    front = front[np.lexsort((view.errors_percent[front], view.costs[front]))]
    rows = [*_rows(table, view, front, drawn, palette), *_claims(view)]
    frame = _frame(rows)
    _place_labels(rows, frame)
    return draw(
        key,
        f"Error against {title}",
        description_of(table, view, front, len(known)),
        _layers(view, rows, palette, frame),
        rows,
        size=_SIZE,
        table=table_of(key, table, view, front),
        note=note_of(view, len(known), len(others), len(drawn)),
    )


@dataclass(frozen=True)
class _Frame:
    """What the axes span."""

    costs: tuple[float, float]
    errors: tuple[float, float]

    def place(self, row: Row) -> tuple[float, float]:
        """Of a row, in pixels from the top left."""
        x = math.log(row["cost"] / self.costs[0]) / math.log(self.costs[1] / self.costs[0])
        y = math.log(row["error"] / self.errors[1]) / math.log(self.errors[0] / self.errors[1])
        return _PLOT_WIDTH * x, _SIZE[1] * y


def _frame(rows: Sequence[Row]) -> _Frame:
    costs = [row["cost"] for row in rows if "cost" in row]
    errors = [row["error"] for row in rows]
    room = max((max(costs) / min(costs)) ** 0.08, 1.15)
    return _Frame((min(costs) / room, max(costs) * room), (0.75 * min(errors), min(130.0, 1.3 * max(errors))))


def _place_labels(rows: Sequence[Row], frame: _Frame) -> None:
    """Set the `side` of each row that has a name; where there is no room, none."""
    points = sorted((row for row in rows if "cost" in row), key=lambda row: not _label(row))
    line = _along_front([frame.place(row) for row in rows if row["kind"] == "front"])
    places = [frame.place(row) for row in points] + line
    names = [_label(row) for row in points] + [""] * len(line)
    sides = choose_sides(places, names, (_PLOT_WIDTH, _SIZE[1]))
    for row, side in zip(points, sides, strict=False):
        row["side"] = side


def _along_front(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places on the line of the front, which goes right and then down from each point to the next."""
    corners = sorted(corners)
    places = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        places += [(at, y) for at in np.arange(x + _STEP, next_x, _STEP).tolist()]
        places += [(next_x, at) for at in np.arange(y, next_y - _STEP, _STEP).tolist()]
    return places


def _label(row: Row) -> str:
    return str(row["name"] if row["kind"] == "claim" else row["label"])


def _rows(table: RunTable, view: View, front: Places, drawn: Places, palette: Palette) -> list[Row]:
    """A row for each cell that is drawn, the most accurate first, so that it names its model."""
    places = np.concatenate((drawn, front))
    is_front = np.arange(len(places)) >= len(drawn)
    order = np.argsort(view.errors_percent[places], kind="stable")
    places, is_front = places[order], is_front[order]
    cells = table.select(view.rows[places])
    columns = [cells.texts(name).tolist() for name in ("model", "augmentation", "precision", "cell_id")]
    labelled: set[str] = set()
    rows: list[Row] = []
    for place, on_front, *texts in zip(places.tolist(), is_front.tolist(), *columns, strict=True):
        model, augmentation, precision, cell_id = (one_line(text, NAME_LENGTH) for text in texts)
        is_named = on_front and model not in labelled and len(labelled) < _MAX_LABELS
        if is_named:
            labelled.add(model)
        rows.append(
            {
                "kind": "front" if on_front else "other",
                "cost": float(view.costs[place]),
                "error": float(view.errors_percent[place]),
                "look": palette.group(model),
                "model": model,
                "label": model if is_named else "",
                "what": f"{augmentation}, {precision}",
                "cell": cell_id,
            }
        )
    return rows


def _claims(view: View) -> list[Row]:
    """A row for each claim: a point of its own kind where its cost is known, or a rule across."""
    points: list[Row] = [
        {
            "kind": "claim",
            "name": f"claim: {point.reference.name}",
            "cost": point.cost,
            "error": point.error_percent,
            "how": point.how,
            "source": point.reference.source,
        }
        for point in view.claims
    ]
    with_cost = {point.reference.key for point in view.claims}
    rules: list[Row] = [
        {"kind": "rule", "name": f"claim: {entry.name}", "error": 100 - entry.accuracy_percent}
        for entry in leaderboard_references()
        if entry.kind != "human" and entry.dataset == view.dataset and entry.key not in with_cost
    ]
    return points + rules


def _layers(view: View, rows: Sequence[Row], palette: Palette, frame: _Frame) -> alt.LayerChart:
    x = alt.X("cost:Q", title=f"{view.title}, {view.unit}").scale(type="log", domain=frame.costs, nice=False)
    x = x.axis(format=",~g", grid=False, tickCount=5)
    y = alt.Y("error:Q", title="error on the test images, %")
    y = y.scale(type="log", domain=frame.errors, nice=False).axis(format="~g", values=_TICKS)
    of = {
        kind: base().transform_filter(f"datum.kind == '{kind}'")
        for kind in ("claim", "rule", "front", "other")
    }
    cost = alt.Tooltip("cost:Q", title=f"{view.title}, {view.unit}", format=",.4~g")
    error = alt.Tooltip("error:Q", title="error, %", format=".2f")
    look = looks(palette, rows)
    coloured: dict[str, Any] = {
        "color": model_colour(palette, look),
        "shape": model_shape(palette, look),
        "tooltip": [
            alt.Tooltip("model:N"),
            alt.Tooltip("what:N", title="cell"),
            error,
            cost,
            alt.Tooltip("cell:N", title="cell id"),
        ],
    }
    claim: dict[str, Any] = {"color": colour("claim"), "aria": False}
    own = [
        alt.Tooltip("name:N", title="not measured"),
        error,
        cost,
        alt.Tooltip("how:N"),
        alt.Tooltip("source:N"),
    ]
    label = of["rule"].mark_text(align="right", baseline="bottom", dx=-4, dy=-3, **claim)
    best = of["front"].mark_point(filled=True, size=110, stroke=colour("paper"), strokeWidth=1, aria=False)
    step = of["front"].mark_line(interpolate="step-after", strokeWidth=1.5, color=colour("muted"), aria=False)
    return layered(
        of["rule"].mark_rule(strokeDash=[4, 4], strokeWidth=1.5, **claim).encode(y=y),
        label.encode(x=alt.value("width"), y=y, text="name:N"),
        step.encode(x=x, y=y, order="cost:Q"),
        of["claim"]
        .mark_point(shape="diamond", size=90, strokeDash=[2, 2], strokeWidth=1.5, **claim)
        .encode(x=x, y=y, tooltip=own),
        of["other"]
        .mark_point(filled=True, size=42, aria=False)
        .encode(x=x, y=y, opacity=faded_unless_picked(0.55), **coloured),
        best.encode(x=x, y=y, opacity=faded_unless_picked(), **coloured),
        *_names(x, y),
    ).add_params(highlight())


def _names(x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The names of points, a layer for each side."""
    layers = []
    for kind, text, look in (
        ("front", "label:N", {"fontWeight": 600}),
        ("claim", "name:N", {"color": colour("claim")}),
    ):
        for side in SIDES:
            shown = base().transform_filter(f"datum.kind == '{kind}' && datum.side == '{side}'")
            mark = shown.mark_text(aria=False, **look, **offset(side))
            layers.append(mark.encode(x=x, y=y, text=text))
    return layers
