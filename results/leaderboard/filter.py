"""Conditions on runs, as they stand on a command line: `model=resnet18`, `total_train_pflop<=0.5`.

kept = filtered(table, [parse_condition("seed<3")])
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, unknown_name
from results.columns import COLUMNS
from results.index.run_table import RunTable, kind_of

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_FLAGS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Condition:
    """What a column of a run is compared with."""

    column: str
    sign: str
    value: str | float
    """Text for a column of texts; "" to ask whether anything is there."""


def parse_condition(text: str) -> Condition:
    """Read one condition.

    Raises:
        UsageError: it is none, or its column or its value cannot be.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"filter '{text}': expected COLUMN=VALUE, or <, >, <=, >= or != instead of =")
    column, sign, value = match.groups()
    check_column(column)
    if value == "":
        if sign not in ("=", "!="):
            raise UsageError(f"filter '{text}': a value is missing after {sign}")
        return Condition(column, sign, value)
    return Condition(column, sign, _value(text, column, value))


def check_column(name: str, further: Sequence[str] = ()) -> None:
    """Refuse what is no column of `results.csv`, nor one of `further`.

    Raises:
        UsageError: it names the nearest ones.
    """
    names = [*(column.name for column in COLUMNS), *further]
    if name not in names:
        raise unknown_name("column", name, names)


def filtered(table: RunTable, conditions: Sequence[Condition]) -> RunTable:
    """The runs that meet all conditions; where a value is missing only `COLUMN=` is met."""
    keep = np.ones(len(table), dtype=np.bool_)
    for condition in conditions:
        keep &= _meets(table, condition)
    return table if keep.all() else table.select(keep)


def _value(text: str, column: str, value: str) -> str | float:
    kind = kind_of(column)
    if kind == "text":
        return value
    if kind == "flag":
        if value.lower() not in _FLAGS:
            raise UsageError(f"filter '{text}': {column} is true or false")
        return _FLAGS[value.lower()]
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"filter '{text}': {column} is a number, and '{value}' is none")
    return number


def _meets(table: RunTable, condition: Condition) -> NDArray[np.bool_]:
    values: NDArray[Any]
    if kind_of(condition.column) == "text":
        values = table.texts(condition.column)
        is_there: NDArray[np.bool_] = values != ""
    else:
        values = table.numbers(condition.column)
        is_there = ~np.isnan(values)
    if condition.value == "":
        return ~is_there if condition.sign == "=" else is_there
    met: NDArray[np.bool_] = _OPERATORS[condition.sign](values, condition.value).astype(np.bool_)
    return met & is_there
