from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from results.compare.ties import group_letters, tie_groups


@st.composite
def _resolved(draw: st.DrawFn) -> tuple[int, set[tuple[int, int]]]:
    num_systems = draw(st.integers(1, 8))
    pairs = list(combinations(range(num_systems), 2))
    return num_systems, draw(st.sets(st.sampled_from(pairs))) if pairs else set()


@given(_resolved())
@settings(deadline=None)
def test_two_systems_share_a_group_exactly_when_they_are_not_resolved(
    case: tuple[int, set[tuple[int, int]]],
) -> None:
    num_systems, resolved = case
    groups = tie_groups(num_systems, resolved)

    for pair in combinations(range(num_systems), 2):
        assert any(set(pair) <= set(group) for group in groups) == (pair not in resolved)
    assert set().union(*groups) == set(range(num_systems))


@given(_resolved())
@settings(deadline=None)
def test_no_group_lies_inside_of_another(case: tuple[int, set[tuple[int, int]]]) -> None:
    groups = tie_groups(*case)

    assert not any(set(first) <= set(second) for first in groups for second in groups if first != second)
    assert len(set(groups)) == len(groups)


def test_a_chain_of_ties_is_not_one_group() -> None:
    groups = tie_groups(3, {(0, 2)})

    assert groups == [(0, 1), (1, 2)]
    assert group_letters(groups, 3) == ["a", "ab", "b"]


def test_no_systems_have_no_groups() -> None:
    assert tie_groups(0, set()) == []


def test_letters_go_on_after_z() -> None:
    letters = group_letters([(index,) for index in range(28)], 28)

    assert letters[25:] == ["z", "a1", "b1"]
