"""What is said of a chart of costs, in words and as a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.index.run_table import RunTable
from results.report.text import fixed, listed, significant
from results.report.values import UNKNOWN, Column, Entry, Table
from results.store import one_line
from results.value.views import View

MAX_FRONT_ROWS = 50
NAME_LENGTH = 60
SEED = 0
"""Of the sample of cells that is drawn beside the front."""

Places = NDArray[np.int64]


def description_of(table: RunTable, view: View, front: Places, num_known: int) -> str:
    """In place of the picture."""
    models = [one_line(str(model), NAME_LENGTH) for model in table.select(view.rows[front]).texts("model")]
    named = dict(zip(front.tolist(), models, strict=True))
    ends = [
        f"{named[place]} at {view.errors_percent[place]:.2f}% error and "
        f"{significant(float(view.costs[place]))} {view.unit}"
        for place in dict.fromkeys((int(front[0]), int(front[-1])))
    ]
    text = (
        f"Error in percent against {view.title} of {num_known:,} cells. {len(front):,} of them no other one "
        f"beats in both, from {' to '.join(ends)}."
    )
    if view.claims:
        text += f" Claims: {listed([point.reference.name for point in view.claims])}."
    return text


def table_of(key: str, table: RunTable, view: View, front: Places) -> Table:
    """The front as figures."""
    shown = front[:MAX_FRONT_ROWS]
    cells = table.select(view.rows[shown])
    columns = [cells.texts(name).tolist() for name in ("model", "augmentation", "precision", "cell_id")]
    rows = tuple(
        (
            Entry(one_line(model, NAME_LENGTH)),
            Entry(one_line(f"{augmentation}, {precision}", NAME_LENGTH)),
            Entry(significant(cost), repr(cost)),
            Entry(fixed(error), repr(error)),
            Entry(cell_id),
        )
        for model, augmentation, precision, cell_id, cost, error in zip(
            *columns, view.costs[shown].tolist(), view.errors_percent[shown].tolist(), strict=True
        )
    )
    claims = tuple(
        (
            Entry(f"claim: {point.reference.name}"),
            Entry(point.how),
            Entry(significant(point.cost)),
            Entry(fixed(point.error_percent)),
            Entry(UNKNOWN),
        )
        for point in view.claims
    )
    more = len(front) - len(rows)
    return Table(
        f"{key}-data",
        f"Cells that no other one beats in both error and {view.title}",
        (
            Column("model", "text"),
            Column("cell", "text"),
            Column(f"{view.title}, {view.unit}"),
            Column("error, %"),
            Column("cell id", "cell"),
        ),
        rows,
        claims=claims,
        note=f"From the column {view.column} of results.csv."
        + (f" {more:,} more cells are on the front." if more else ""),
    )


def note_of(view: View, num_known: int, num_others: int, num_drawn: int) -> str:
    """What is drawn, and what is not."""
    parts = ["Line: cells that no other one beats in both; means over seeds."]
    if num_known < len(view.rows):
        parts.append(f"{len(view.rows) - num_known:,} of {len(view.rows):,} cells have no such figure.")
    if num_drawn < num_others:
        parts.append(
            f"Beside the line a random sample of {num_drawn:,} of {num_others:,} cells is drawn "
            f"(seed {SEED})."
        )
    hows = dict.fromkeys(
        f"{point.reference.name}: {point.how}" for point in view.claims if point.how != "claim"
    )
    return " ".join([*parts, *(f"{how}." for how in hows)])
