"""A table with shaded squares as a picture, for pages that show no HTML.

svg = heat_map([corruption_table("corruptions", leaders), ...])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import altair as alt

from results.report.charts import Row, base, draw, layered, picture
from results.report.values import Entry, Table

_SQUARE, _ROOM = (76, 22), 130
"""In pixels; the room is that of the labels, which a browser may show in a wider font than vega measured."""


def heat_map(tables: Sequence[Table]) -> str:
    """An SVG of tables of percentages side by side; the darker a square, the further it is below 100.

    The first column of each table names its rows.
    """
    table = tables[0]
    rows: list[Row] = []
    for each in tables:
        taken = {str(row["column"]) for row in rows}
        for place, column in enumerate(each.columns[1:], start=1):
            # the same model may lead two leagues
            name = f"{column.header} (other league)" if column.header in taken else column.header
            entries = [(row[0].text, row[place]) for row in each.rows]
            rows += [
                {"row": label, "column": name, "text": entry.text, "below": _below_100(entry)}
                for label, entry in entries
            ]
    names, order = (list(dict.fromkeys(row[key] for row in rows)) for key in ("column", "row"))
    most = max((float(row["below"]) for row in rows), default=0.0)
    x = alt.X(
        "column:N",
        sort=names,
        title=None,
        axis=alt.Axis(
            orient="top", labelAngle=-30, labelLimit=200, labelOverlap=False, domain=False, minExtent=_ROOM
        ),
    )
    y = alt.Y("row:N", sort=order, title=None, axis=alt.Axis(domain=False, labelLimit=200, minExtent=_ROOM))
    shade = alt.Color(
        "below:Q", scale=alt.Scale(scheme="oranges", domain=[0, 1.4 * most]), legend=None
    )  # dark text stays readable on the darkest square
    layers = layered(
        base().mark_rect(stroke="#ffffff").encode(x=x, y=y, color=shade),
        base().mark_text(fontSize=11, color="#1a1a1a").encode(x=x, y=y, text="text:N"),
    )
    size = (_SQUARE[0] * len(names), _SQUARE[1] * len(order))
    chart = draw(table.key, table.caption, table.caption, layers, rows, size=size)
    # In the report a chart adapts to the page; here each square has its size, and names their room.
    return picture(replace(chart, spec=chart.spec | {"autosize": {"type": "pad"}, "title": table.caption}))


def _below_100(entry: Entry) -> float:
    """0 where nothing was measured."""
    return 100 - float(entry.value) if entry.value else 0.0
