"""A table with shaded squares as a picture, for pages that show no HTML.

svg = heat_map(corruption_table("corruptions", leaders))
"""

from __future__ import annotations

from dataclasses import replace

import altair as alt

from results.report.charts import Row, base, draw, layered, picture
from results.report.values import Table

_SQUARE = (76, 22)


def heat_map(table: Table) -> str:
    """An SVG of a table whose first column names the rows; the darker, the larger the shade of a square."""
    names = [column.header for column in table.columns[1:]]
    rows: list[Row] = [
        {"row": row[0].text, "column": name, "text": entry.text, "shade": entry.shade or 0.0}
        for row in table.rows
        for name, entry in zip(names, row[1:], strict=True)
    ]
    order = [row[0].text for row in table.rows]
    x = alt.X(
        "column:N",
        sort=names,
        title=None,
        axis=alt.Axis(orient="top", labelAngle=-30, labelLimit=200, labelOverlap=False, domain=False),
    )
    y = alt.Y("row:N", sort=order, title=None, axis=alt.Axis(domain=False, labelLimit=200))
    shade = alt.Color(
        "shade:Q", scale=alt.Scale(scheme="oranges", domain=[0, 1.4]), legend=None
    )  # dark text stays readable on the darkest square
    layers = layered(
        base().mark_rect(stroke="#ffffff").encode(x=x, y=y, color=shade),
        base().mark_text(fontSize=11, color="#1a1a1a").encode(x=x, y=y, text="text:N"),
    )
    size = (_SQUARE[0] * len(names), _SQUARE[1] * len(order))
    chart = draw(table.key, table.caption, table.caption, layers, rows, size=size)
    # In the report a chart adapts to the page; here each square has its size, and names their room.
    return picture(replace(chart, spec=chart.spec | {"autosize": {"type": "pad"}, "title": table.caption}))
