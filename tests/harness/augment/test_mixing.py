from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import v2

from harness.augment.mixing import CutMix, Mixing, MixUp
from harness.augment.operation import GlobalBatch

SIZES = [(32, 32), (7, 7), (40, 24)]


def batch(num_images: int, seed: int = 0) -> GlobalBatch:
    return GlobalBatch(torch.arange(num_images), 0, torch.Generator().manual_seed(seed))


def noise(num_images: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(num_images, 3, height, width, generator=torch.Generator().manual_seed(1))


def torchvision_mix(mix: Any, images: Tensor, params: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Torchvision's output for fixed draws, for images and for labels 0, 1, 2, ..."""
    labels = torch.arange(len(images))
    values = params | {"labels": labels, "batch_size": len(images), "num_classes": len(images)}
    mixed = SimpleNamespace(images=mix.transform(images, values), labels=mix.transform(labels, values))
    return mixed.images, mixed.labels


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_torchvisions_where_all_shares_are_equal(share: float) -> None:
    images = noise(6)
    mixed, own = MixUp().apply(images, images.roll(1, 0), torch.full((6,), share))
    expected, labels = torchvision_mix(v2.MixUp(num_classes=6), images, {"lam": share})
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(own, labels.diag())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cutmix_is_torchvisions_for_each_share_and_centre(height: int, width: int) -> None:
    images, drawn = noise(40, height, width), CutMix().draw(batch(40))
    mixed, own = CutMix().apply(images, images.roll(1, 0), drawn)
    for row, (share, down, right) in enumerate(drawn.tolist()):
        centre_y, centre_x = int(down * height), int(right * width)
        reach = 0.5 * (1 - share) ** 0.5
        half_h, half_w = int(reach * height), int(reach * width)
        box = (
            max(0, centre_x - half_w),
            max(0, centre_y - half_h),
            min(width, centre_x + half_w),
            min(height, centre_y + half_h),
        )
        area = (box[2] - box[0]) * (box[3] - box[1]) / (height * width)
        params = {"box": box, "lam_adjusted": 1 - area}
        expected, labels = torchvision_mix(v2.CutMix(num_classes=40), images, params)
        assert torch.equal(mixed[row], expected[row])
        torch.testing.assert_close(own[row], labels[row, row])


def test_cutmix_areas_are_distributed_as_torchvision_draws_them() -> None:
    torch.manual_seed(0)
    theirs = v2.CutMix(num_classes=2)
    images = noise(1)
    shares = [theirs.make_params([images])["lam_adjusted"] for _ in range(3000)]
    _, own = CutMix().apply(images.expand(3000, -1, -1, -1), images, CutMix().draw(batch(3000)))
    assert ks_2samp(own.numpy(), shares).pvalue > 1e-3


@pytest.mark.parametrize("mixing", [MixUp(), CutMix()])
def test_shares_are_uniform_before_clipping_and_differ_within_a_batch(mixing: Mixing) -> None:
    share = mixing.draw(batch(20_000, seed=1)).view(20_000, -1)[:, 0]
    assert kstest(share.numpy(), "uniform").pvalue > 1e-3  # Beta(1, 1)
    first, second = (4 * share).long().view(-1, 2).T
    assert chisquare(torch.bincount(4 * first + second, minlength=16).numpy()).pvalue > 1e-3
    assert len(set(share.tolist())) > 19_900


@pytest.mark.parametrize("mixing", [MixUp(), CutMix()])
def test_draws_follow_from_the_generator_alone(mixing: Mixing) -> None:
    draws = [mixing.draw(batch(100, seed)) for seed in (3, 3, 4)]
    assert [torch.equal(a, b) for a, b in pairwise(draws)] == [True, False]
