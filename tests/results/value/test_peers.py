from __future__ import annotations

import numpy as np
import pytest

from results.value.peers import peer_groups
from tests.results.value.conftest import TableFactory


def test_runs_of_other_data_or_another_league_are_another_group(make_table: TableFactory) -> None:
    table = make_table(
        {"model": "a"},
        {"model": "b", "data_fingerprint": "other"},
        {"model": "c", "test_fingerprint": "other"},
        {"model": "d", "league": "pre-trained"},
        {"model": "e", "dataset": "digits"},
        {"model": "f"},
    )
    groups = peer_groups(table)
    assert [peers.texts("model").tolist() for peers in groups] == [["a", "f"], ["b"], ["c"], ["d"], ["e"]]
    assert groups[3].league == "pre-trained"


def test_one_league_can_be_chosen(make_table: TableFactory) -> None:
    table = make_table({"model": "a"}, {"model": "b", "league": "pre-trained"})
    assert [peers.league for peers in peer_groups(table, "pre-trained")] == ["pre-trained"]


def test_failed_runs_are_left_out(make_table: TableFactory) -> None:
    assert peer_groups(make_table({"status": "failed"})) == ()


def test_seeds_of_a_cell_are_averaged_in_the_order_of_their_first(make_table: TableFactory) -> None:
    table = make_table(
        {"model": "z", "test_accuracy_percent": 90, "energy_j": 5},
        {"model": "a", "test_accuracy_percent": 80},
        {"model": "z", "test_accuracy_percent": 94},
        {"model": "z", "test_accuracy_percent": 92, "energy_j": 7, "clears_vendor_bar": 0},
    )
    (peers,) = peer_groups(table)
    assert peers.texts("model").tolist() == ["z", "a"]
    assert peers.num_seeds.tolist() == [3, 1]
    assert peers.errors_percent.tolist() == [8, 20]
    assert peers.first_rows.tolist() == [0, 1]
    assert peers.means("energy_j").tolist() == pytest.approx([6, np.nan], nan_ok=True)
    assert peers.clears_bar.tolist() == [False, True]


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.2},
        {"device": "a CPU"},
        {"weights_sha256": "1"},
        {"used_accumulation_steps": 2},
        {"epochs": 9},
    ],
)
def test_what_is_not_the_same_cell_is_not_pooled(make_table: TableFactory, change: dict[str, object]) -> None:
    base = {"lr": 0.1, "epochs": 8, "used_accumulation_steps": 1}
    (peers,) = peer_groups(make_table(base, base | change, base))
    assert peers.num_seeds.tolist() == [2, 1]
