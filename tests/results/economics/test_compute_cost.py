from __future__ import annotations

import pytest

from results.economics.assumptions import Assumptions, load_assumptions
from results.economics.compute_cost import (
    basis_words,
    price_key,
    serving_usd_per_1000_images,
    training_run_usd,
)
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.uncertainty import central_values
from tests.results.economics.conftest import make_build

ALONE = [
    "task_compute_factor=1",
    "serving_other_usd_per_1000_images=0",
    "serving_utilisation_percent=100",
    "a100_usd_per_hour=2",
    "h100_usd_per_hour=4",
    "cpu_usd_per_vcpu_hour=0.05",
    "flops_utilisation_percent=50",
]


def costs(build: BuildFacts, assumptions: Assumptions | None = None) -> tuple[float, float]:
    figures = assumptions or load_assumptions(None, ALONE)
    values = central_values(build, BuyFacts("", 70.0), figures)
    return training_run_usd(build, values)[0], serving_usd_per_1000_images(build, values)[0]


@pytest.mark.parametrize(
    ("device", "key"),
    [
        ("NVIDIA A100-SXM4-40GB", "a100_usd_per_hour"),
        ("NVIDIA H100 80GB HBM3", "h100_usd_per_hour"),
        ("NVIDIA H200", "h200_usd_per_hour"),
        ("Tesla V100-SXM2-16GB", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_gpu_is_priced_by_its_name(device: str, key: str | None) -> None:
    assert price_key(make_build(train_device=device, device_type="cuda")) == key


def test_a_run_on_gpus_costs_their_hours() -> None:
    build = make_build(
        train_device="NVIDIA H100 80GB HBM3",
        device_type="cuda",
        num_devices=8,
        wall_time_s=1_800.0,
        images_per_s_inference=10_000.0,
    )
    training, serving = costs(build)
    assert training == pytest.approx(0.5 * 8 * 4)
    assert serving == pytest.approx(0.1 / 3_600 * 4)  # one GPU serves


def test_a_run_on_a_cpu_costs_the_hours_of_its_threads() -> None:
    training, serving = costs(make_build(wall_time_s=7_200.0, num_devices=16, images_per_s_inference=500.0))
    assert training == pytest.approx(2 * 16 * 0.05)
    assert serving == pytest.approx(2 / 3_600 * 2 * 0.05)  # inference_threads is 2


def test_a_device_without_a_price_has_its_flops_counted() -> None:
    build = make_build(train_device="an unknown chip", device_type="cuda", total_train_pflop=561.6)
    training, serving = costs(build)
    assert training == pytest.approx(561.6e15 / (312e12 * 0.5) / 3_600 * 2)
    assert serving == pytest.approx(1_000 * 150e6 / (312e12 * 0.5) / 3_600 * 2)
    assert "an unknown chip has no price here" in basis_words(build)


def test_serving_that_was_not_measured_has_its_flops_counted() -> None:
    _, serving = costs(make_build(images_per_s_inference=None))
    assert serving == pytest.approx(1_000 * 150e6 / (312e12 * 0.5) / 3_600 * 2)


def test_the_real_task_costs_its_factor_more() -> None:
    build = make_build()
    training, serving = costs(build)
    larger = load_assumptions(None, [*ALONE, "task_compute_factor=49", "serving_utilisation_percent=25"])
    assert costs(build, larger) == pytest.approx((49 * training, 4 * 49 * serving))
