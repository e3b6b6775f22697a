"""How many images a comparison needs."""

from __future__ import annotations

import math
from statistics import NormalDist

ALPHA = 0.05
"""A difference is called resolved where its p-value is at most this."""

POWER = 0.8
"""Chance of resolving a difference that exists, when asked how many images that takes."""


def images_for_power(only_a: int, only_b: int, n: int) -> int | None:
    """Images needed to resolve with a chance of 80% a true difference as large as the one observed on n.

    Connor 1987, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43:207-211: with psi the share of discordant images and delta the difference of the shares,
    (z_alpha/2 sqrt(psi) + z_beta sqrt(psi - delta^2))^2 / delta^2, for the two-sided test at 5%. An
    approximation: the exact test keeps below its 5%, and has a chance of 76 to 79% with so many images.

    Returns:
        None where the observed difference is 0: no number of images resolves that.

    Raises:
        ValueError: there is no image, or the counts are not from 0 to n.
    """
    if n < 1 or min(only_a, only_b, n - only_a - only_b) < 0:
        raise ValueError(f"no number of images for {only_a} and {only_b} of {n}")
    if only_a == only_b:
        return None
    discordant, difference = (only_a + only_b) / n, abs(only_a - only_b) / n
    z_alpha, z_beta = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
    root = z_alpha * math.sqrt(discordant) + z_beta * math.sqrt(discordant - difference**2)
    return math.ceil((root / difference) ** 2)
