"""Policies: random sequences of adjustments, drawn for every image of a batch on its own.

    policy = TrivialAugmentWide()
    images_BCHW = policy.apply(images_BCHW, policy.draw(batch))

Each is torchvision's `transforms.v2` class of the same name, with its default arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from harness.augment.adjustments import ADJUSTMENTS, IDENTITY, Strengths, draw_steps, take_steps
from harness.augment.grouping import channels_last
from harness.augment.operation import GlobalBatch

INVERT = ADJUSTMENTS.index("Invert")
"""The last one: only AutoAugment makes use of it."""

RANDAUGMENT = Strengths(
    num_bins=31,
    shear=0.3,
    translate=lambda size: 150 / 331 * size,
    rotate=30,
    enhance=0.9,
    posterize=(8, 4),
)
RANDAUGMENT_BIN = 9
TRIVIALAUGMENT_WIDE = Strengths(
    num_bins=31,
    shear=0.99,
    translate=lambda _: 32,
    rotate=135,
    enhance=0.99,
    posterize=(8, 2),
)
AUTOAUGMENT = replace(RANDAUGMENT, num_bins=10)
AUGMIX = replace(AUTOAUGMENT, translate=lambda size: size / 3, posterize=(4, 0))
AUGMIX_SEVERITY = 3
"""Magnitudes come from so many of the first bins."""

NUM_CHAINS, CHAIN_DEPTH = 3, 3
"""Chains of AugMix, and steps that each has at most."""

CIFAR10_POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
"""Pairs of (adjustment, probability, bin of ten): Cubuk et al. 2019, arXiv 1805.09501, appendix."""


@dataclass(frozen=True)
class RandAugment:
    """Two adjustments of magnitude 9 of 30: Cubuk et al. 2020, arXiv 1909.13719, section 3."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """int64 [B, 6]: two steps."""
        adjustments = batch.integers(IDENTITY, INVERT, 2)
        return draw_steps(batch, adjustments, torch.full_like(adjustments, RANDAUGMENT_BIN)).flatten(1)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Take the two steps."""
        return channels_last(take_steps(images_BCHW, parameters.view(-1, 2, 3), RANDAUGMENT, "nearest"))


@dataclass(frozen=True)
class TrivialAugmentWide:
    """One adjustment of any magnitude: Müller & Hutter 2021, arXiv 2103.10158, section 3."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """int64 [B, 3]: a step."""
        adjustments = batch.integers(IDENTITY, INVERT, 1)
        return draw_steps(batch, adjustments, batch.integers(0, TRIVIALAUGMENT_WIDE.num_bins, 1)).flatten(1)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Take the step."""
        return channels_last(
            take_steps(images_BCHW, parameters.view(-1, 1, 3), TRIVIALAUGMENT_WIDE, "nearest")
        )


@dataclass(frozen=True)
class AutoAugment:
    """One of 25 learned pairs, each half with its probability: Cubuk et al. 2019, arXiv 1805.09501."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """int64 [B, 6]: two steps, either or both of which may be the identity."""
        adjustments, probabilities, bins = _cifar10_policy(batch.generator.device)
        pair_B = batch.integers(0, len(CIFAR10_POLICY))
        taken = batch.uniform(2) < probabilities[pair_B]
        return draw_steps(batch, torch.where(taken, adjustments[pair_B], IDENTITY), bins[pair_B]).flatten(1)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Take the two steps."""
        return channels_last(take_steps(images_BCHW, parameters.view(-1, 2, 3), AUTOAUGMENT, "nearest"))


@dataclass(frozen=True)
class AugMix:
    """A weighted mean of the image and three chains of one to three weak adjustments.

    Hendrycks et al. 2020, arXiv 1912.02781, section 3, with alpha 1; the images alone, not the loss.
    """

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 31]: three steps for each chain, then the weight of the image and of each chain.

        A shorter chain ends in the identity.
        """
        num_steps = NUM_CHAINS * CHAIN_DEPTH
        adjustments = batch.integers(IDENTITY + 1, INVERT, num_steps)
        depths = batch.integers(1, CHAIN_DEPTH + 1, NUM_CHAINS, 1)
        taken = torch.arange(CHAIN_DEPTH, device=depths.device) < depths
        adjustments = torch.where(taken.flatten(1), adjustments, IDENTITY)
        steps = draw_steps(batch, adjustments, batch.integers(0, AUGMIX_SEVERITY, num_steps))
        # Beta(1, 1) is uniform, and exponential variables over their sum are Dirichlet(1, 1, 1).
        image_weight = batch.uniform(1)
        chain_weights = -torch.log1p(-batch.uniform(NUM_CHAINS))
        chain_weights *= (1 - image_weight) / chain_weights.sum(1, keepdim=True)
        return torch.cat((steps.flatten(1).float(), image_weight, chain_weights), dim=1)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Take the steps of all chains at once, and mix."""
        steps, weights = parameters[:, : -1 - NUM_CHAINS], parameters[:, -1 - NUM_CHAINS :]
        steps_NS3 = steps.long().view(-1, NUM_CHAINS, CHAIN_DEPTH, 3).transpose(0, 1).flatten(0, 1)
        images_BCHW = images_BCHW.contiguous()
        ends = take_steps(images_BCHW.repeat(NUM_CHAINS, 1, 1, 1), steps_NS3, AUGMIX, "bilinear")
        weights = weights[:, :, None, None, None]
        mixed = images_BCHW * weights[:, 0]
        for chain, end in enumerate(ends.chunk(NUM_CHAINS), start=1):
            mixed += end.float().mul_(weights[:, chain])
        return channels_last(mixed.to(torch.int16).to(torch.uint8))  # through int16: faster on the CPU


@cache
def _cifar10_policy(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Adjustments, probabilities and bins of `CIFAR10_POLICY`, each [25, 2]."""
    adjustments = [[ADJUSTMENTS.index(name) for name, _, _ in pair] for pair in CIFAR10_POLICY]
    probabilities = [[probability for _, probability, _ in pair] for pair in CIFAR10_POLICY]
    bins = [[magnitude_bin for _, _, magnitude_bin in pair] for pair in CIFAR10_POLICY]
    return (
        torch.tensor(adjustments, device=device),
        torch.tensor(probabilities, device=device),
        torch.tensor(bins, device=device),
    )
