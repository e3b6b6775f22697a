"""The attacks, held against the same written in numpy with gradients worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import adversarial
from harness.adversarial import EPSILON, NUM_STEPS, STEP, attack, fgsm, pgd, random_start
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.process import Process

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NORMALIZE = Normalizer(MEAN, STD, 8, CPU)
NUM_IMAGES = 60

Floats = np.ndarray[Any, np.dtype[np.float64]]


class SumsToNothing(Process):
    """A process whose partner attacks nothing."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def largest(self, value: float) -> float:
        return value


def easy_images() -> ImageSet:
    """Three classes, each a little brighter in one channel."""
    generator = np.random.default_rng(5)
    labels = np.arange(NUM_IMAGES, dtype=np.int64) % 3
    pixels = generator.integers(0, 220, (NUM_IMAGES, 3, 8, 8))
    pixels[np.arange(NUM_IMAGES), labels] += 6
    return ImageSet(pixels.astype(np.uint8), labels)


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    return DeviceImages(easy_images(), None, CPU)


@pytest.fixture(scope="module")
def trained(images: DeviceImages) -> nn.Module:
    """Gets most of the images right."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 3))
    everything = torch.arange(NUM_IMAGES)
    inputs, labels = NORMALIZE(images.gather(everything)), images.labels_of(everything)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval()


def pixels_of(images: DeviceImages) -> tuple[Tensor, Tensor, Tensor]:
    everything = torch.arange(NUM_IMAGES)
    return images.gather(everything).float() / 255, images.labels_of(everything), everything


def loss_of(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return F.cross_entropy(model(NORMALIZE(255 * pixels)), labels).item()


class ByHand:
    """The two layers of `trained` in float64, and their gradient by the chain rule."""

    def __init__(self, model: nn.Module) -> None:
        self._w1, self._b1, self._w2, self._b2 = (p.detach().double().numpy() for p in model.parameters())
        self._std = np.array(STD).reshape(1, 3, 1, 1)
        self._mean = np.array(MEAN).reshape(1, 3, 1, 1)

    def gradient(self, pixels: Floats, labels: np.ndarray[Any, Any]) -> Floats:
        hidden = np.tanh(((pixels - self._mean) / self._std).reshape(len(pixels), -1) @ self._w1.T + self._b1)
        logits = hidden @ self._w2.T + self._b2
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        by_logits = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(3)[labels]
        by_inputs = ((by_logits @ self._w2) * (1 - hidden**2)) @ self._w1
        gradient: Floats = by_inputs.reshape(pixels.shape) / self._std
        return gradient

    def pgd(self, pixels: Floats, labels: np.ndarray[Any, Any], noise: Floats) -> Floats:
        found = np.clip(pixels + EPSILON * noise, 0, 1)
        for _ in range(NUM_STEPS):
            found = found + STEP * np.sign(self.gradient(found, labels))
            found = np.clip(pixels + np.clip(found - pixels, -EPSILON, EPSILON), 0, 1)
        return found


def test_fgsm_is_the_step_worked_out_by_hand(trained: nn.Module, images: DeviceImages) -> None:
    pixels, labels, _ = pixels_of(images)
    exact = pixels.double().numpy()
    step = EPSILON * np.sign(ByHand(trained).gradient(exact, labels.numpy()))
    found = fgsm(trained, NORMALIZE, pixels, labels)
    np.testing.assert_allclose(found.numpy(), np.clip(exact + step, 0, 1), atol=1e-6)


def test_pgd_ends_where_the_steps_worked_out_by_hand_do(trained: nn.Module, images: DeviceImages) -> None:
    pixels, labels, indices = pixels_of(images)
    noise = random_start(indices, pixels).double().numpy()
    expected = ByHand(trained).pgd(pixels.double().numpy(), labels.numpy(), noise)
    found = pgd(trained, NORMALIZE, pixels, labels, indices).numpy()
    # where a gradient is 0 but for rounding, the signs may differ
    assert np.mean(np.abs(found - expected) > 1e-5) < 1e-3


@pytest.mark.parametrize("image_size", [5, 8, 12])
def test_the_gradient_goes_through_normalising_and_resizing(images: DeviceImages, image_size: int) -> None:
    torch.manual_seed(1)
    normalize = Normalizer(MEAN, STD, image_size, CPU)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, 3))
    pixels, labels = images.gather(torch.arange(2)).float() / 255, images.labels_of(torch.arange(2))
    gradient = adversarial._gradient(model, normalize, pixels, labels)
    for place in [(0, 0, 0, 0), (1, 2, 3, 7), (1, 1, 5, 4)]:
        step = torch.zeros_like(pixels)
        step[place] = 0.05
        high, low = (
            F.cross_entropy(model(normalize(255 * (pixels + sign * step))), labels, reduction="sum").item()
            for sign in (1, -1)
        )
        assert gradient[place].item() == pytest.approx((high - low) / 0.1, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("epsilon", [EPSILON, 1 / 255, 0.3])
def test_an_attack_stays_within_its_bound_and_within_black_and_white(
    trained: nn.Module, images: DeviceImages, epsilon: float
) -> None:
    pixels, labels, indices = pixels_of(images)
    for found in (
        fgsm(trained, NORMALIZE, pixels, labels, epsilon),
        pgd(trained, NORMALIZE, pixels, labels, indices, epsilon),
    ):
        assert float((found - pixels).abs().max()) <= epsilon + 1e-6
        assert float((found - pixels).abs().max()) > 0.9 * epsilon
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1


def test_an_attack_within_nothing_changes_nothing(trained: nn.Module, images: DeviceImages) -> None:
    pixels, labels, indices = pixels_of(images)
    assert torch.equal(fgsm(trained, NORMALIZE, pixels, labels, 0), pixels)
    assert torch.equal(pgd(trained, NORMALIZE, pixels, labels, indices, 0), pixels)


def test_the_loss_grows_with_the_strength_of_the_attack(trained: nn.Module, images: DeviceImages) -> None:
    pixels, labels, indices = pixels_of(images)
    losses = [
        loss_of(trained, found, labels)
        for found in (
            pixels,
            fgsm(trained, NORMALIZE, pixels, labels),
            pgd(trained, NORMALIZE, pixels, labels, indices),
        )
    ]
    assert losses[0] < losses[1] <= losses[2] + 1e-4


def test_the_start_of_an_image_follows_from_its_index_alone() -> None:
    like = torch.zeros(4, 3, 5, 5)
    whole = random_start(torch.tensor([7, 3, 9, 3]), like)
    assert torch.equal(whole[2:], random_start(torch.tensor([9, 3]), like[:2]))
    assert torch.equal(whole[1], whole[3])
    assert not torch.equal(whole[0], whole[1])
    assert float(whole.abs().max()) <= 1
    assert abs(float(whole.mean())) < 0.1


def test_a_stronger_attack_leaves_fewer_answers_right(
    trained: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    given = attack(trained, images, np.arange(NUM_IMAGES), NORMALIZE, one_process)
    clean, by_fgsm, by_pgd = (given.predicted == images.labels.numpy()).mean(axis=1)
    assert clean > 0.9
    assert by_pgd <= by_fgsm < clean
    assert (given.predicted.dtype, given.confidence.dtype) == (np.uint8, np.float16)
    assert given.predicted.shape == given.confidence.shape == (3, NUM_IMAGES)
    assert (given.confidence > 1 / 3 - 1e-3).all()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_answers_do_not_depend_on_the_batches(
    trained: nn.Module,
    images: DeviceImages,
    one_process: Process,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
) -> None:
    indices = np.arange(NUM_IMAGES)
    expected = attack(trained, images, indices, NORMALIZE, one_process)
    monkeypatch.setattr(adversarial, "ATTACK_BATCH_SIZE", Fraction(batch_size * 8**2, 32**2))
    beats: list[str] = []
    given = attack(trained, images, indices, NORMALIZE, one_process, beat=lambda: beats.append("alive"))
    np.testing.assert_array_equal(given.predicted, expected.predicted)
    assert len(beats) == NUM_STEPS * -(-NUM_IMAGES // batch_size)


def test_an_attack_leaves_no_gradient_and_changes_no_weight_or_statistic(
    images: DeviceImages, one_process: Process
) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)
    ).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = attack(model, images, np.arange(NUM_IMAGES), NORMALIZE, one_process)
    second = attack(model, images, np.arange(NUM_IMAGES), NORMALIZE, one_process)
    np.testing.assert_array_equal(first.predicted, second.predicted)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_an_attack_is_in_float32_even_where_the_caller_computes_in_bf16(
    trained: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    indices = np.arange(NUM_IMAGES)
    expected = attack(trained, images, indices, NORMALIZE, one_process)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        given = attack(trained, images, indices, NORMALIZE, one_process)
    np.testing.assert_array_equal(given.confidence, expected.confidence)


def test_batches_become_smaller_where_memory_runs_out(
    trained: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    class Small(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            if len(inputs) > 20:
                raise torch.OutOfMemoryError("no memory for so many")
            logits: Tensor = trained(inputs)
            return logits

    indices = np.arange(NUM_IMAGES)
    given = attack(Small(), images, indices, NORMALIZE, one_process)
    expected = attack(trained, images, indices, NORMALIZE, one_process)
    np.testing.assert_array_equal(given.predicted, expected.predicted)


def test_an_image_that_no_process_attacks_is_noticed(
    trained: nn.Module, images: DeviceImages, one_process: Process
) -> None:
    process = SumsToNothing(**vars(replace(one_process, world_size=2)))
    with pytest.raises(AssertionError, match="attacked twice or not at all"):
        attack(trained, images, np.arange(NUM_IMAGES), NORMALIZE, process)
