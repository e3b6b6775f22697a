"""Test error against each kind of cost, each with the cells that no other one beats.

    for view in value_views(load_table(Path("runs"))):
        print(view.title, view.unit, view.costs[view.front], view.errors_percent[view.front])

Latency, memory, energy and dollars depend on the machine, so each of these views has the cells of one
kind of device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from results.index.run_table import RunTable
from results.references import Reference, load_references
from results.value.pareto import pareto_front
from results.value.peers import PEER_COLUMNS, Peers, peer_groups

ViewKey = Literal[
    "train_compute", "inference_compute", "parameters", "memory", "latency", "energy", "dollars"
]


@dataclass(frozen=True)
class _Kind:
    title: str
    unit: str
    columns: tuple[str, ...]
    """Of `results.csv`; of several the first that the device has."""

    scale: float = 1.0
    on_one_device: bool = False


_KINDS: dict[ViewKey, _Kind] = {
    "train_compute": _Kind("training compute", "PFLOP", ("total_train_pflop",)),
    "inference_compute": _Kind("inference compute", "GFLOP / image", ("forward_flops_per_image",), 1e-9),
    "parameters": _Kind("parameters", "million", ("num_params",), 1e-6),
    "memory": _Kind("peak memory", "MiB", ("peak_allocated_mib", "peak_resident_mib"), on_one_device=True),
    "latency": _Kind("latency, one image", "ms", ("latency_batch1_p50_ms",), on_one_device=True),
    "energy": _Kind("energy of the run", "kJ", ("energy_j",), 1e-3, on_one_device=True),
    "dollars": _Kind("price of training", "dollars", ("train_time_s",), on_one_device=True),
}

VIEW_COLUMNS = (
    *PEER_COLUMNS,
    *(name for kind in _KINDS.values() for name in kind.columns),
    "train_flops_per_image",
    "first_step_time_s",
)
"""What `value_views` reads of a table."""


@dataclass(frozen=True)
class ClaimPoint:
    """A system that was not trained here, in a view: never on the front, and never measured."""

    reference: Reference
    cost: float
    error_percent: float
    how: str
    """What the cost is: the source's own figure, or counted from the architecture."""


@dataclass(frozen=True, eq=False)
class View:
    """M cells of one league on one data set: what each costs, how often it errs, which are on the front."""

    key: ViewKey
    title: str
    unit: str
    column: str
    """Of `results.csv`: where the cost comes from."""

    dataset: str
    league: str
    data_fingerprint: str
    device: str
    """Empty where the cost does not depend on it."""

    rows: NDArray[np.int64]
    """[M], the row of the table of each cell's first seed."""

    costs: NDArray[np.float64]
    """[M], mean over the seeds, in `unit`; NaN where it was not measured."""

    errors_percent: NDArray[np.float64]
    """[M], test error, mean over the seeds."""

    front: NDArray[np.bool_]
    """[M]."""

    claims: tuple[ClaimPoint, ...]
    reason: str | None
    """Why no cost is known; None where there is one."""


def value_views(
    table: RunTable, league: str | None = None, price_per_hour: float | None = None
) -> tuple[View, ...]:
    """Every view of every group of runs that may be compared.

    Args:
        table: with at least `VIEW_COLUMNS`.
        league: only this one.
        price_per_hour: of one device, in dollars; None: the view of dollars is empty.
    """
    return tuple(view for peers in peer_groups(table, league) for view in views_of(peers, price_per_hour))


def views_of(peers: Peers, price_per_hour: float | None = None) -> tuple[View, ...]:
    """The views of one group: one for each kind of cost, or one for each device where it depends on that."""
    devices = peers.texts("device")
    everywhere = np.ones(len(peers), dtype=np.bool_)
    views = []
    for key, kind in _KINDS.items():
        places = [(name, devices == name) for name in dict.fromkeys(devices.tolist())]
        for device, chosen in places if kind.on_one_device else [("", everywhere)]:
            views.append(_view(peers, key, device, chosen, price_per_hour))
    return tuple(views)


def train_dollars(peers: Peers, price_per_hour: float | None) -> NDArray[np.float64]:
    """Training time, the first step included, times the processes and the price of an hour of one, [M].

    Evaluation is left out: this is the price of training. `economics` prices the whole run by wall time.
    """
    if price_per_hour is None:
        return np.full(len(peers), np.nan)
    seconds = peers.means("train_time_s") + peers.means("first_step_time_s")
    return seconds / 3600 * peers.means("num_processes") * price_per_hour


def _view(
    peers: Peers, key: ViewKey, device: str, chosen: NDArray[np.bool_], price_per_hour: float | None
) -> View:
    kind = _KINDS[key]
    column, costs = _costs(peers, kind, chosen)
    reason = None if np.isfinite(costs).any() else f"no run has a figure for it: {column} is empty"
    if key == "dollars":
        costs = train_dollars(peers, price_per_hour)[chosen]
        reason = reason if price_per_hour is not None else "no price was given: --price-per-hour"
    errors = peers.errors_percent[chosen]
    return View(
        key=key,
        title=kind.title,
        unit=kind.unit,
        column=column,
        dataset=peers.dataset,
        league=peers.league,
        data_fingerprint=peers.data_fingerprint,
        device=device,
        rows=peers.first_rows[chosen],
        costs=costs,
        errors_percent=errors,
        front=pareto_front(costs, errors),
        claims=_claims(peers, key),
        reason=reason,
    )


def _costs(peers: Peers, kind: _Kind, chosen: NDArray[np.bool_]) -> tuple[str, NDArray[np.float64]]:
    """The first column in which any of the chosen cells has a value, and these values in the unit."""
    for column in kind.columns:
        costs = peers.means(column)[chosen] * kind.scale
        if np.isfinite(costs).any():
            break
    return column, costs


def _claims(peers: Peers, key: ViewKey) -> tuple[ClaimPoint, ...]:
    """The references about this data set whose cost of this kind is known."""
    points = []
    for entry in load_references().values():
        found = _claimed_cost(entry, key)
        if found is not None and entry.dataset == peers.dataset:
            points.append(ClaimPoint(entry, found[0], 100 - entry.accuracy_percent, found[1]))
    return tuple(points)


def _claimed_cost(entry: Reference, key: ViewKey) -> tuple[float, str] | None:
    if key == "parameters" and entry.num_params is not None:
        return entry.num_params / 1e6, "claim"
    if key == "train_compute" and entry.total_train_pflop is not None:
        return entry.total_train_pflop, "claim"
    if key == "train_compute" and entry.counted is not None:
        return entry.counted.least_train_pflop, f"at least; {entry.counted.label}"
    if key == "inference_compute" and entry.counted is not None:
        return entry.counted.forward_flops_per_image / 1e9, entry.counted.label
    return None
