"""What sections of the report are made of: plain values, none of which knows HTML.

A section that cannot be shown is a `Missing` with the sentence that says why.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

UNKNOWN = "—"
"""Shown where a figure is missing; never 0."""

_NOT_IN_ANCHORS = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Missing:
    """Why a section has nothing to show."""

    reason: str


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    header: str
    kind: Literal["text", "number", "cell"] = "number"
    """Numbers stand on the right; `cell` is a cell id, which leads to where its figures come from."""

    source: str = ""
    """The column of results.csv that the figures are from; empty where there is none."""


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table."""

    text: str
    value: str = ""
    """The unrounded figure, which the column is sorted by; empty where it is missing or the text is all."""

    shade: float | None = None
    """Strength of the colour behind it, 0 to 1; None: no colour."""

    is_bad: bool = False
    """Whether that colour is the one for errors."""


@dataclass(frozen=True)
class Table:
    """A table; the first column names its rows."""

    key: str
    """Unique in the report."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    claims: tuple[tuple[Entry, ...], ...] = ()
    """Rows about systems that were not measured here; they stand at the foot, whatever it is sorted by."""

    note: str = ""
    is_sortable: bool = False
    is_matrix: bool = False
    """Whether it is a picture of shaded squares, set tight."""

    cell_ids: tuple[str, ...] = ()
    """The runs that all figures are from, where no column says it for each row."""


@dataclass(frozen=True)
class Chart:
    """A chart, as an interactive specification and as a picture that needs no script."""

    key: str
    """Unique in the report."""

    title: str
    description: str
    """In place of the picture, for those who do not see it."""

    spec: dict[str, Any]
    """Vega-Lite, its data included; colours are custom properties of the style sheet."""

    svg: str
    table: Table | None
    """The same as figures; None where a table beside it has them already."""

    note: str = ""
    cell_ids: tuple[str, ...] = ()
    """The runs that are drawn, where they are few."""


def cell_anchor(cell_id: str) -> str:
    """The id of the element that says where the figures of a cell come from."""
    anchor = _NOT_IN_ANCHORS.sub("-", cell_id)
    if anchor != cell_id:  # two ids must not become one
        anchor += "-" + hashlib.sha256(cell_id.encode(errors="replace")).hexdigest()[:8]
    return f"cell-{anchor}"
