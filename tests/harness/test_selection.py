from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from harness.augment.pipeline import Augmentation
from harness.batches import Inputs
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.precision import make_autocast
from harness.selection import Proxy
from tests.harness.run_helpers import small_cell

CPU = torch.device("cpu")


@pytest.fixture
def inputs(random_images: Callable[[int, int], ImageSet]) -> Inputs:
    loaded = DeviceImages(random_images(40, 32), None, CPU)
    augmentation = Augmentation(small_cell(augmentation="none"), 40, (128, 128, 128), CPU)
    return Inputs(loaded, None, loaded, augmentation, Normalizer((0.5,) * 3, (0.25,) * 3, 32, CPU), 10)


def make_proxy(inputs: Inputs, keep: float, lr: float = 0.05) -> Proxy:
    torch.manual_seed(3)
    cell = small_cell(recipe={"keep_hardest": keep, "lr": lr, "label_smoothing": 0.1})
    return Proxy(cell, inputs, make_autocast("fp32", CPU), CPU)


def batch_of(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    indices = torch.arange(20)
    return inputs.normalize(inputs.fit.gather(indices)), inputs.fit.labels_of(indices)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "shares of classes"])
def test_the_images_with_the_highest_loss_of_the_proxy_are_kept_with_their_targets(
    inputs: Inputs, soft: bool
) -> None:
    images, labels = batch_of(inputs)
    targets = F.one_hot(labels, 10).float() if soft else labels
    proxy = make_proxy(inputs, keep=0.3)
    with torch.no_grad():
        logits = proxy.net.train()(images)  # statistics of the batch: what is running does not count
    losses = F.cross_entropy(logits, targets, label_smoothing=0.1, reduction="none")
    expected = losses.argsort(descending=True)[:6].sort().values

    kept, kept_targets = proxy.hardest(images, targets, lr=0.05)
    found = [int((images == image).flatten(1).all(1).nonzero().item()) for image in kept]
    assert sorted(found) == expected.tolist()
    assert torch.equal(kept_targets, targets[found])
    assert kept.is_contiguous(memory_format=torch.channels_last)


def test_the_proxy_learns_from_what_it_keeps(inputs: Inputs) -> None:
    images, labels = batch_of(inputs)
    proxy = make_proxy(inputs, keep=0.5)

    def loss() -> float:
        with torch.no_grad():
            return F.cross_entropy(proxy.net.train()(images), labels).item()

    before = loss()
    for _ in range(30):
        proxy.hardest(images, labels, lr=0.05)
    assert loss() < 0.6 * before


def test_a_rate_of_almost_zero_leaves_the_proxy_as_it_is(inputs: Inputs) -> None:
    proxy = make_proxy(inputs, keep=0.5)
    before = [parameter.detach().clone() for parameter in proxy.net.parameters()]
    proxy.hardest(*batch_of(inputs), lr=1e-30)
    for parameter, kept in zip(proxy.net.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), kept)
