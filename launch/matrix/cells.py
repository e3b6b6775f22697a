"""From the points of a matrix to its cells, and to the value at fault where there is none. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from harness.cell import CellSpec, make_cell
from harness.errors import UsageError
from harness.recipe import Recipe
from harness.recipes import recipe_for, recipe_named
from launch.matrix.points import MAX_CELLS, Point, Shared, excluded_from, included_in, product_of
from launch.matrix.rules import AXES

if TYPE_CHECKING:
    from launch.matrix.matrix import Matrix


@dataclass(frozen=True)
class Expanded:
    """The cells of a matrix."""

    cells: list[CellSpec]
    excluded: list[tuple[CellSpec, str]]
    """Cells that a rule leaves out, each with the reason. What could not be a cell can be left out too,
    so these are not always valid."""


def expand_points(matrix: Matrix) -> Expanded:
    """See `launch.matrix.matrix.expand_matrix`."""
    source, maker = matrix.source, Maker(matrix)
    points = product_of(matrix)
    left_out = excluded_from(points, matrix)
    points = _grouped(point for point in points if point not in left_out) + included_in(matrix)
    if len(points) + len(left_out) > MAX_CELLS:
        raise source.error(("include",), f"more than {MAX_CELLS:,} cells: a matrix has no more than that")
    cells = list(dict.fromkeys(maker.cell(point) for point in points))
    if not cells:
        raise source.error(("exclude",), "no cell is left: every cell is excluded")
    excluded = {maker.excluded(point): reason for point, reason in left_out.items()}
    for cell in cells:
        excluded.pop(cell, None)  # it was named again
    return Expanded(cells, list(excluded.items()))


def _grouped(points: Iterable[Point]) -> list[Point]:
    """The seeds of one configuration next to each other."""
    groups: dict[Point, list[Point]] = {}
    for point in points:
        groups.setdefault(point._replace(seed=0), []).append(point)
    return list(chain.from_iterable(groups.values()))


class Maker:
    """Makes cells of points, and checks each configuration once: any seed goes with it."""

    def __init__(self, matrix: Matrix) -> None:
        self._source = matrix.source
        self._unsaid = type(matrix)()
        self._recipes: dict[tuple[str, str, Shared], Recipe] = {}
        self._configurations: dict[Point, CellSpec] = {}

    def cell(self, point: Point) -> CellSpec:
        """The cell of a point.

        Raises:
            UsageError: it cannot be one; the line says where the value at fault stands.
        """
        try:
            return self._cell(point, self._checked)
        except UsageError as error:
            raise self._blame(point, str(error)) from None

    def excluded(self, point: Point) -> CellSpec:
        """The cell of a point, even if it cannot be one.

        Raises:
            UsageError: its recipe cannot be one.
        """
        try:
            return self._cell(point, self._checked_if_possible)
        except UsageError as error:
            raise self._blame(point, str(error)) from None

    def _cell(self, point: Point, make: Callable[[Point], CellSpec]) -> CellSpec:
        configuration = point._replace(seed=0)
        if configuration not in self._configurations:
            self._configurations[configuration] = make(point)
        return self._configurations[configuration].model_copy(update={"seed": point.seed})

    def _checked(self, point: Point) -> CellSpec:
        if recipe_named(point.recipe).needs_weights and point.shared.settings.get("pretrained") is None:
            raise UsageError(
                f"recipe '{point.recipe}' is for models that start from weights: say --pretrained"
            )
        return make_cell(**self._values(point))

    def _checked_if_possible(self, point: Point) -> CellSpec:
        try:
            return self._checked(point)
        except UsageError:
            return CellSpec.model_construct(**self._values(point))

    def _values(self, point: Point) -> dict[str, Any]:
        key = point.model, point.recipe, point.shared
        if key not in self._recipes:
            self._recipes[key] = recipe_for(point.model, point.recipe, point.shared.recipe_fields)
        return point.shared.settings | {
            "dataset": point.dataset,
            "model": point.model,
            "augmentation": point.value("augmentation"),
            "recipe": self._recipes[key],
            "precision": point.precision,
            "strategy": point.value("strategy"),
            "num_processes": point.processes,
            "seed": point.seed,
        }

    def _blame(self, point: Point, message: str) -> UsageError:
        """The error, with the place of a value without which it would not be, or be another one."""
        places = point.shared.places
        names = sorted(
            places, key=lambda name: (name in AXES, not name.startswith("set."), name != "strategy")
        )
        left = {name: self._complaint(self._without(point, name)) for name in names}
        cures = [name for name in names if not left[name]]
        cures += [name for name in names if left[name] != message]
        keys, values = places[cures[0]] if cures else ((), ())
        position = (values.index(getattr(point, cures[0])),) if values else ()
        return self._source.error((*keys, *position), message + self._label(point))

    def _label(self, point: Point) -> str:
        """Which cell of a file it is, where it has got as far as a recipe."""
        try:
            label = CellSpec.model_construct(**self._values(point)).label()
        except UsageError:
            label = ""
        return f" (cell: {label})" if self._source.name and label else ""

    def _complaint(self, point: Point) -> str:
        try:
            self._checked(point)
        except UsageError as error:
            return str(error)
        return ""

    def _without(self, point: Point, name: str) -> Point:
        if name not in AXES:
            return point._replace(shared=point.shared.without(name))
        values = getattr(self._unsaid, AXES[name])
        unsaid: dict[str, Any] = {name: values[0] if values else None}
        return point._replace(**unsaid)
