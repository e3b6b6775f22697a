"""From an Altair chart and its data to a `Chart`: one look for all of them, and a picture without script.

Rows of data are put into the specification after Altair has checked it: they are ours, and checking each
of thousands takes longer than drawing them. Text from records is only ever a value in such a row or in the
domain of a scale; no expression is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from results.report.palette import Palette, colour, in_light
from results.report.values import Chart, Table

Row = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
HIGHLIGHT = "highlight"
"""The parameter that holds the model which the reader picked in a legend; empty for none."""

IS_CHECKED = False
"""Whether Altair holds every part against its schema, as the tests do: it takes longer than all the rest."""

_IDS = re.compile(r'(id="|url\(#)((?:clip|gradient_)\d+)')
_DATA = "rows"


def draw(
    key: str,
    title: str,
    description: str,
    chart: alt.LayerChart,
    rows: Sequence[Row],
    *,
    size: tuple[int, int] = (560, 300),
    table: Table | None = None,
    note: str = "",
    cell_ids: Sequence[str] = (),
) -> Chart:
    """Draw a chart of named data `rows`.

    Args:
        key: unique in the report.
        title: what there is to see.
        description: in place of the picture, for those who do not see it.
        chart: made of `base()`.
        rows: its data.
        size: width and height of what is inside of the axes, in pixels; in the report the width adapts.
        table: the same as figures.
        note: a line below.
        cell_ids: the runs that are drawn, where they are few.
    """
    spec = chart.properties(width=size[0], height=size[1]).to_dict(validate=IS_CHECKED)
    spec |= {
        "config": CONFIG,
        "datasets": spec.get("datasets", {}) | {_DATA: list(rows)},
        "background": None,
        "description": description,
    }
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    svg = _IDS.sub(rf"\1{key}-\2", vl_convert.vegalite_to_svg(spec))
    return Chart(key, title, description, spec, svg, table, note, tuple(cell_ids))


def picture(chart: Chart) -> str:
    """The chart as an SVG file of its own, in the light colours."""
    spec = in_light(chart.spec) | {"background": "#ffffff", "padding": 10}
    return str(vl_convert.vegalite_to_svg(spec))


def drawing() -> AbstractContextManager[None]:
    """Where charts are made: Altair checks their parts, or not, by `IS_CHECKED`."""
    return debug_mode(IS_CHECKED)


def base() -> alt.Chart:
    """A chart of the named data."""
    return alt.Chart(alt.NamedData(name=_DATA))


def inline(rows: Sequence[Row]) -> alt.Chart:
    """A chart of a few rows of its own, such as a line at a fixed place."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def layered(*layers: alt.Chart | alt.LayerChart) -> alt.LayerChart:
    """Charts on top of each other, the last in front."""
    return alt.LayerChart(layer=list(layers))


def highlight() -> alt.Parameter:
    """The model that the reader picked."""
    return alt.param(name=HIGHLIGHT, value="")


def faded_unless_picked(shown: float = 1.0) -> Any:
    """Opacity of a mark: faint while another model is picked."""
    is_shown = f"{HIGHLIGHT} == '' || datum.look == {HIGHLIGHT}"
    return alt.condition(is_shown, alt.value(shown), alt.value(0.12))


def model_colour(palette: Palette, names: Sequence[str]) -> alt.Color:
    """The colour of the field `look`, a model or the name of all others."""
    return alt.Color("look:N", legend=None).scale(
        domain=list(names), range=_of(palette, palette.colours, names)
    )


def model_shape(palette: Palette, names: Sequence[str]) -> alt.Shape:
    """The shape of the field `look`."""
    return alt.Shape("look:N", legend=None).scale(
        domain=list(names), range=_of(palette, palette.shapes, names)
    )


def looks(palette: Palette, rows: Sequence[Row]) -> list[str]:
    """Which looks occur, in the order of the palette."""
    present = {row["look"] for row in rows if "look" in row}
    return [name for name in palette.names if name in present]


def _of(palette: Palette, values: list[str], names: Sequence[str]) -> list[str]:
    return [values[palette.names.index(name)] for name in names]


CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": colour("muted"),
        "titleColor": colour("muted"),
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 11,
        "titlePadding": 8,
        "gridColor": colour("rule"),
        "domainColor": colour("rule"),
        "tickColor": colour("rule"),
        "labelOverlap": "greedy",
    },
    "text": {"fontSize": 11, "fill": colour("ink"), "font": FONT},
    "rule": {"color": colour("muted")},
}
