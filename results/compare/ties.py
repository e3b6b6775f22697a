"""Which of many systems the images cannot tell apart."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


def tie_groups(num_systems: int, resolved: AbstractSet[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The largest groups in which no pair is resolved; a system may be in several.

    Two systems share a group exactly when their difference is not resolved. It is the compact letter
    display of Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons",
    Journal of Computational and Graphical Statistics 13:456-466: begin with one group of all, split it at
    every resolved pair, drop what lies inside of another group.

    Args:
        num_systems: they are numbered from 0.
        resolved: pairs (i, j) with i < j whose difference is significant.

    Returns:
        Groups in rising order, each in rising order; a system resolved from all others is one of its own.
    """
    groups = [frozenset(range(num_systems))] if num_systems else []
    for first, second in sorted(resolved):
        split = [group for group in groups if first in group and second in group]
        if not split:
            continue
        kept = [group for group in groups if not (first in group and second in group)]
        for group in split:
            kept += [group - {first}, group - {second}]
        groups = _without_parts(kept)
    return sorted(tuple(sorted(group)) for group in groups)


def group_letters(groups: list[tuple[int, ...]], num_systems: int) -> list[str]:
    """The letters of every system, one for each of its groups: systems with a letter in common are tied."""
    letters = [""] * num_systems
    for index, group in enumerate(groups):
        for system in group:
            letters[system] += _letter(index)
    return letters


def _without_parts(groups: list[frozenset[int]]) -> list[frozenset[int]]:
    unique = sorted(set(groups), key=len, reverse=True)
    whole: list[frozenset[int]] = []
    for group in unique:
        if not any(group <= other for other in whole):
            whole.append(group)
    return whole


def _letter(index: int) -> str:
    """A to z, then a1 to z1, a2 to z2 and so on."""
    turn, place = divmod(index, 26)
    return chr(ord("a") + place) + (str(turn) if turn else "")
