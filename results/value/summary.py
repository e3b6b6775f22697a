"""Every view of what one group of runs is worth, side by side.

table = load_table(Path("runs"), VALUE_COLUMNS)
for peers in peer_groups(table):
    value = value_of(peers)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.record import read_record
from results.score import vendor_bar_percent
from results.value.crossing import Crossing, crossing_of
from results.value.peers import Peers
from results.value.power_law import PowerLaw, fit_power_law
from results.value.ratios import GPipeShares, gpipe_shares, net_scores
from results.value.sensitivity import Sensitivity, sensitivity_of
from results.value.views import VIEW_COLUMNS, View, views_of

VALUE_COLUMNS = VIEW_COLUMNS
"""What a table needs for all of this."""

MAX_HISTORIES = 1000
"""Records that are read for their history; of more cells only those on a front."""

ERROR_WEIGHT = 0.5
"""Of the test error in the weighted score; the costs share the rest equally."""


@dataclass(frozen=True, eq=False)
class Weighing:
    """The weighted score over the test error and every cost that all candidates have."""

    candidates: NDArray[np.int64]
    """Places of the cells that clear the vendor's bar; all cells where none does."""

    sensitivity: Sensitivity | str
    """Or why there is none."""

    left_out: dict[str, str]
    """Costs that are no criterion, with the reason."""

    num_floored: int
    """Candidates without a wrong test image, whose error counts as half an image: 0 has no logarithm."""


@dataclass(frozen=True, eq=False)
class Value:
    """What the M cells of one group are worth; all arrays are in the order of `peers`."""

    peers: Peers
    views: tuple[View, ...]
    price_per_hour: float | None
    """Of one device, in dollars; None where none was given."""

    net_scores: NDArray[np.float64]
    shares: GPipeShares | None
    """None on data other than CIFAR-10."""

    crossings: dict[int, Crossing | str]
    """By the place of the cell, of its first seed: when it passed the bar, or why that is not known."""

    law: PowerLaw | str
    """Of error against training compute, or why there is none."""

    weighing: Weighing

    @property
    def front(self) -> NDArray[np.int64]:
        """Places of the cells that are on the front of any view."""
        return np.flatnonzero(_on_any_front(self.peers, self.views))


def value_of(peers: Peers, price_per_hour: float | None = None, seed: int = 0) -> Value:
    """Look at one group in every way.

    Args:
        peers: of a table with `VALUE_COLUMNS`.
        price_per_hour: of one device, in dollars; None: no view of dollars.
        seed: of the bootstrap and of the sampled weights.
    """
    views = views_of(peers, price_per_hour)
    means, errors = peers.means, peers.errors_percent
    return Value(
        peers=peers,
        views=views,
        price_per_hour=price_per_hour,
        net_scores=net_scores(100 - errors, means("num_params"), means("forward_flops_per_image")),
        shares=gpipe_shares(peers),
        crossings=_crossings(peers, views),
        law=fit_power_law(means("total_train_pflop"), errors, seed=seed),
        weighing=_weigh(peers, views, seed),
    )


def _on_any_front(peers: Peers, views: tuple[View, ...]) -> NDArray[np.bool_]:
    rows = [view.rows[view.front] for view in views]
    return np.isin(peers.first_rows, np.concatenate(rows))


def _crossings(peers: Peers, views: tuple[View, ...]) -> dict[int, Crossing | str]:
    """Read the histories, of all cells or of those on a front."""
    places = np.arange(len(peers))
    if len(places) > MAX_HISTORIES:
        places = np.flatnonzero(_on_any_front(peers, views))[:MAX_HISTORIES]
    cell_ids = peers.texts("cell_id")
    bar = vendor_bar_percent()
    found: dict[int, Crossing | str] = {}
    for place in places.tolist():
        record = read_record(peers.table.folder / cell_ids[place])
        found[place] = "the record is gone" if record is None else crossing_of(record, bar)
    return found


def _weigh(peers: Peers, views: tuple[View, ...], seed: int) -> Weighing:
    clears = peers.clears_bar
    candidates = np.flatnonzero(clears) if clears.any() else np.arange(len(peers))
    errors, half_image = peers.errors_percent[candidates], 50 / peers.num_test_images
    names, columns, left_out = ["test error"], [np.maximum(errors, half_image)], {}
    for view in views:
        if len(view.rows) < len(peers):
            left_out[view.title] = "the cells ran on different devices"
            continue
        costs = view.costs[candidates]
        if view.reason is not None:
            left_out[view.title] = view.reason
        elif num_useless := int(np.count_nonzero(~(np.isfinite(costs) & (costs > 0)))):
            left_out[view.title] = f"0 or unknown for {num_useless:,} of {len(costs):,} candidates"
        else:
            names.append(view.title)
            columns.append(costs)
    weights = np.full(len(names), (1 - ERROR_WEIGHT) / max(1, len(names) - 1))
    weights[0] = ERROR_WEIGHT
    found = sensitivity_of(tuple(names), np.stack(columns, axis=1), weights, seed)
    return Weighing(candidates, found, left_out, int(np.count_nonzero(errors < half_image)))
