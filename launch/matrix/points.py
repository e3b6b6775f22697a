"""From the axes and rules of a matrix to points, which are cells before they are checked. No torch here.

product of the axes -> overrides, in their order -> exclude; include is apart from them
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.recipes import recipe_named
from launch.matrix.rules import AXES, CellValues, Include, Match, Override
from launch.matrix.strict_yaml import Keys, Source

if TYPE_CHECKING:
    from launch.matrix.matrix import Matrix

MAX_CELLS = 100_000

Place = tuple[Keys, tuple[Any, ...]]
"""Where a value is said; of an axis the place of the list, and all values in it."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What many points have in common; two are the same only where they are one object."""

    settings: dict[str, Any]
    """Fields of the cell that are no axes, those that are said."""

    recipe_fields: dict[str, Any]
    places: dict[str, Place] = field(default_factory=dict)
    """By axis, by setting and, as in `set.lr`, by field of the recipe: those that are said."""

    def with_values(self, values: CellValues, keys: Keys, replaced: Iterable[str]) -> Shared:
        """The same with the values that a rule gives, unless the command line gave others."""
        settings = {name: value for name, value in values.settings().items() if name not in replaced}
        fields = {name: value for name, value in values.set.items() if f"set.{name}" not in replaced}
        places: dict[str, Place] = {name: ((*keys, name), ()) for name in settings}
        places |= {f"set.{name}": ((*keys, "set", name), ()) for name in fields}
        return Shared(self.settings | settings, self.recipe_fields | fields, self.places | places)

    def with_places(self, places: dict[str, Place]) -> Shared:
        """The same with values of axes said elsewhere."""
        return replace(self, places=self.places | places)

    def without(self, name: str) -> Shared:
        """The same with one value as if nobody had said it."""
        settings = {key: value for key, value in self.settings.items() if key != name}
        fields = {key: value for key, value in self.recipe_fields.items() if f"set.{key}" != name}
        return Shared(settings, fields, self.places)


class Point(NamedTuple):
    """A cell before it is checked; the axes are in the order of `AXES`."""

    dataset: str
    model: str
    recipe: str
    augmentation: str | None
    """None: the recipe's."""

    precision: str
    processes: int
    strategy: str | None
    """None: `single` for one process, `ddp` for more."""

    seed: int
    shared: Shared

    def value(self, axis: str) -> Any:
        """The value that the cell has on an axis."""
        value = getattr(self, axis)
        if value is None and axis == "augmentation":
            return recipe_named(self.recipe).augmentation
        if value is None and axis == "strategy":
            return "single" if self.processes == 1 else "ddp"
        return value

    def is_in(self, wanted: dict[str, tuple[Any, ...]]) -> bool:
        """Whether it has one of the wanted values on every axis that is named."""
        return all(self.value(axis) in values for axis, values in wanted.items())

    @property
    def fits(self) -> bool:
        """Whether the strategy is one for that number of processes."""
        return self.strategy is None or (self.strategy == "single") == (self.processes == 1)


def product_of(matrix: Matrix) -> list[Point]:
    """Every combination of the axes after the overrides; of strategies and processes those that fit.

    Raises:
        UsageError: there are too many, or an override fits none of them.
    """
    shared = shared_by_all(matrix)
    lists = {axis: tuple(dict.fromkeys(getattr(matrix, key) or (None,))) for axis, key in AXES.items()}
    _check_size(lists, matrix.source, ())
    points = [Point._make((*values, shared)) for values in product(*lists.values())]
    points = _fitting(points, matrix.source.replaced)
    for number, override in enumerate(matrix.overrides):
        points = _override(override, ("overrides", number), points, matrix.source)
    return points


def shared_by_all(matrix: Matrix) -> Shared:
    """What the points of the product share before any override, and the places of all that is said."""
    places: dict[str, Place] = {
        axis: ((key,), getattr(matrix, key)) for axis, key in AXES.items() if key in matrix.model_fields_set
    }
    said = {axis: place for axis, place in places.items() if place[1]}
    return Shared({}, {}, said).with_values(matrix, (), ())


def excluded_from(points: list[Point], matrix: Matrix) -> dict[Point, str]:
    """The points that a rule leaves out, with the reason of the first that does.

    Raises:
        UsageError: a rule fits none of the points.
    """
    excluded: dict[Point, str] = {}
    for number, rule in enumerate(matrix.exclude):
        wanted = rule.match.values()
        matching = [point for point in points if point.is_in(wanted)]
        if not matching:
            _refuse_idle(rule.match, points, matrix.source, ("exclude", number, "match"))
        for point in matching:
            excluded.setdefault(point, rule.reason)
    return excluded


def included_in(matrix: Matrix) -> list[Point]:
    """The points that are added to the product.

    Of a rule that names values on an axis which the command line replaced, those that it names too.

    Raises:
        UsageError: there are too many, or it is not clear which they are.
    """
    shared = shared_by_all(matrix)
    points = []
    for number, include in enumerate(matrix.include):
        points += _include(include, ("include", number), matrix, shared)
    return points


def _override(override: Override, keys: Keys, points: list[Point], source: Source) -> list[Point]:
    """The points after a rule: each that matches gives way to those with the values of the rule."""
    wanted = override.match.values()
    lists = {axis: each for axis, each in override.lists().items() if AXES[axis] not in source.replaced}
    places: dict[str, Place] = {axis: ((*keys, AXES[axis]), each) for axis, each in lists.items()}
    changed: dict[Shared, Shared] = {}
    result: dict[Point, None] = {}
    new: dict[Point, None] = {}
    for point in points:
        if not point.is_in(wanted):
            result[point] = None
            continue
        if point.shared not in changed:
            shared = point.shared.with_values(override, keys, source.replaced)
            changed[point.shared] = shared.with_places(places)
        for values in product(*lists.values()):
            other = point._replace(**dict(zip(lists, values, strict=True)), shared=changed[point.shared])
            result[other] = new[other] = None
        if len(result) > MAX_CELLS:
            raise _too_many(len(result), source, keys)
    if not new:
        _refuse_idle(override.match, points, source, (*keys, "match"))
    fitting = set(_fitting(list(new), source.replaced))
    return [point for point in result if point not in new or point in fitting]


def _include(include: Include, keys: Keys, matrix: Matrix, shared: Shared) -> list[Point]:
    replaced, said = matrix.source.replaced, include.values()
    shared = shared.with_values(include, keys, replaced)
    shared = shared.with_places({axis: ((*keys, axis), values) for axis, values in said.items()})
    lists: dict[str, tuple[Any, ...]] = {}
    for axis, key in AXES.items():
        values = getattr(matrix, key) or (None,)
        if axis not in said:
            lists[axis] = values
        else:
            lists[axis] = tuple(each for each in said[axis] if key not in replaced or each in values)
    _check_size(lists, matrix.source, keys)
    points = [Point._make((*values, shared)) for values in product(*lists.values())]
    if "strategy" not in said:  # which of several is clear where one of them fits
        points = [point for point in points if point.fits] or points
    for axis, key in AXES.items():
        values = tuple({getattr(point, axis): None for point in points})
        if axis not in said and key not in replaced and len(values) > 1:
            several = ", ".join(map(str, values))
            raise matrix.source.error(keys, f"say which {axis}: the matrix has several ({several})")
    return _fitting(points, replaced)


def _fitting(points: list[Point], replaced: Iterable[str]) -> list[Point]:
    """The points without those whose strategy is none for their number of processes.

    A strategy that fits no number of processes stays, to be refused as a cell, and so does a number
    that no strategy fits: unless it is the file's and the command line replaced the other of the two.
    """
    strategies = {point.strategy for point in points if point.fits}
    processes = {point.processes for point in points if point.fits}
    any_strategy = "processes" in replaced and "strategies" not in replaced
    any_number = "strategies" in replaced and "processes" not in replaced
    return [
        point
        for point in points
        if point.fits
        or not (any_strategy or point.strategy in strategies)
        or not (any_number or point.processes in processes)
    ]


def _refuse_idle(match: Match, points: list[Point], source: Source, keys: Keys) -> None:
    """A rule that fits no cell is a slip of the pen, unless the command line took its cells away."""
    if any(key in source.replaced for key in AXES.values()):
        return
    for axis, values in match.values().items():
        there = {point.value(axis) for point in points}
        if not there & set(values):
            wanted, names = " or ".join(map(str, values)), ", ".join(sorted(map(str, there)))
            raise source.error((*keys, axis), f"no cell has the {axis} {wanted}: there are {names}")
    raise source.error(keys, "fits no cell: there are these values, but no cell has all of them")


def _check_size(lists: dict[str, tuple[Any, ...]], source: Source, keys: Keys) -> None:
    num_cells = math.prod(map(len, lists.values()))
    if num_cells > MAX_CELLS:
        raise _too_many(num_cells, source, keys)


def _too_many(num_cells: int, source: Source, keys: Keys) -> Exception:
    return source.error(keys, f"{num_cells:,} cells: a matrix has {MAX_CELLS:,} at most")
