from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.usage import COUNTER, INTEGRATED, MEASURED, Usage, combine
from tests.fake_nvml import ask_child, build_nvml

SCRIPT = """
import json, sys, time
from dataclasses import asdict
from harness.meters import GpuSource
from harness.sampler import Sampler
uuid, plan = json.loads(sys.argv[1])
with Sampler(GpuSource(uuid), interval_s=0.02) as sampler:
    for phase, seconds in plan:
        sampler.mark(phase)
        time.sleep(seconds)
print(json.dumps(asdict(sampler.read())))
"""
ONE_SECOND = (("data", 0.5), ("train", 0.5))
MACHINE = "2;0:self:300;1:self:700"
NO_COUNTER = "nvmlDeviceGetTotalEnergyConsumption=3"
ENERGY = ("energy_j", "train_energy_j", "evaluate_energy_j", "energy_method", "mean_power_w")


def sample(
    nvml: Path, plan: tuple[tuple[str, float], ...] = ONE_SECOND, uuid: str = "00000000", **variables: str
) -> Usage:
    values = ask_child(nvml, variables.pop("machine", MACHINE), SCRIPT, [uuid, plan], **variables)
    throttle_reasons = values.pop("throttle_reasons")
    return Usage(**values, throttle_reasons=None if throttle_reasons is None else tuple(throttle_reasons))


def watts(usage: Usage) -> float:
    assert usage.energy_j is not None
    return usage.energy_j / usage.measured_s


@pytest.fixture(scope="module")
def of_second(nvml: Path) -> Usage:
    return sample(nvml, uuid="00000001", FAKE_NVML_THROTTLE="0x5")


def test_everything_that_a_gpu_tells_is_measured(of_second: Usage) -> None:
    assert of_second.source == "GPU-00000001"
    assert of_second.measured_s == pytest.approx(1, rel=0.2)
    assert of_second.gpu_utilization_percent == pytest.approx(75, abs=10)
    assert of_second.peak_temperature_c == 60
    assert of_second.mean_sm_clock_mhz == pytest.approx(1501)
    assert of_second.throttle_reasons == ("power cap",)
    assert of_second.peak_process_gpu_mib == of_second.sum_process_gpu_mib == 700
    assert of_second.peak_device_gpu_mib == of_second.sum_device_gpu_mib == 2048
    cpu_only = "measured on CPU runs only"
    assert of_second.reasons == {
        "evaluate_energy_j": "there was no phase evaluate",
        "peak_tree_mib": cpu_only,
        "tree_memory_method": cpu_only,
    }


def test_energy_is_what_the_counter_went_on_by(of_second: Usage) -> None:
    assert of_second.energy_method == COUNTER
    assert of_second.mean_power_w == watts(of_second) == pytest.approx(300, rel=0.1)
    assert of_second.energy_j is not None
    assert of_second.train_energy_j == pytest.approx(of_second.energy_j / 2, rel=0.2)


def test_without_a_counter_the_power_is_integrated(nvml: Path) -> None:
    usage = sample(nvml, FAKE_NVML_ERRORS=NO_COUNTER)
    assert usage.energy_method == INTEGRATED
    assert usage.mean_power_w == watts(usage) == pytest.approx(200, rel=0.1)
    assert usage.energy_j is not None
    assert usage.train_energy_j == pytest.approx(usage.energy_j / 2, rel=0.2)


@pytest.mark.parametrize("counter", ["stuck", "reset"])
def test_a_counter_that_does_not_count_is_replaced_by_the_power(counter: str, nvml: Path) -> None:
    usage = sample(nvml, FAKE_NVML_COUNTER=counter)
    assert usage.energy_method == INTEGRATED
    assert watts(usage) == pytest.approx(200, rel=0.1)


def test_without_power_the_counter_is_enough(nvml: Path) -> None:
    usage = sample(nvml, FAKE_NVML_ERRORS="nvmlDeviceGetPowerUsage=3")
    assert usage.energy_method == COUNTER
    assert usage.mean_power_w == pytest.approx(200, rel=0.1)


def test_without_counter_and_power_there_is_no_energy_but_a_reason(nvml: Path) -> None:
    usage = sample(nvml, FAKE_NVML_ERRORS=f"{NO_COUNTER},nvmlDeviceGetPowerUsage=4")
    reasons = {usage.reasons[name] for name in ENERGY}
    assert reasons == {"NVML: Not Supported; power: NVML: Insufficient Permissions"}
    assert usage.peak_temperature_c == 50
    usage = sample(nvml, FAKE_NVML_COUNTER="reset", FAKE_NVML_ERRORS="nvmlDeviceGetPowerUsage=3")
    assert usage.reasons["energy_j"].startswith("the energy counter went back while it was read; power: ")


def test_a_gpu_that_is_lost_on_the_way_leaves_reasons(nvml: Path) -> None:
    lost = (
        "Temperature",
        "ClockInfo",
        "MemoryInfo",
        "UtilizationRates",
        "PowerUsage",
        "TotalEnergyConsumption",
    )
    errors = ",".join(f"nvmlDeviceGet{name}=15@4" for name in lost)
    usage = sample(nvml, FAKE_NVML_ERRORS=errors)
    for name in (*ENERGY, "peak_temperature_c", "mean_sm_clock_mhz", "peak_device_gpu_mib"):
        assert getattr(usage, name) is None
        assert "of the time: NVML: GPU is lost" in usage.reasons[name]
    assert usage.peak_process_gpu_mib == 300


def test_a_moment_without_an_answer_costs_nothing(nvml: Path) -> None:
    usage = sample(nvml, FAKE_NVML_ERRORS="nvmlDeviceGetTemperature=999@5-5,nvmlDeviceGetPowerUsage=999@7-7")
    assert usage.peak_temperature_c == 50
    assert usage.energy_method == COUNTER


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("nvmlInitWithFlags=9", "NVML: Driver Not Loaded"),
        ("nvmlInitWithFlags=18", "NVML: RM has detected an NVML/RM version mismatch."),
        ("nvmlInitWithFlags=999", "NVML: Unknown Error"),
        ("nvmlDeviceGetHandleByUUID=4", "the GPU was not found: NVML: Insufficient Permissions"),
    ],
)
def test_a_driver_that_does_not_start_is_the_reason_of_everything(
    errors: str, reason: str, nvml: Path
) -> None:
    usage = sample(nvml, (("train", 0.01),), FAKE_NVML_ERRORS=errors)
    assert usage.reasons == dict.fromkeys(MEASURED, reason)
    assert all(getattr(usage, name) is None for name in MEASURED)


def test_a_machine_without_a_driver_is_the_reason_of_everything(tmp_path: Path) -> None:
    usage = sample(tmp_path, (("train", 0.01),))
    if usage.energy_j is not None:
        pytest.skip("this machine has a driver of its own")
    assert set(usage.reasons.values()) == {"NVML: NVML Shared Library Not Found"}


def test_a_slice_of_a_gpu_has_memory_and_no_energy(nvml: Path) -> None:
    usage = sample(nvml, (("train", 0.1),), FAKE_NVML_MIG="slice")
    assert usage.source == "MIG-00000000"
    assert (usage.peak_process_gpu_mib, usage.peak_device_gpu_mib) == (300, 1024)
    for name in (*ENERGY, "gpu_utilization_percent", "peak_temperature_c", "throttle_reasons"):
        assert usage.reasons[name].startswith("MIG: ")


def test_a_driver_without_newer_functions_loses_those_figures_only(tmp_path: Path) -> None:
    missing = ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates")
    usage = sample(build_nvml(tmp_path, without=missing))
    assert usage.energy_method == INTEGRATED
    assert usage.reasons["gpu_utilization_percent"] == "NVML: Function Not Found"


def test_ranks_on_two_gpus_add_up_and_ranks_on_one_do_not(nvml: Path, of_second: Usage) -> None:
    first: Any = sample(nvml)
    second: Any = of_second
    both = combine([first, second])
    assert both.energy_j == pytest.approx(first.energy_j + second.energy_j)
    assert both.mean_power_w == pytest.approx(500, rel=0.1)
    assert (both.peak_process_gpu_mib, both.sum_process_gpu_mib) == (700, 1000)
    assert (both.peak_device_gpu_mib, both.sum_device_gpu_mib) == (2048, 3072)
    shared = combine([second, second])
    assert shared.energy_j == second.energy_j
    assert shared.sum_device_gpu_mib == 2048
