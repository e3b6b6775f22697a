from __future__ import annotations

from harness.corruptions.names import EXTRA, GROUPS, MAIN
from harness.corruptions.registry import CORRUPTIONS


def test_there_are_fifteen_in_four_groups_and_four_more() -> None:
    assert len(MAIN) == 15
    assert len(EXTRA) == 4
    assert [len(names) for names in GROUPS.values()] == [3, 4, 4, 4, 4]


def test_the_corruptions_are_in_the_order_of_the_paper() -> None:
    assert tuple(CORRUPTIONS) == MAIN + EXTRA


def test_every_corruption_is_in_its_group() -> None:
    assert all(name in GROUPS[corruption.group] for name, corruption in CORRUPTIONS.items())
