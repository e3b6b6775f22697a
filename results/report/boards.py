"""Runs that may be ranked together: of one set of data and one league, the best value first."""

from __future__ import annotations

from dataclasses import dataclass

from results.index.run_table import RunTable
from results.leaderboard.ranking import RANKING_COLUMNS, grouped, order_of
from results.store import one_line
from results.value.peers import Peers

CIFAR10_TEST_IMAGES = 10_000

_KEY = ("dataset", "data_fingerprint", "test_fingerprint", "league")
COLUMNS = (*_KEY, *RANKING_COLUMNS)
"""Of results.csv, that `boards_of` reads."""


@dataclass(frozen=True)
class Board:
    """The finished runs of one set of data and one league."""

    key: str
    """Unique in the report."""

    table: RunTable
    """Not empty; those that clear the vendor's bar first, then by accuracy for compute, best first."""

    @property
    def dataset(self) -> str:
        """As the cells name it."""
        return one_line(str(self.table.texts("dataset")[0]), 80)

    @property
    def fingerprint(self) -> str:
        """Of the data, its first digits."""
        return str(self.table.texts("data_fingerprint")[0])

    @property
    def league(self) -> str:
        """From scratch or pre-trained."""
        return str(self.table.texts("league")[0])

    @property
    def num_test_images(self) -> int:
        """That every accuracy is over."""
        return int(self.table.numbers("num_test_images")[0])

    @property
    def is_official(self) -> bool:
        """Whether the data are byte for byte the published ones."""
        return bool(self.table.numbers("official")[0] == 1)

    @property
    def is_cifar10(self) -> bool:
        """Whether the claims are about data of this kind."""
        return str(self.table.texts("data_kind")[0]) == "cifar10"

    @property
    def is_claimed_test_set(self) -> bool:
        """Whether the claims are about these very test images."""
        return self.is_cifar10 and self.is_official and self.num_test_images == CIFAR10_TEST_IMAGES

    def is_of(self, group: Peers) -> bool:
        """Whether these are the runs of a group of `results/value`."""
        row = int(group.first_rows[0])
        return all(self.table.texts(name)[0] == group.table.texts(name)[row] for name in _KEY)

    @property
    def title(self) -> str:
        """What is ranked."""
        kind = "official files" if self.is_official else "files that are not the official ones"
        return (
            f"{self.dataset}, {self.league}: {self.num_test_images:,} test images "
            f"({kind}, fingerprint {self.fingerprint})"
        )


def boards_of(table: RunTable) -> tuple[Board, ...]:
    """Split the finished runs by data and league, in the order of the leaderboard."""
    return tuple(
        Board(f"board{number}", group.select(order_of(group, [])))
        for number, group in enumerate(grouped(table), start=1)
    )
