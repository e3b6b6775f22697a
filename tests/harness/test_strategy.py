from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from harness.cell import CellSpec
from harness.process import Process
from harness.strategy import gradient_exchange, wrap_model


def test_a_single_process_trains_the_model_itself(cell: CellSpec, one_process: Process) -> None:
    model = nn.Linear(2, 2)
    assert wrap_model(model, cell, one_process) is model
    for is_last in (False, True):
        with gradient_exchange(model, is_last):
            pass


def test_gradients_of_two_processes_and_two_micro_batches_are_those_of_the_whole_batch(
    two_processes: list[dict[str, Any]],
) -> None:
    first, second = two_processes
    np.testing.assert_array_equal(first["gradient"], second["gradient"])
    np.testing.assert_allclose(first["gradient"], first["gradient_alone"], rtol=1e-5, atol=1e-7)


def test_gradients_are_not_exchanged_before_the_last_micro_batch(
    two_processes: list[dict[str, Any]],
) -> None:
    first, second = two_processes
    assert not np.allclose(first["gradient_before"], second["gradient_before"])
