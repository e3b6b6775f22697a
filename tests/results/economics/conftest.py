"""Both sides as small facts, and the shipped assumptions."""

from __future__ import annotations

from typing import Any

import pytest

from results.economics.assumptions import Assumptions, load_assumptions
from results.economics.facts import BuildFacts, BuyFacts


def make_build(**fields: Any) -> BuildFacts:
    """A run with 92% of 10,000 images right that took a minute on two threads."""
    values: dict[str, Any] = {
        "name": "fast_cnn/flip_crop",
        "accuracy_percent": 92.0,
        "num_correct": 9_200,
        "num_images": 10_000,
        "images": "10,000 test images of cifar10 (official)",
        "dataset": "cifar10",
        "wall_time_s": 60.0,
        "train_device": "a processor",
        "device_type": "cpu",
        "num_devices": 2,
        "total_train_pflop": 0.18,
        "forward_flops_per_image": 150_000_000,
        "images_per_s_inference": 2_000.0,
        "inference_threads": 2,
        "cell_id": "0123456789ab",
    }
    return BuildFacts(**values | fields)


@pytest.fixture
def build() -> BuildFacts:
    return make_build()


@pytest.fixture
def claim() -> BuyFacts:
    return BuyFacts("Detectocorp", 70.0)


@pytest.fixture
def shipped() -> Assumptions:
    return load_assumptions()
