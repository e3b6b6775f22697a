from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import evaluate
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.evaluate import accuracy, average_running_statistics, mean_loss, predict
from harness.precision import make_autocast
from harness.process import Process

CPU = torch.device("cpu")
NORMALIZE = Normalizer((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 8, CPU)
FP32 = make_autocast("fp32", CPU)


class SecondProcessScoresTheSame(Process):
    """A process whose partner works on the very same images."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)


class SecondProcessIsSilent(Process):
    """A process whose partner scores nothing."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor


@pytest.fixture
def images(random_images: Callable[[int, int], ImageSet]) -> DeviceImages:
    return DeviceImages(random_images(7, 8), None, CPU)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 5)
    )


def use_batches_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of so many images of 8 pixels: the constant is that of images of 32."""
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH_SIZE", Fraction(size * 8**2, 32**2))


def plain_forward(model: nn.Module, batch: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(NORMALIZE(batch))
    return logits


@pytest.mark.parametrize("batch_size", [7, 3, 1, 100])
def test_logits_are_those_of_one_plain_forward_pass(
    model: nn.Module,
    images: DeviceImages,
    one_process: Process,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
) -> None:
    use_batches_of(batch_size, monkeypatch)
    model.train()
    logits = predict(model, images, NORMALIZE, FP32, one_process)
    expected = plain_forward(model, images.gather(torch.arange(7)))
    assert (logits.dtype, logits.shape) == (torch.float32, (7, 5))
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(("batch_size", "num_batches"), [(7, 1), (3, 3), (1, 7)])
def test_each_batch_is_a_sign_of_life(
    model: nn.Module,
    images: DeviceImages,
    one_process: Process,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    num_batches: int,
) -> None:
    use_batches_of(batch_size, monkeypatch)
    beats: list[str] = []
    predict(model, images, NORMALIZE, FP32, one_process, beat=lambda: beats.append("alive"))
    assert len(beats) == num_batches


def test_mirror_images_are_scored_in_place_of_the_images(
    model: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    logits = predict(model, images, NORMALIZE, FP32, one_process, mirror=True)
    batch = images.gather(torch.arange(7))
    torch.testing.assert_close(logits, plain_forward(model, batch.flip(3)))
    assert not torch.allclose(logits, plain_forward(model, batch))


def test_logits_of_a_bf16_model_are_kept_in_float32(
    model: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    logits = predict(model, images, NORMALIZE, make_autocast("bf16", CPU), one_process)
    expected = plain_forward(model, images.gather(torch.arange(7)))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.05)
    assert not torch.equal(logits, expected)


def test_scoring_changes_neither_weights_nor_running_statistics(
    model: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    predict(model, images, NORMALIZE, FP32, one_process)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_an_image_that_two_processes_score_is_noticed(
    model: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    process = SecondProcessScoresTheSame(**vars(one_process))
    with pytest.raises(AssertionError, match="scored twice or not at all"):
        predict(model, images, NORMALIZE, FP32, process)


def test_an_image_that_no_process_scores_is_noticed(
    model: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    process = SecondProcessIsSilent(**vars(replace(one_process, world_size=2)))
    with pytest.raises(AssertionError, match="scored twice or not at all"):
        predict(model, images, NORMALIZE, FP32, process)


def test_two_processes_score_each_of_seven_images_once_and_agree(two_processes: list[dict[str, Any]]) -> None:
    first, second = two_processes
    assert first["logits"].shape == (7, 5)
    np.testing.assert_array_equal(first["logits"], second["logits"])
    for arrays in two_processes:
        np.testing.assert_allclose(arrays["logits"], arrays["logits_alone"], rtol=1e-5, atol=1e-6)


def test_two_processes_share_the_mean_of_their_running_statistics(
    two_processes: list[dict[str, Any]],
) -> None:
    for arrays in two_processes:
        np.testing.assert_array_equal(arrays["running_mean"], np.full(4, 2, np.float32))  # of 1 and 3
        assert arrays["num_batches"] == 11


def test_one_process_keeps_its_running_statistics(one_process: Process) -> None:
    model = nn.BatchNorm2d(4)
    assert model.running_mean is not None
    model.running_mean.fill_(3)
    average_running_statistics(model, one_process)
    assert torch.equal(model.running_mean, torch.full((4,), 3.0))


def test_accuracy_is_the_share_of_images_with_the_largest_logit_at_the_label() -> None:
    logits = torch.tensor([[0.1, 0.9], [2.0, -1.0], [0.3, 0.4], [-5.0, -4.0]])
    assert accuracy(logits, torch.tensor([1, 0, 0, 1])) == 0.75


def test_loss_is_the_mean_cross_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert mean_loss(logits, torch.tensor([1, 0])) == pytest.approx(expected)
