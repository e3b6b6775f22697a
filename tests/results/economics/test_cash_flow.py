"""Cash flows against a calculation as a spreadsheet would do it, each line written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from results.economics.assumptions import load_assumptions
from results.economics.break_even import break_even_volume
from results.economics.cash_flow import difference_usd, net_present_value, present_cost, yearly_costs
from results.economics.compute_cost import Array
from results.economics.facts import BuyFacts
from results.economics.uncertainty import central_values
from tests.results.economics.conftest import make_build

EASY = {
    "horizon_years": 2,
    "images_per_year": 1_000_000,
    "discount_rate_percent": 10,
    "cost_per_error_usd": 2,
    "costly_images_percent": 10,
    "waiting_usd_per_1000_images": 100,
    "task_compute_factor": 10,
    "engineer_month_usd": 10_000,
    "build_engineer_months": 4,
    "build_overrun_percent": 50,
    "build_start_months": 4,
    "labelled_images": 1_000,
    "labels_per_image": 2,
    "label_usd": 0.5,
    "data_acquisition_usd": 500,
    "maintenance_engineer_percent": 20,
    "retrainings_per_year": 3,
    "retraining_images": 100,
    "training_runs": 50,
    "runs_per_retraining": 5,
    "cpu_usd_per_vcpu_hour": 0.1,
    "serving_utilisation_percent": 50,
    "serving_other_usd_per_1000_images": 0.05,
    "serving_fixed_usd_per_year": 1_000,
    "build_loss_points": 2,
    "vendor_usd_per_1000_images": 3,
    "vendor_price_change_percent": 10,
    "vendor_fee_usd_per_year": 2_000,
    "integration_engineer_months": 2,
    "buy_start_months": 3,
    "audit_usd_per_year": 4_000,
    "buy_loss_points": 0,
}
BUILD = make_build(
    accuracy_percent=92.0,
    wall_time_s=3_600.0,
    num_devices=2,
    images_per_s_inference=100.0,
    inference_threads=1,
)
CLAIM = BuyFacts("Detectocorp", 70.0)


def values_of(**changed: Any) -> dict[str, Array]:
    figures = load_assumptions(None, [f"{key}={value}" for key, value in (EASY | changed).items()])
    return central_values(BUILD, CLAIM, figures)


def test_building_costs_what_the_spreadsheet_says() -> None:
    # One run: 1 h x 2 threads x 0.1 USD x 10 for the real task = 2 USD.
    # Planned 4 months become 6, so that ours is in use for 0.5 of year 1 and all of year 2.
    flows = yearly_costs(BUILD, values_of()).build
    assert {name: flow[:, 0].tolist() for name, flow in flows.items()} == {
        "engineering": pytest.approx([60_000, 0, 0]),  # 4 x 1.5 x 10,000
        "training compute": pytest.approx([100, 0, 0]),  # 50 x 2
        "data and labels": pytest.approx([1_500, 0, 0]),  # 500 + 1,000 x 2 x 0.5
        "maintenance": pytest.approx([0, 12_000, 24_000]),  # 0.2 x 12 x 10,000
        "retraining": pytest.approx([0, 165, 330]),  # 3 x (5 x 2 + 100 x 2 x 0.5)
        # 1,000 images: 10 s x 0.1 / 3,600 x 10 / 0.5 = 0.00555...; + 0.05; x 1,000; + 1,000 a year
        "serving": pytest.approx([0, (1_050 + 50 / 9) / 2, 1_050 + 50 / 9]),
        "wrong predictions": pytest.approx([0, 10_000, 20_000]),  # 1e6 x (1 - 0.90) x 0.1 x 2
        "images that wait": pytest.approx([0, 50_000, 0]),  # 1,000 x 100 x 0.5
    }


def test_buying_costs_what_the_spreadsheet_says() -> None:
    # In use for 0.75 of year 1.
    flows = yearly_costs(BUILD, values_of()).buy
    assert {name: flow[:, 0].tolist() for name, flow in flows.items()} == {
        "integration": pytest.approx([20_000, 0, 0]),
        "price per image": pytest.approx([0, 2_250, 3_300]),  # 3,000, then 10% more
        "yearly fee": pytest.approx([0, 1_500, 2_000]),
        "audit": pytest.approx([0, 3_000, 4_000]),
        "wrong predictions": pytest.approx([0, 45_000, 60_000]),  # 1e6 x 0.3 x 0.1 x 2
        "images that wait": pytest.approx([0, 25_000, 0]),
    }


def test_the_present_costs_and_the_difference_are_those_of_the_spreadsheet() -> None:
    values = values_of()
    serving = 1_050 + 50 / 9
    # year 0 + year 1 / 1.1 + year 2 / 1.21
    building = 61_600 + (72_165 + serving / 2) / 1.1 + (44_330 + serving) / 1.21
    buying = 20_000 + 76_750 / 1.1 + 69_300 / 1.21
    costs = yearly_costs(BUILD, values)
    assert sum(cost[0] for cost in present_cost(costs.build, values).values()) == pytest.approx(building)
    assert sum(cost[0] for cost in present_cost(costs.buy, values).values()) == pytest.approx(buying)
    assert difference_usd(BUILD, values)[0] == pytest.approx(buying - building)


def test_the_break_even_volume_is_that_of_the_spreadsheet() -> None:
    # What depends on the volume, per image and discounted:
    per_image_building = (0.05 + 0.05 + (50 / 9 + 50) / 2e6) / 1.1 + (0.02 + (50 / 9 + 50) / 1e6) / 1.21
    per_image_building -= 0.04 / 1.1  # of the first sum: 0.01 errors and 0.05 waiting in year 1
    per_image_buying = (0.00225 + 0.045 + 0.025) / 1.1 + (0.0033 + 0.06) / 1.21
    fixed_building = 61_600 + (12_000 + 165 + 500) / 1.1 + (24_000 + 330 + 1_000) / 1.21
    fixed_buying = 20_000 + 4_500 / 1.1 + 6_000 / 1.21
    expected = (fixed_building - fixed_buying) / (per_image_buying - per_image_building)
    found = break_even_volume(BUILD, values_of())
    assert found.value == pytest.approx(expected)
    assert found.build_cheaper_above is True
    assert difference_usd(BUILD, values_of(images_per_year=found.value))[0] == pytest.approx(0, abs=1e-6)


def test_a_horizon_that_ends_within_a_year_counts_a_part_of_it() -> None:
    half = yearly_costs(BUILD, values_of(horizon_years=1.5)).buy["yearly fee"][:, 0]
    assert half.tolist() == pytest.approx([0, 1_500, 1_000])


def test_a_side_that_is_never_in_use_only_waits() -> None:
    flows = yearly_costs(BUILD, values_of(build_start_months=60)).build
    assert flows["images that wait"][:, 0].tolist() == pytest.approx([0, 100_000, 100_000])
    assert flows["maintenance"].sum() == flows["wrong predictions"].sum() == 0
    assert flows["engineering"][0, 0] == 60_000


def test_a_loss_larger_than_the_accuracy_leaves_every_image_wrong() -> None:
    flows = yearly_costs(BUILD, values_of(build_loss_points=95)).build
    assert flows["wrong predictions"][2, 0] == pytest.approx(200_000)


@given(
    flows=arrays(np.float64, st.tuples(st.integers(1, 31), st.integers(1, 4)), elements=st.floats(-1e9, 1e9)),
    rate=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_the_present_value_is_the_polynomial_in_the_discount_factor(flows: Array, rate: float) -> None:
    expected = np.polynomial.polynomial.polyval(1 / (1 + rate), flows)
    assert net_present_value(flows, rate) == pytest.approx(expected, rel=1e-9, abs=1e-3)
