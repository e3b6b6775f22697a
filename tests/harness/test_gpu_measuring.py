"""What NVML says of a real GPU against what torch and the clock say."""

from __future__ import annotations

import os
import time

import pytest
import torch

from harness.sampler import Sampler, source_of
from harness.usage import MEASURED, Usage

pytestmark = pytest.mark.gpu

CONTEXT_MIB = 2500
"""More than what CUDA's context and the kernels of the libraries take on any card."""


@pytest.fixture(scope="module")
def worked() -> tuple[Usage, float]:
    """The usage while matrices were multiplied for two seconds after an idle one, and what torch reserved."""
    device = torch.device("cuda", torch.cuda.current_device())
    with Sampler(source_of(device)) as sampler:
        sampler.mark("data")
        time.sleep(1)
        sampler.mark("train")
        matrix = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
        start = time.perf_counter()
        while time.perf_counter() - start < 2:
            matrix @ matrix
            torch.cuda.synchronize(device)
        sampler.mark("write")
        reserved_mib = torch.cuda.memory_reserved(device) / 2**20
    return sampler.read(), reserved_mib


def need(usage: Usage, name: str) -> float:
    """The value, or no test, for the reason that there is none."""
    value = getattr(usage, name)
    if value is None:
        pytest.skip(usage.reasons[name])
    assert isinstance(value, float)
    return value


def test_every_figure_is_there_or_has_a_reason(worked: tuple[Usage, float]) -> None:
    usage = worked[0]
    assert {name for name in MEASURED if getattr(usage, name) is None} == set(usage.reasons)


def test_the_memory_of_this_process_is_what_torch_reserved_and_the_context(
    worked: tuple[Usage, float],
) -> None:
    usage, reserved_mib = worked
    process_mib = need(usage, "peak_process_gpu_mib")
    assert reserved_mib <= process_mib <= reserved_mib + CONTEXT_MIB, os.getpid()
    assert process_mib <= need(usage, "peak_device_gpu_mib")


def test_the_device_holds_at_least_what_torch_reserved(worked: tuple[Usage, float]) -> None:
    usage, reserved_mib = worked
    assert need(usage, "peak_device_gpu_mib") >= reserved_mib


def test_energy_is_power_by_time_and_most_of_it_is_of_the_work(worked: tuple[Usage, float]) -> None:
    usage = worked[0]
    energy_j, train_energy_j = need(usage, "energy_j"), need(usage, "train_energy_j")
    assert 0 < train_energy_j < energy_j
    assert train_energy_j > energy_j / 2
    assert energy_j == pytest.approx(need(usage, "mean_power_w") * usage.measured_s)
    assert 5 < need(usage, "mean_power_w") < 2000


def test_the_state_of_the_gpu_is_that_of_one_that_works(worked: tuple[Usage, float]) -> None:
    usage = worked[0]
    assert 20 < need(usage, "gpu_utilization_percent") <= 100
    assert 10 < need(usage, "peak_temperature_c") < 110
    assert 100 < need(usage, "mean_sm_clock_mhz") < 5000
