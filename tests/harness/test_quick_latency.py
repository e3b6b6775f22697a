from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from harness.datasets.device_loader import Normalizer
from harness.precision import make_autocast
from harness.process import Process
from harness.quick_latency import BATCH_SIZE, QuickLatency, quick_latency

CPU = torch.device("cpu")


class FakeSamples:
    """Images of noise, as a set of test images gives them."""

    def __init__(self, num_images: int) -> None:
        self.labels = torch.zeros(num_images, dtype=torch.int64)
        self.index_device = CPU

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: Tensor) -> Tensor:
        assert int(indices.max()) < len(self)
        return torch.full((len(indices), 3, 8, 8), 128, dtype=torch.uint8)

    def labels_of(self, indices: Tensor) -> Tensor:
        return self.labels[indices]


def normalizer(image_size: int = 8) -> Normalizer:
    return Normalizer((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), image_size, CPU)


class Recorder(nn.Module):
    """Notes what it is given and how, and takes the seconds given."""

    def __init__(self, seconds: float = 0.0, most_images: int = BATCH_SIZE) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.seconds = seconds
        self.most_images = most_images
        self.seen: set[tuple[int, bool, bool, torch.dtype]] = set()

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most_images:
            raise torch.OutOfMemoryError("too many")
        time.sleep(self.seconds)
        out: Tensor = self.layer(images)
        self.seen.add((len(images), self.training, torch.is_inference_mode_enabled(), out.dtype))
        return out


def test_one_image_and_a_batch_are_timed_as_they_would_be_classified(one_process: Process) -> None:
    model = Recorder()
    start = time.perf_counter()
    found = quick_latency(model, FakeSamples(500), normalizer(), make_autocast("bf16", CPU), one_process)
    assert isinstance(found, QuickLatency)
    assert time.perf_counter() - start < 10  # about a second where nothing else runs
    assert model.seen == {(1, False, True, torch.bfloat16), (BATCH_SIZE, False, True, torch.bfloat16)}
    assert found.inference_batch_size == BATCH_SIZE
    assert found.inference_threads == torch.get_num_threads()
    assert 0 < found.latency_batch1_p50_ms < 1000
    assert found.inference_images_per_s > 0


def test_a_slow_model_ends_and_has_no_99th_percentile(one_process: Process) -> None:
    model = Recorder(seconds=0.05)
    start = time.perf_counter()
    autocast = make_autocast("fp32", CPU)
    found = quick_latency(model, FakeSamples(500), normalizer(), autocast, one_process)
    assert isinstance(found, QuickLatency)
    assert time.perf_counter() - start < 10
    assert found.latency_batch1_p50_ms >= 50
    assert found.latency_batch1_p99_ms is None
    assert found.reasons.keys() == {"latency_batch1_p99_ms"}
    assert 0 < found.inference_images_per_s < BATCH_SIZE / 0.05


@pytest.mark.parametrize(
    ("num_images", "image_size", "most_images", "batch_size"),
    [
        (20, 8, BATCH_SIZE, 20),  # no more than there are
        (500, 224, BATCH_SIZE, 1000 * 32**2 // 224**2),  # no larger than batches of an evaluation
        (500, 8, 50, BATCH_SIZE // 4),  # memory ran out twice
    ],
)
def test_the_batch_is_as_large_as_can_be(
    num_images: int, image_size: int, most_images: int, batch_size: int, one_process: Process
) -> None:
    model = Recorder(seconds=0.02, most_images=most_images)
    found = quick_latency(
        model, FakeSamples(num_images), normalizer(image_size), make_autocast("fp32", CPU), one_process
    )
    assert isinstance(found, QuickLatency)
    assert found.inference_batch_size == batch_size
    assert {size for size, *_ in model.seen} == {1, batch_size}


def test_a_model_that_fails_is_a_reason_and_ends_nothing(one_process: Process) -> None:
    found = quick_latency(
        Recorder(most_images=0), FakeSamples(5), normalizer(), make_autocast("fp32", CPU), one_process
    )
    assert found == "measuring failed: OutOfMemoryError: too many"
