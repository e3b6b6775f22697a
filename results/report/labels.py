"""Where the names in a chart stand, so that none covers another.

spread([91.0, 91.2, 55.0], gap=3.0)     # [89.6, 92.6, 55.0]: moved apart no more than needed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHARACTER_WIDTH = 6.6
"""Of the mean letter of a bold label, in pixels."""

LINE_HEIGHT = 14.0
_GAP = 7.0
"""From a point to its name."""

SIDES = ("left", "below", "above", "right")
"""In order of preference: the line of a front comes from above and leaves to the right."""


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Values moved apart to at least `gap`, in the same order, groups of near ones around their middle."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    # Each block is (sum of the wanted places of its first member, members); blocks that meet become one.
    blocks: list[tuple[float, list[int]]] = []
    for index in order:
        start, members = values[index], [index]
        while blocks and blocks[-1][0] + len(blocks[-1][1]) * gap > start:
            earlier, before = blocks.pop()
            num_before, num = len(before), len(members)
            start = (earlier * num_before + (start - num_before * gap) * num) / (num_before + num)
            members = before + members
        blocks.append((start, members))
    placed = [0.0] * len(values)
    for start, members in blocks:
        for number, index in enumerate(members):
            placed[index] = start + number * gap
    return placed


def choose_sides(
    points: Sequence[tuple[float, float]], names: Sequence[str], size: tuple[float, float]
) -> list[str]:
    """For each point the side on which its name covers no other name or point; "" where there is none.

    Args:
        points: in pixels from the top left; the first are the most important.
        names: one for each; those with an empty name only stand in the way.
        size: width and height in pixels, which names must not leave.
    """
    taken = [_Box(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    sides = []
    for index, ((x, y), name) in enumerate(zip(points, names, strict=True)):
        sides.append("")
        if not name:
            continue
        others = taken[:index] + taken[index + 1 :]
        for side in SIDES:
            box = _box(x, y, CHARACTER_WIDTH * len(name), side)
            inside = box.left >= 0 and box.right <= size[0] and box.top >= 0 and box.bottom <= size[1]
            if inside and not any(box.meets(other) for other in others):
                taken.append(box)
                sides[-1] = side
                break
    return sides


def room_for(names: Sequence[str], width: float) -> float:
    """By how much an axis of that width has to be longer for the longest name to stand beside its end."""
    longest = max(len(name) for name in names)
    return 1 / max(0.4, 1 - (CHARACTER_WIDTH * longest + 16) / width)


def offset(side: str) -> dict[str, Any]:
    """Properties of a text mark that stands on that side of its point."""
    return {
        "right": {"align": "left", "baseline": "middle", "dx": _GAP + 1},
        "left": {"align": "right", "baseline": "middle", "dx": -_GAP - 1},
        "above": {"align": "center", "baseline": "bottom", "dy": -_GAP},
        "below": {"align": "center", "baseline": "top", "dy": _GAP},
    }[side]


def _box(x: float, y: float, width: float, side: str) -> _Box:
    half = LINE_HEIGHT / 2
    if side == "right":
        return _Box(x + _GAP, y - half, x + _GAP + width, y + half)
    if side == "left":
        return _Box(x - _GAP - width, y - half, x - _GAP, y + half)
    top = y - _GAP - LINE_HEIGHT if side == "above" else y + _GAP
    return _Box(x - width / 2, top, x + width / 2, top + LINE_HEIGHT)
