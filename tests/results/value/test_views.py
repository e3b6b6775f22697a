from __future__ import annotations

import numpy as np
import pytest

from results.value.views import View, value_views
from tests.results.value.conftest import TableFactory


def of_key(views: tuple[View, ...], key: str) -> list[View]:
    return [view for view in views if view.key == key]


def test_each_cost_has_its_own_front(make_table: TableFactory) -> None:
    table = make_table(
        {"model": "a", "test_accuracy_percent": 95, "total_train_pflop": 2, "num_params": 5e6},
        {"model": "b", "test_accuracy_percent": 94, "total_train_pflop": 1, "num_params": 9e6},
        {"model": "c", "test_accuracy_percent": 93, "total_train_pflop": 1, "num_params": 1e6},
    )
    views = value_views(table)
    (train,), (params,) = of_key(views, "train_compute"), of_key(views, "parameters")
    assert train.front.tolist() == [True, True, False]
    assert params.front.tolist() == [True, False, True]
    assert params.costs.tolist() == [5, 9, 1]
    assert params.errors_percent.tolist() == pytest.approx([5, 6, 7])
    assert params.rows.tolist() == [0, 1, 2]


def test_no_view_mixes_leagues_or_data(make_table: TableFactory) -> None:
    table = make_table(
        {"model": "weak", "test_accuracy_percent": 60, "total_train_pflop": 1},
        {"test_accuracy_percent": 99, "total_train_pflop": 0.1, "league": "pre-trained"},
        {"test_accuracy_percent": 99, "total_train_pflop": 0.1, "data_fingerprint": "other"},
    )
    views = of_key(value_views(table), "train_compute")
    assert [len(view.rows) for view in views] == [1, 1, 1]
    assert all(view.front.all() for view in views)


def test_costs_of_a_machine_are_compared_on_one_kind_of_device(make_table: TableFactory) -> None:
    table = make_table(
        {
            "model": "a",
            "device": "GPU",
            "test_accuracy_percent": 90,
            "peak_allocated_mib": 500,
            "peak_resident_mib": 9,
        },
        {"model": "b", "device": "CPU", "test_accuracy_percent": 80, "peak_resident_mib": 100},
        {"model": "c", "device": "GPU", "test_accuracy_percent": 91, "peak_resident_mib": 1},
    )
    gpu, cpu = of_key(value_views(table), "memory")
    assert (gpu.device, gpu.column, gpu.rows.tolist()) == ("GPU", "peak_allocated_mib", [0, 2])
    assert gpu.costs.tolist() == pytest.approx([500, np.nan], nan_ok=True)
    assert gpu.front.tolist() == [True, False]
    assert (cpu.device, cpu.column, cpu.front.tolist()) == ("CPU", "peak_resident_mib", [True])


def test_dollars_are_hours_times_devices_times_the_price(make_table: TableFactory) -> None:
    table = make_table(
        {"test_accuracy_percent": 90, "train_time_s": 3500, "first_step_time_s": 100, "num_processes": 4}
    )
    (view,) = of_key(value_views(table, price_per_hour=2.5), "dollars")
    assert view.costs.tolist() == [10]
    assert view.reason is None


def test_without_a_price_there_are_no_dollars(make_table: TableFactory) -> None:
    table = make_table({"test_accuracy_percent": 90, "train_time_s": 3500, "first_step_time_s": 100})
    (view,) = of_key(value_views(table), "dollars")
    assert not view.front.any()
    assert view.reason == "no price was given: --price-per-hour"


def test_what_was_not_measured_has_a_reason_and_no_front(make_table: TableFactory) -> None:
    (view,) = of_key(value_views(make_table({"test_accuracy_percent": 90})), "energy")
    assert view.reason == "no run has a figure for it: energy_j is empty"
    assert not view.front.any()


def test_claims_stand_beside_and_say_what_they_are(make_table: TableFactory) -> None:
    views = value_views(make_table({"test_accuracy_percent": 50, "forward_flops_per_image": 9e14}))
    (view,) = of_key(views, "inference_compute")
    (claim,) = view.claims
    assert claim.reference.key == "gpipe"
    assert claim.cost == pytest.approx(597.588072128)
    assert claim.how == "counted from the architecture"
    assert view.front.all(), "a claim beats no measured cell"
    (train,) = of_key(views, "train_compute")
    assert [claim.how for claim in train.claims] == [
        "at least; counted from the architecture",
        "claim",
        "claim",
    ]


def test_claims_about_other_data_are_not_shown(make_table: TableFactory) -> None:
    views = value_views(make_table({"dataset": "digits", "test_accuracy_percent": 50}))
    assert not any(view.claims for view in views)
