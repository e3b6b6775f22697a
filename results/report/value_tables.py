"""Accuracy for compute in single numbers: NetScore, shares of GPipe, the fitted law, what weights decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.report.text import fixed, significant
from results.report.values import UNKNOWN, Column, Entry, Missing, Table
from results.store import one_line
from results.value.crossing import Crossing
from results.value.power_law import PowerLaw
from results.value.sensitivity import Sensitivity
from results.value.summary import Value

MAX_ROWS = 40
_NAME_LENGTH = 60


@dataclass(frozen=True)
class ValueNumbers:
    """What is said of one group of runs beside its charts."""

    numbers: Table
    law: str
    weights: Table | Missing
    weights_answer: str


def value_numbers(key: str, value: Value) -> ValueNumbers:
    """The numbers of one group.

    Args:
        key: unique in the report.
        value: of the group.
    """
    found = value.weighing.sensitivity
    return ValueNumbers(
        numbers=_numbers(key, value),
        law=_law(value.law),
        weights=Missing(f"No ranking by weights: {found}.")
        if isinstance(found, str)
        else _weights(key, value, found),
        weights_answer="" if isinstance(found, str) else _answer(value, found),
    )


def _numbers(key: str, value: Value) -> Table:
    """The cells of the highest NetScore."""
    peers, shares = value.peers, value.shares
    names = [peers.texts(name) for name in ("model", "augmentation", "precision", "cell_id")]
    order = np.argsort(-np.nan_to_num(value.net_scores, nan=-np.inf), kind="stable")[:MAX_ROWS]
    win = _win_percents(value)
    rows = []
    for place in order.tolist():
        texts = [str(column[place]) for column in names]
        crossing = value.crossings.get(place)
        figures = [float(value.net_scores[place]), float(100 - peers.errors_percent[place])]
        if shares is not None:
            columns = (shares.accuracy, shares.params, shares.forward_flops, shares.least_train_compute)
            figures += [float(column[place]) for column in columns]
        figures.append(crossing.pflop if isinstance(crossing, Crossing) else float("nan"))
        figures.append(win.get(place, float("nan")))
        rows.append(
            (
                Entry(one_line(texts[0], _NAME_LENGTH)),
                Entry(one_line(f"{texts[1]}, {texts[2]}", _NAME_LENGTH)),
                *(Entry(_figure(number, figure), _value(figure)) for number, figure in enumerate(figures)),
                Entry(texts[3]),
            )
        )
    gpipe = ("% of GPipe's accuracy", "its parameters", "its FLOPs per image", "its training FLOPs, at most")
    return Table(
        f"{key}-numbers",
        "Accuracy for compute, in single numbers; means over seeds",
        (
            Column("model", "text"),
            Column("cell", "text"),
            Column("NetScore, dB"),
            Column("accuracy, %"),
            *(Column(name) for name in (gpipe if shares is not None else ())),
            Column("PFLOP until above 70%"),
            Column("wins, % of weights"),
            Column("cell id", "cell"),
        ),
        tuple(rows),
        note=_numbers_note(value, len(rows)),
        is_sortable=True,
    )


def _numbers_note(value: Value, num_rows: int) -> str:
    note = (
        "NetScore: Wong 2018, arXiv 1806.05512. GPipe's accuracy and parameters are claims, its compute was "
        "counted from the architecture. PFLOP until above 70%: until the lower bound of the validation "
        "accuracy passed it. Wins: share of all weightings of error and costs under which the cell is first."
    )
    more = len(value.peers) - num_rows
    return f"{note} {more:,} more cells: python -m results value." if more else note


def _win_percents(value: Value) -> dict[int, float]:
    found = value.weighing.sensitivity
    if isinstance(found, str):
        return {}
    return dict(zip(value.weighing.candidates.tolist(), found.win_percent.tolist(), strict=True))


def _figure(number: int, figure: float) -> str:
    return fixed(figure) if number < 2 else significant(figure)


def _value(figure: float) -> str:
    return "" if np.isnan(figure) else repr(figure)


def _law(found: PowerLaw | str) -> str:
    if isinstance(found, str):
        return f"No law of error against compute: {found}."
    law, target = found.law, found.target
    floor = f" + {law.c:.3g}" if law.c else ""
    text = (
        f"Fitted law: error in % = {law.a:.3g} × PFLOP^-{law.b:.3g}{floor} (R² {found.r_squared:.2f}, "
        f"{found.num_cells} cells from {significant(found.min_pflop)} to "
        f"{significant(found.max_pflop)} PFLOP). "
    )
    if target.pflop is None:
        text += f"It never reaches {target.accuracy_percent:g}%."
    else:
        ends = [UNKNOWN if end is None else significant(end) for end in (target.low_pflop, target.high_pflop)]
        text += (
            f"It reaches {target.accuracy_percent:g}% at {significant(target.pflop)} PFLOP "
            f"(95% bootstrap interval {ends[0]} to {ends[1]})."
        )
    return f"{text} {found.warning}"


def _answer(value: Value, found: Sensitivity) -> str:
    winner = _name(value, found.winner)
    text = f"With the weights below {winner} comes first"
    if found.runner_up is None or found.margin_factor is None:
        return f"{text}; there is no other candidate."
    return (
        f"{text}; {_name(value, found.runner_up)} would have to improve by a factor of "
        f"{found.margin_factor:.3g} in everything at once to be level."
    )


def _weights(key: str, value: Value, found: Sensitivity) -> Table:
    rows = []
    for change in found.changes:
        turns = change.new_weight is not None and change.new_winner is not None
        rows.append(
            (
                Entry(change.criterion),
                Entry(fixed(100 * change.weight, 0)),
                Entry(fixed(None if change.new_weight is None else 100 * change.new_weight, 1)),
                Entry(
                    _name(value, change.new_winner)
                    if turns and change.new_winner is not None
                    else "no other one"
                ),
            )
        )
    left_out = "; ".join(f"{name}: {reason}" for name, reason in value.weighing.left_out.items())
    return Table(
        f"{key}-weights",
        "How far each weight must move for another cell to come first",
        (Column("criterion", "text"), Column("weight, %"), Column("turns at, %"), Column("who then", "text")),
        tuple(rows),
        note=f"Left out: {left_out}." if left_out else "",
    )


def _name(value: Value, candidate: int) -> str:
    place = value.weighing.candidates[candidate]
    texts = [str(value.peers.texts(name)[place]) for name in ("model", "augmentation", "precision")]
    return one_line(" · ".join(texts), _NAME_LENGTH)
