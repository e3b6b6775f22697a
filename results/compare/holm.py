"""Many tests at once: p-values adjusted so that a false discovery anywhere stays as rare as in one test."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given; those at most 5% keep the family-wise error at 5%.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the smallest of m p-values is
    multiplied by m, the next by m - 1, and so on; an adjusted value is never below that of a smaller one.

    Raises:
        ValueError: a p-value is not from 0 to 1.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("a p-value is not from 0 to 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
