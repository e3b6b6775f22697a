"""Sets of predictions without a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from results.predictions import PredictionSet

MakeSet = Callable[..., PredictionSet]


@pytest.fixture
def make_set() -> MakeSet:
    """Predictions from lists of predicted and true classes; `values` replace other fields."""

    def build(classes: Sequence[int], labels: Sequence[int], **values: Any) -> PredictionSet:
        num_classes = max(*classes, *labels) + 1
        fields: dict[str, Any] = {
            "name": "a system",
            "run_dir": None,
            "known": "classes",
            "classes": np.array(classes),
            "labels": np.array(labels),
            "class_names": tuple(str(index) for index in range(num_classes)),
            "scores": None,
        }
        return PredictionSet(**(fields | values))

    return build
