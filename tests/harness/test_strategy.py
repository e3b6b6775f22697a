from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from harness.cell import CellSpec
from harness.process import Process
from harness.strategy import Held, make_strategy


def test_a_single_process_trains_the_model_itself(cell: CellSpec, one_process: Process) -> None:
    model = nn.Linear(2, 2)
    strategy = make_strategy(cell, model, torch.amp.GradScaler("cpu", enabled=False), one_process)
    strategy.wrap()
    assert strategy.wrapped is strategy.model is model
    for exchange in (False, True):
        with strategy.micro_batch(exchange):
            pass
    assert strategy.held() == Held(num_params=6, num_optimizer_values=6)  # momentum


def test_gradients_of_two_processes_and_two_micro_batches_are_those_of_the_whole_batch(
    two_processes: list[dict[str, Any]],
) -> None:
    first, second = two_processes
    np.testing.assert_array_equal(first["gradient"], second["gradient"])
    np.testing.assert_allclose(first["gradient"], first["gradient_alone"], rtol=1e-5, atol=1e-7)
    for process in two_processes:  # to the bit, so that it does not matter which steps were on trial
        np.testing.assert_array_equal(process["gradient_exchanged_afterwards"], first["gradient"])


def test_gradients_are_not_exchanged_before_the_last_micro_batch(
    two_processes: list[dict[str, Any]],
) -> None:
    first, second = two_processes
    assert not np.allclose(first["gradient_before"], second["gradient_before"])
