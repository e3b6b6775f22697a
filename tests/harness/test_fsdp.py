from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.harness.run_helpers import run_two

WORKER = Path(__file__).with_name("fsdp_processes.py")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes got."""
    return run_two(WORKER, tmp_path_factory.mktemp("fsdp"))[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("what", ["losses", "scores", "trained"])
def test_weights_in_parts_train_and_score_as_whole_ones_do(
    both: list[dict[str, Any]], optimizer: str, what: str
) -> None:
    # "trained": scoring the averaged weights leaves none of them together for the next step
    for found in both:
        expected = found[f"ddp {optimizer} {what}"]
        np.testing.assert_allclose(found[f"fsdp {optimizer} {what}"], expected, rtol=1e-4, atol=1e-6)


def test_scores_are_of_the_average_and_not_of_the_own_weights(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert not np.allclose(found["fsdp sgd scores"], found["fsdp sgd trained"], rtol=1e-3)


def test_large_layers_are_blocks_of_their_own(both: list[dict[str, Any]]) -> None:
    assert both[0]["num_blocks"] == 1  # of two dense layers, the larger one
