"""The most accurate run of each league, and its shares of GPipe.

for best in best_of_leagues(load_table(folder, BEST_COLUMNS)):
    best.league, best.accuracy_percent, best.compute_share_at_most
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.index.run_table import RunTable
from results.value.peers import PEER_COLUMNS, Peers, peer_groups
from results.value.ratios import gpipe_shares

BEST_COLUMNS = (
    *PEER_COLUMNS,
    "val_accuracy_percent",
    "test_accuracy_low_percent",
    "test_accuracy_high_percent",
    "total_train_pflop",
    "num_params",
    "forward_flops_per_image",
    "train_flops_per_image",
    "share_of_gpipe_accuracy_percent",
    "share_of_gpipe_params_percent",
)


@dataclass(frozen=True)
class Best:
    """One run; shares are in percent of GPipe's."""

    dataset: str
    league: str
    model: str
    augmentation: str
    cell_id: str
    accuracy_percent: float
    low_percent: float
    high_percent: float
    num_params: float
    train_pflop: float
    accuracy_share: float
    params_share: float
    compute_share_at_most: float | None
    """Of a lower bound of GPipe's training compute; None where it has no meaning, see `gpipe_shares`."""


def best_of_leagues(table: RunTable) -> list[Best]:
    """For each data set and league, the run of highest accuracy on its validation images.

    Chosen by test accuracy, its test accuracy would look better than it is. Runs that held out no images
    are not chosen.
    """
    groups = sorted(
        peer_groups(table), key=lambda peers: (peers.dataset, peers.data_fingerprint, peers.league)
    )
    return [_best(peers) for peers in groups if np.isfinite(_validated(peers)).any()]


def _validated(peers: Peers) -> NDArray[np.float64]:
    """Accuracy of each run on its validation images; NaN where it has none."""
    return peers.table.numbers("val_accuracy_percent")[peers.rows]


def _best(peers: Peers) -> Best:
    run = int(np.nanargmax(_validated(peers)))
    place, shares = peers.rows[run], gpipe_shares(peers)
    compute = float("nan") if shares is None else float(shares.least_train_compute[peers.places[run]])

    def number(name: str) -> float:
        return float(peers.table.numbers(name)[place])

    def text(name: str) -> str:
        return str(peers.table.texts(name)[place])

    return Best(
        peers.dataset,
        peers.league,
        text("model"),
        text("augmentation"),
        text("cell_id"),
        number("test_accuracy_percent"),
        number("test_accuracy_low_percent"),
        number("test_accuracy_high_percent"),
        number("num_params"),
        number("total_train_pflop"),
        number("share_of_gpipe_accuracy_percent"),
        number("share_of_gpipe_params_percent"),
        None if np.isnan(compute) else compute,
    )
