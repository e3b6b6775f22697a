from __future__ import annotations

import time

import pytest
import torch

from harness.errors import HardwareError
from harness.estimate import measured_peak


def test_the_peak_is_above_what_a_product_of_matrices_reaches() -> None:
    """One thread against itself: whatever else the machine does, the peak is not below."""
    threads = torch.get_num_threads()
    peak = measured_peak("fp32", torch.device("cpu"))
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    try:
        matrix = torch.rand(512, 512)
        start = time.thread_time()
        for _ in range(20):
            matrix @ matrix
        reached = 20 * 2 * 512**3 / (time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert 0.5 * reached * threads < peak < 1e14


def test_a_precision_that_the_device_cannot_compute_in_has_no_peak() -> None:
    with pytest.raises(HardwareError, match="fp16"):
        measured_peak("fp16", torch.device("cpu"))
