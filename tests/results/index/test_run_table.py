from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cell import CellSpec
from harness.datasets.base import DataProvenance
from harness.errors import UsageError
from harness.measurements import Measurements
from harness.recipe import Recipe
from harness.record import Environment, Failure, InEffect, ModelFacts, Record
from results.columns import COLUMNS
from results.derived import DerivedScores
from results.index.run_table import Numbers, RunTable, TextColumn, text_column
from results.robustness import RobustnessScores
from results.score import Score
from results.store import Scores

_PARTS: dict[str, type] = {
    "record": Record,
    "cell": CellSpec,
    "recipe": Recipe,
    "data": DataProvenance,
    "model": ModelFacts,
    "measurements": Measurements,
    "in_effect": InEffect,
    "environment": Environment,
    "failure": Failure,
    "scores": Scores,
    "score": Score,
    "derived": DerivedScores,
    "robustness": RobustnessScores,
}


@pytest.fixture
def table() -> RunTable:
    columns: dict[str, Numbers | TextColumn] = {
        "status": text_column(["finished", "failed", "finished"]),
        "model": text_column(["b", "a", "b"]),
        "seed": np.array([2, 10, np.nan]),
        "lr": np.array([0.1, -2.0, 1e-7]),
        "official": np.array([1, np.nan, 0]),
    }
    return RunTable(Path("runs"), columns, [], 0)


def test_texts_of_numbers_are_those_of_the_file(table: RunTable) -> None:
    assert table.texts("seed").tolist() == ["2", "10", ""]
    assert table.texts("lr").tolist() == ["0.1", "-2.0", "1e-07"]
    assert table.texts("official").tolist() == ["true", "", "false"]


def test_rows_are_selected_by_place_or_by_mask(table: RunTable) -> None:
    assert len(table) == 3
    assert table.select(table.is_finished).texts("model").tolist() == ["b", "b"]
    reversed_rows = table.select(np.array([2, 0]))
    assert np.array_equal(reversed_rows.numbers("seed"), [np.nan, 2], equal_nan=True)
    assert len(table.select(np.array([], dtype=int))) == 0


def test_ranks_sort_like_the_texts(table: RunTable) -> None:
    assert np.argsort(table.ranks("model"), kind="stable").tolist() == [1, 0, 2]


def test_a_column_that_is_not_there_is_named(table: RunTable) -> None:
    with pytest.raises(UsageError, match="did you mean model"):
        table.numbers("modell")
    with pytest.raises(ValueError, match="text"):
        table.numbers("model")


def test_the_kind_of_every_column_is_that_of_its_source() -> None:
    for column in COLUMNS:
        part, field = column.path.split(".")
        if part != "reasons":
            assert column.kind == _kind(_PARTS[part], field), column.name


def _kind(part: type, field: str) -> str:
    hints = typing.get_type_hints(part)
    hint: Any = hints.get(field) or typing.get_type_hints(getattr(part, field).fget)["return"]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (only,) = {each for each in options if each is not type(None)}
    return {bool: "flag", int: "integer", float: "number"}.get(only, "text")
