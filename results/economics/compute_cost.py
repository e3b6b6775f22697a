"""What compute costs: measured time at the price of the device, or counted FLOPs at the price of an A100.

A run on a device that has a price here is paid by the wall time that it took, for the machine is rented while
it evaluates too; `value --price-per-hour` prices the training alone. For any other device its
FLOPs are counted instead, and taken to run on an A100 at a share of its peak.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from results.economics.facts import BuildFacts

Array = np.ndarray[Any, np.dtype[np.float64]]
Values = Mapping[str, Array]
"""Each assumption, and each accuracy, as [N] values that are taken together, or as [1]."""

GPU_PRICES = {"a100": "a100_usd_per_hour", "h100": "h100_usd_per_hour", "h200": "h200_usd_per_hour"}
CPU_PRICE = "cpu_usd_per_vcpu_hour"

_HOUR_S = 3600


def price_key(facts: BuildFacts) -> str | None:
    """The assumption that prices the device of a run; None where there is none."""
    if facts.device_type == "cpu":
        return CPU_PRICE
    words = re.split(r"[\s\-_]+", facts.train_device.lower())
    return next((key for word, key in GPU_PRICES.items() if word in words), None)


def training_run_usd(facts: BuildFacts, values: Values) -> Array:
    """USD of one training run of the real task, [N]."""
    key = price_key(facts)
    if key is None:
        usd = _flops_usd(facts.total_train_pflop * 1e15, values)
    else:
        usd = facts.wall_time_s / _HOUR_S * facts.num_devices * values[key]
    return usd * values["task_compute_factor"]


def serving_usd_per_1000_images(facts: BuildFacts, values: Values) -> Array:
    """USD of what classifying 1,000 images of the real task takes, beside fixed costs, [N]."""
    key, images_per_s = price_key(facts), facts.images_per_s_inference
    if key is None or not images_per_s:
        usd = _flops_usd(1000 * facts.forward_flops_per_image, values)
    else:
        threads = facts.inference_threads or facts.num_devices
        num_units = threads if facts.device_type == "cpu" else 1
        usd = 1000 / images_per_s / _HOUR_S * num_units * values[key]
    busy = values["serving_utilisation_percent"] / 100
    return usd * values["task_compute_factor"] / busy + values["serving_other_usd_per_1000_images"]


def basis_words(facts: BuildFacts) -> str:
    """How the compute of a run is priced, in words."""
    key = price_key(facts)
    if key is None:
        return (
            f"{facts.total_train_pflop:.3g} PFLOP counted, on an A100 at a share of its peak: "
            f"{facts.train_device} has no price here"
        )
    unit = "threads" if facts.device_type == "cpu" else "GPUs"
    hours = facts.wall_time_s / _HOUR_S
    return (
        f"{hours:.3g} h of wall time, evaluation included, measured on {facts.num_devices} {unit} of "
        f"{facts.train_device}, at {key}"
    )


def _flops_usd(flops: float, values: Values) -> Array:
    reached = values["a100_peak_tflops"] * 1e12 * values["flops_utilisation_percent"] / 100
    return flops / reached / _HOUR_S * values["a100_usd_per_hour"]
