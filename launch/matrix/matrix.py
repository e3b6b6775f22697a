"""The matrix: lists of values for each axis, rules, and the cells that they make. No torch here.

    matrix = make_matrix({"dataset": "digits", "models": ["mlp"], "seeds": [0, 1]})
    cells = expand(matrix, num_processes=1)

A file is read by `launch/matrix/files.py`.
"""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

from pydantic import Field, PlainValidator, PrivateAttr, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from harness.cell import CellSpec, Precision, StrategyName
from harness.errors import UsageError
from harness.recipe import Recipe
from harness.recipes import DEFAULT_RECIPE
from launch.matrix.budget import BUDGET_PATTERN, Budget, parse_budget
from launch.matrix.cells import Expanded, expand_points
from launch.matrix.names import (
    COMPLETE,
    AugmentationName,
    DatasetName,
    ModelName,
    NumProcesses,
    OneOrMore,
    RecipeName,
    Seed,
    Text,
    near,
    refuse,
)
from launch.matrix.rules import CellValues, Exclude, Include, Match, Override, Part
from launch.matrix.strict_yaml import NO_FILE, Keys, Source, dotted


def _budget(value: Any) -> Budget:
    try:
        return parse_budget(value)
    except UsageError as error:
        raise refuse(str(error)) from None


_BUDGET_SCHEMA = {"type": "string", "pattern": BUDGET_PATTERN, "examples": ["2h", "1.5 PFLOP", "500 kJ"]}


class Matrix(CellValues):
    """A benchmark: axes, whose product is the cells; rules that change, add and leave out cells."""

    name: Text | None = None
    """A short name for people."""

    description: Text | None = None
    """What it is for, and what it costs."""

    dataset: OneOrMore[DatasetName] = ("digits",)
    """cifar10, digits or imagefolder:PATH; or a list of them."""

    models: tuple[ModelName, ...] = Field(default=("fast_cnn",), min_length=1)
    """Names of the registry, timm:NAME or torchvision:NAME."""

    augmentations: tuple[AugmentationName, ...] | None = Field(default=None, min_length=1)
    """Names, or operations joined by plus signs; null: the one that goes with each recipe."""

    recipes: tuple[RecipeName, ...] = Field(default=(DEFAULT_RECIPE,), min_length=1)
    """How models are trained."""

    precisions: tuple[Precision, ...] = Field(default=("bf16",), min_length=1)
    """Types that layers compute in."""

    processes: OneOrMore[NumProcesses] = (1,)
    """Processes that train one cell together; or a list of such numbers."""

    strategies: tuple[StrategyName, ...] | None = Field(default=None, min_length=1)
    """How processes share the work; null: single for one, ddp for more."""

    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    """Of all that is random in a training; several show how far results spread."""

    overrides: tuple[Override, ...] = ()
    """Other values for some cells, in this order: a later rule sees what an earlier one left."""

    include: tuple[Include, ...] = ()
    """Cells beside the product; no override changes them, and no exclude leaves them out."""

    exclude: tuple[Exclude, ...] = ()
    """Cells of the product that are left out."""

    budget: Annotated[Budget, PlainValidator(_budget), WithJsonSchema(_BUDGET_SCHEMA)] | None = None
    """What may be spent on all cells together: time, compute or energy."""

    _source: Source = PrivateAttr(default=NO_FILE)

    @property
    def source(self) -> Source:
        """Where its values stand."""
        return self._source


def make_matrix(values: dict[str, Any], source: Source = NO_FILE) -> Matrix:
    """Build a `Matrix`.

    Raises:
        UsageError: an axis is unknown, empty or of the wrong type; one line says which, and where.
    """
    try:
        matrix = Matrix.model_validate(values)
    except ValidationError as error:
        raise _first_problem(error, source) from None
    matrix._source = source
    return matrix


def with_overrides(matrix: Matrix, axes: dict[str, Any], settings: dict[str, Any]) -> Matrix:
    """The matrix with values from the command line, which count for every cell.

    A value replaces that of the matrix, and those of its overrides and of the cells it includes. An
    included cell that names another value than the command line on one of its axes is left out. Rules
    of a file that fit no cell any more are no error then, nor are its strategies that fit no number of
    processes.

    Args:
        matrix: of a file, or not.
        axes: values by field of `Matrix`.
        settings: values by field of the recipe.

    Raises:
        UsageError: a value is unknown or of the wrong type.
    """
    replaced = {*matrix.source.replaced, *axes, *(f"set.{name}" for name in settings)}
    source = Source(matrix.source.name, matrix.source.lines, frozenset(replaced))
    values = {name: getattr(matrix, name) for name in matrix.model_fields_set}
    return make_matrix(values | axes | {"set": matrix.set | settings}, source)


def expand(matrix: Matrix, num_processes: int) -> list[CellSpec]:
    """Every cell of the matrix once, all with so many processes.

    Raises:
        UsageError: see `expand_matrix`.
    """
    return expand_matrix(matrix.model_copy(update={"processes": (num_processes,)})).cells


def expand_matrix(matrix: Matrix) -> Expanded:
    """Every cell of the matrix once, the seeds of one configuration next to each other.

    Strategies and processes that do not fit each other (`single` is for one process, all others for
    two or more) make no cell where each of the two values makes another; a value that makes none at
    all is an error.

    Raises:
        UsageError: a value does not fit another, a rule fits no cell, no cell is left, or there are
            more than `MAX_CELLS`; the line says where the value stands.
    """
    return expand_points(matrix)


def _first_problem(error: ValidationError, source: Source) -> UsageError:
    """The first problem of a matrix in its file."""
    problems = [(_keys(problem), problem) for problem in error.errors(include_url=False)]
    keys, problem = min(problems, key=lambda each: source.line(each[0]))
    if problem["type"] == COMPLETE:
        return source.error(keys, problem["msg"])
    message = _message(keys, problem)
    if place := source.place(keys):
        return UsageError(f"{place}: {message}")
    about = keys[:-1] if problem["type"] in ("missing", "extra_forbidden") else keys
    return UsageError(": ".join(("matrix", dotted(about), message) if about else ("matrix", message)))


def _keys(problem: ErrorDetails) -> Keys:
    return tuple(part for part in problem["loc"] if part != "[key]")


def _message(keys: Keys, problem: ErrorDetails) -> str:
    key = keys[-1] if keys else ""
    if problem["type"] == "missing":
        return f"'{key}' is missing"
    if problem["type"] == "extra_forbidden":
        return _no_such_key(str(key), keys[:-1])
    expected = {
        "tuple_type": "expected a list",
        "too_short": "expected one value or more",
        "string_too_short": "expected some text",
        "dict_type": "expected a mapping",
        "model_type": "expected a mapping",
    }
    message = expected.get(problem["type"], problem["msg"])
    return f"{message}, not {textwrap.shorten(repr(problem['input']), 80)}"


def _no_such_key(key: str, where: Keys) -> str:
    parts: dict[str, type[Part]] = {
        "overrides": Override,
        "include": Include,
        "exclude": Exclude,
        "match": Match,
    }
    names = [name for name in where if isinstance(name, str)]
    part = parts.get(names[-1], Matrix) if names else Matrix
    if key in Recipe.model_fields and "set" in part.model_fields:
        return f"there is no '{key}': it is a field of the recipe, so write set: {{{key}: ...}}"
    return f"there is no '{key}': {near(key, part.model_fields)}"
