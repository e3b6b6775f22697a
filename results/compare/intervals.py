"""Intervals of the difference between two accuracies that were measured on the same images.

low, high = newcombe_interval(both=9447, only_a=146, only_b=107, neither=300)
"""

from __future__ import annotations

import math

import numpy as np

from harness.interval import CONFIDENCE, wilson_interval


def newcombe_interval(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The score interval of the share right of a minus that of b, low and high from -1 to 1.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17:2635-2650, method 10: the Wilson intervals of both shares,
    joined with the correlation phi of the pairs, from whose numerator n/2 is taken where it is positive.

    Args:
        both: images that a and b got right.
        only_a: images that only a got right.
        only_b: images that only b got right.
        neither: images that both got wrong.
        confidence: level of the interval.

    Raises:
        ValueError: there is no image, or a count is negative.
    """
    counts = (both, only_a, only_b, neither)
    n = sum(counts)
    if n == 0 or min(counts) < 0:
        raise ValueError(f"no interval for the counts {counts}")
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, confidence)
    low_b, high_b = wilson_interval(both + only_b, n, confidence)
    phi = _corrected_phi(both, only_a, only_b, neither)
    difference = (only_a - only_b) / n
    below = _joined(share_a - low_a, high_b - share_b, phi)
    above = _joined(high_a - share_a, share_b - low_b, phi)
    return max(-1.0, difference - below), min(1.0, difference + above)


def bootstrap_interval(
    only_a: int, only_b: int, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The paired bootstrap percentile interval of the share right of a minus that of b, from -1 to 1.

    An image adds +1 to the difference (only a is right), -1 (only b) or 0, so n images drawn with
    replacement are n independent draws from these three outcomes: a multinomial. Its difference has a
    distribution that can be written down, the n-th power of the characteristic function of one draw, which
    an FFT inverts. This is the limit of infinitely many resamples (the "ideal bootstrap" of Efron and
    Tibshirani 1993, "An Introduction to the Bootstrap", section 6.2), without a seed and without noise.

    Raises:
        ValueError: there is no image, or the counts are not from 0 to n.
    """
    if n < 1 or min(only_a, only_b, n - only_a - only_b) < 0:
        raise ValueError(f"no interval for {only_a} and {only_b} of {n}")
    # Bernstein's inequality leaves less than 1e-18 outside of the window, which may then wrap around.
    window = min(2 * n, math.ceil(10 * math.sqrt(only_a + only_b)) + 60)
    length = 2 ** math.ceil(math.log2(2 * window + 1))
    angles = 2 * np.pi * np.arange(length // 2 + 1) / length
    real = ((only_a + only_b) * np.cos(angles) + (n - only_a - only_b)) / n
    one_draw = real + 1j * (only_a - only_b) / n * np.sin(angles)
    centred = one_draw**n * np.exp(-1j * (only_a - only_b) * angles)
    # irfft has the opposite sign in its exponent, hence the conjugate; -window comes first after the roll.
    shares = np.roll(np.fft.irfft(np.conj(centred), length), window)[: 2 * window + 1]
    tail = (1 - confidence) / 2
    low = only_a - only_b - window + int(np.argmax(np.cumsum(shares) >= tail))
    high = only_a - only_b + window - int(np.argmax(np.cumsum(shares[::-1]) >= tail))
    return low / n, high / n


def _corrected_phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Correlation of two right-or-wrong variables; 0 where one of them does not vary."""
    n = both + only_a + only_b + neither
    spread = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if spread == 0:
        return 0.0
    product = both * neither - only_a * only_b
    if product > 0:
        return max(product - n / 2, 0.0) / math.sqrt(spread)
    return product / math.sqrt(spread)


def _joined(first: float, second: float, phi: float) -> float:
    # Rounding may carry the sum a hair below 0 where the two are equal and phi is 1.
    return math.sqrt(max(0.0, first**2 - 2 * phi * first * second + second**2))
