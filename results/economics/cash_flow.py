"""What each side costs in each year, and what that is worth today.

    costs = yearly_costs(build, values)       # component -> [years + 1, N], in USD
    present_cost(costs.build, values)         # component -> [N]

Costs are positive. Convention: money in real US dollars at a real discount rate. What is spent once falls due
at the start (year 0); what runs on is paid at the end of its year, as a spreadsheet's NPV function takes it
(Brealey, Myers and Allen, Principles of Corporate Finance, chapter 2). A side costs nothing to run before it
is in use; images wait until then, and waiting has a price. The last year counts in part where the horizon
ends within it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from results.economics.compute_cost import Array, Values, serving_usd_per_1000_images, training_run_usd
from results.economics.facts import BuildFacts
from results.economics.keys import BUILD_ACCURACY, BUY_ACCURACY

Flows = dict[str, Array]
"""Component to its yearly costs, [years + 1, N], year 0 first."""


@dataclass(frozen=True)
class YearlyCosts:
    """What both sides cost, by component and year."""

    build: Flows
    buy: Flows


def yearly_costs(build: BuildFacts, values: Values) -> YearlyCosts:
    """The costs of both sides in each year of the horizon.

    Args:
        build: what compute is counted from; the accuracies are in `values`.
        values: every assumption and both accuracies, [N] or [1] each.
    """
    return YearlyCosts(_build_flows(build, values), _buy_flows(values))


def net_present_value(flows: Array, rate: Array | float) -> Array:
    """The value today of flows at the ends of years: sum of flow / (1 + rate)^year.

    Args:
        flows: [years + 1, N], year 0 first.
        rate: discount rate per year as a share, [N] or one number.

    Returns:
        [N].
    """
    years = np.arange(len(flows), dtype=np.float64)[:, None]
    present: Array = (flows * (1 + np.atleast_1d(rate)) ** -years).sum(axis=0)
    return present


def present_cost(flows: Flows, values: Values) -> dict[str, Array]:
    """The value today of each component, [N]."""
    rate = values["discount_rate_percent"] / 100
    return {component: net_present_value(flow, rate) for component, flow in flows.items()}


def difference_usd(build: BuildFacts, values: Values) -> Array:
    """Present cost of buying less that of building, [N]: above 0, building is cheaper."""
    costs = yearly_costs(build, values)
    rate = values["discount_rate_percent"] / 100
    return net_present_value(total(costs.buy), rate) - net_present_value(total(costs.build), rate)


def total(flows: Flows) -> Array:
    """All components together, [years + 1, N]."""
    return functools.reduce(np.add, flows.values())


def _build_flows(facts: BuildFacts, values: Values) -> Flows:
    engineer_month = values["engineer_month_usd"]
    overrun = 1 + values["build_overrun_percent"] / 100
    running = _share_in_use(values["build_start_months"] * overrun, values["horizon_years"])
    images = values["images_per_year"]
    label = values["labels_per_image"] * values["label_usd"]
    run_usd = training_run_usd(facts, values)
    retraining = values["runs_per_retraining"] * run_usd + values["retraining_images"] * label
    serving = images / 1000 * serving_usd_per_1000_images(facts, values)
    return {
        "engineering": _once(values["build_engineer_months"] * overrun * engineer_month, running),
        "training compute": _once(values["training_runs"] * run_usd, running),
        "data and labels": _once(values["data_acquisition_usd"] + values["labelled_images"] * label, running),
        "maintenance": _yearly(values["maintenance_engineer_percent"] / 100 * 12 * engineer_month, running),
        "retraining": _yearly(values["retrainings_per_year"] * retraining, running),
        "serving": _yearly(serving + values["serving_fixed_usd_per_year"], running),
        "wrong predictions": _yearly(
            _errors_usd(values, values[BUILD_ACCURACY] - values["build_loss_points"]), running
        ),
        "images that wait": _waiting_usd(values, running),
    }


def _buy_flows(values: Values) -> Flows:
    running = _share_in_use(values["buy_start_months"], values["horizon_years"])
    years_before = np.arange(len(running), dtype=np.float64)[:, None]
    price_level = (1 + values["vendor_price_change_percent"] / 100) ** years_before
    fees = values["images_per_year"] / 1000 * values["vendor_usd_per_1000_images"]
    return {
        "integration": _once(values["integration_engineer_months"] * values["engineer_month_usd"], running),
        "price per image": _yearly(fees, running * price_level),
        "yearly fee": _yearly(values["vendor_fee_usd_per_year"], running),
        "audit": _yearly(values["audit_usd_per_year"], running),
        "wrong predictions": _yearly(
            _errors_usd(values, values[BUY_ACCURACY] - values["buy_loss_points"]), running
        ),
        "images that wait": _waiting_usd(values, running),
    }


def _errors_usd(values: Values, accuracy_percent: Array) -> Array:
    """What the wrong predictions of a year in use cost, [N]."""
    wrong = 1 - np.clip(accuracy_percent, 0, 100) / 100
    that_cost = values["costly_images_percent"] / 100
    return values["images_per_year"] * wrong * that_cost * values["cost_per_error_usd"]


def _share_in_use(start_months: Array, horizon_years: Array) -> Array:
    """Which share of each year a side is in use, [years, N]."""
    ends = np.arange(1, int(np.ceil(horizon_years.max())) + 1, dtype=np.float64)[:, None]
    share: Array = np.minimum(ends, horizon_years) - np.maximum(ends - 1, start_months / 12)
    return np.clip(share, 0, 1)


def _waiting_usd(values: Values, running: Array) -> Array:
    whole = _share_in_use(np.zeros(1), values["horizon_years"])
    usd = values["images_per_year"] / 1000 * values["waiting_usd_per_1000_images"]
    return _yearly(usd, whole - running)


def _once(usd: Array, running: Array) -> Array:
    """Flows with one sum at the start, [years + 1, N]."""
    zeros = np.zeros((len(running), np.broadcast(usd, running[0]).size))
    return np.concatenate([np.broadcast_to(usd, (1, zeros.shape[1])), zeros])


def _yearly(usd: Array, share: Array) -> Array:
    """Flows with a sum for each year, times the share of the year that it is for, [years + 1, N]."""
    flows = usd * share
    return np.concatenate([np.zeros((1, flows.shape[1])), flows])
