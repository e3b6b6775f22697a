"""Cells on the rungs of successive halving; `launch/pruning.py` decides who goes on. No torch here."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TypeVar

from harness.cell import CellSpec

NUM_RUNGS = 3
LAST = NUM_RUNGS - 1

Key = tuple[float, int]
"""Score, negated, and place in the order of the cells: sorts the best first."""

_Item = TypeVar("_Item", int, Key)


@dataclass
class Rung:
    """The cells of one group after the same share of their training, the best first."""

    scored: list[Key] = field(default_factory=list)
    not_promoted: list[Key] = field(default_factory=list)

    def place(self, key: Key) -> int:
        """From 0, the best."""
        return bisect.bisect_left(self.scored, key)

    def remove(self, key: Key) -> None:
        """Forget a cell."""
        for keys in (self.scored, self.not_promoted):
            take_out(keys, key)


@dataclass
class Contender:
    """How far a cell is."""

    cell: CellSpec
    order: int
    rungs: list[Rung]
    """Of its group."""

    epochs_at: dict[int, int]
    """Epochs completed at each of its rungs, by the number of the rung."""

    epoch: int = 0
    goal: int | None = None
    """The highest rung that it may be trained to; None: it is new."""

    is_out: bool = False
    """A job of it has been given out, and nothing been heard of it since."""

    goal_before: int | None = None
    """Before that job was given out."""

    is_filling: bool = False
    """It goes on to its end without having been promoted, and is not compared on the way."""

    scores: dict[int, float] = field(default_factory=dict)

    @property
    def cell_id(self) -> str:
        """Of the cell."""
        return self.cell.cell_id

    @property
    def goal_epoch(self) -> int:
        """Epochs completed when it has reached its goal."""
        return 0 if self.goal is None else self.epochs_at[self.goal]

    def next_goal(self) -> int:
        """The goal of its next job: the one that it has, or the rung after that."""
        if self.goal is not None and self.epoch < self.goal_epoch:
            return self.goal
        return min(number for number in self.epochs_at if self.goal is None or number > self.goal)

    def key(self, rung: int) -> Key:
        """By which it is sorted on a rung where it has a score."""
        return -self.scores[rung], self.order


def epochs_by_rung(epochs: int, eta: int) -> dict[int, int]:
    """Epochs completed at each rung, rounded up; of rungs that fall on the same epoch the highest counts."""
    at = [-(-epochs // eta ** (LAST - number)) for number in range(NUM_RUNGS)]
    return {number: at[number] for number in range(NUM_RUNGS) if at[number] not in at[number + 1 :]}


def take_out(items: list[_Item], item: _Item) -> None:
    """Remove an item from a sorted list, if it is there."""
    place = bisect.bisect_left(items, item)
    if place < len(items) and items[place] == item:
        del items[place]
