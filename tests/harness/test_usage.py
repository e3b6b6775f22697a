from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import pytest

from harness.usage import (
    COUNTER,
    INTEGRATED,
    MEASURED,
    RAPL,
    Missing,
    Usage,
    combine,
    make_usage,
    not_entered,
    nothing_measured,
)

NO_GPU = Missing("no CUDA device in this run")
ENERGIES = ("energy_j", "train_energy_j", "evaluate_energy_j")


def usage(source: str = "GPU-a", measured_s: float = 10.0, **changes: Any) -> Usage:
    values: dict[str, Any] = {
        "energy_j": 1000.0,
        "train_energy_j": 700.0,
        "evaluate_energy_j": 200.0,
        "energy_method": COUNTER,
        "mean_power_w": 100.0,
        "gpu_utilization_percent": 80.0,
        "peak_temperature_c": 60.0,
        "mean_sm_clock_mhz": 1500.0,
        "throttle_reasons": (),
        "peak_process_gpu_mib": 300.0,
        "peak_device_gpu_mib": 500.0,
        "sum_process_gpu_mib": 300.0,
        "sum_device_gpu_mib": 500.0,
        "peak_tree_mib": 200.0,
        "tree_memory_method": "PSS",
    }
    return make_usage(source, measured_s, values | changes)


def test_every_none_has_a_reason_and_nothing_else_has() -> None:
    for made in (usage(energy_j=NO_GPU), nothing_measured("GPU-a", "no driver"), combine([usage(), usage()])):
        missing = {name for name in MEASURED if getattr(made, name) is None}
        assert missing == set(made.reasons)


def test_a_usage_goes_through_pickle() -> None:
    assert pickle.loads(pickle.dumps(usage(energy_j=NO_GPU))) == usage(energy_j=NO_GPU)


def test_the_usage_of_one_rank_is_its_own() -> None:
    assert combine([usage()]) == usage()


def test_energy_is_added_over_the_gpus() -> None:
    both = combine(
        [usage("GPU-a"), usage("GPU-b", energy_j=3000.0, train_energy_j=900.0, mean_power_w=300.0)]
    )
    assert (both.energy_j, both.train_energy_j, both.mean_power_w) == (4000, 1600, 400)
    assert both.evaluate_energy_j == 400
    assert both.energy_method == COUNTER
    assert both.source == "GPU-a, GPU-b"


def test_ranks_that_share_a_gpu_or_a_host_count_its_energy_once() -> None:
    shared = combine([usage("GPU-a"), usage("GPU-a", energy_j=1010.0), usage("GPU-b")])
    assert shared.energy_j == 2010
    assert shared.sum_device_gpu_mib == 1000
    assert shared.sum_process_gpu_mib == 900
    hosts = combine([usage(f"host {rank // 2}", energy_method=RAPL) for rank in range(4)])
    assert (hosts.energy_j, hosts.energy_method) == (2000, RAPL)


def test_peaks_are_the_largest_and_means_are_over_the_gpus() -> None:
    first = usage("GPU-a", throttle_reasons=("power cap",), peak_process_gpu_mib=900.0, measured_s=12.0)
    second = usage(
        "GPU-b",
        gpu_utilization_percent=40.0,
        mean_sm_clock_mhz=1000.0,
        peak_temperature_c=70.0,
        peak_device_gpu_mib=950.0,
        throttle_reasons=("heat (software)", "power cap"),
    )
    both = combine([first, second])
    assert (both.gpu_utilization_percent, both.mean_sm_clock_mhz, both.peak_temperature_c) == (60, 1250, 70)
    assert (both.peak_process_gpu_mib, both.peak_device_gpu_mib) == (900, 950)
    assert both.throttle_reasons == ("heat (software)", "power cap")
    assert both.measured_s == 12
    assert both.peak_tree_mib == 400


def test_what_one_rank_lacks_all_lack_and_the_rank_is_named() -> None:
    both = combine([usage(), usage(peak_process_gpu_mib=Missing("not listed"), energy_j=NO_GPU)])
    assert both.peak_process_gpu_mib is both.energy_j is None
    assert both.reasons["peak_process_gpu_mib"] == "rank 1: not listed"
    assert both.sum_process_gpu_mib == 600


def test_a_reason_that_all_ranks_share_is_said_once() -> None:
    both = combine([usage(energy_j=NO_GPU), usage(energy_j=NO_GPU)])
    assert both.reasons == {"energy_j": NO_GPU.reason}


def test_different_methods_are_all_named() -> None:
    both = combine([usage("GPU-a"), usage("GPU-b", energy_method=INTEGRATED)])
    assert both.energy_method == "counter and integrated power"


def test_an_earlier_attempt_is_added() -> None:
    both = usage().added_to(usage(measured_s=30.0).energies())
    assert (both.energy_j, both.train_energy_j, both.measured_s, both.mean_power_w) == (2000, 1400, 40, 50)
    assert both.reasons == {}


@pytest.mark.parametrize("earlier", [{}, dict.fromkeys(ENERGIES)])
def test_an_earlier_attempt_without_energy_leaves_none(earlier: dict[str, float | None]) -> None:
    both = usage().added_to(earlier)
    assert both.energy_j is both.train_energy_j is both.evaluate_energy_j is both.mean_power_w is None
    assert set(both.reasons) == {*ENERGIES, "mean_power_w"}
    assert both.peak_temperature_c == 60


def test_a_reason_of_this_attempt_stays_when_an_earlier_one_is_added() -> None:
    lacking: dict[str, Any] = dict.fromkeys((*ENERGIES, "mean_power_w"), NO_GPU)
    assert usage(**lacking).added_to(usage().energies()).reasons == dict.fromkeys(lacking, NO_GPU.reason)


def test_each_value_must_be_given() -> None:
    with pytest.raises(AssertionError):
        make_usage("GPU-a", 1.0, {"energy_j": 1.0})
    assert {field.name for field in fields(Usage)} - set(MEASURED) == {"source", "measured_s", "reasons"}


def test_a_phase_that_had_not_come_yet_adds_nothing() -> None:
    first = usage(evaluate_energy_j=not_entered("evaluate"))
    assert first.energies()["evaluate_energy_j"] == 0
    both = usage().added_to(first.energies())
    assert (both.energy_j, both.evaluate_energy_j) == (2000, 200)
    never = first.added_to(usage().energies())
    assert never.evaluate_energy_j == 200
    assert never.reasons == {}
