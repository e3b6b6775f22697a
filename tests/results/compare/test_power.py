from __future__ import annotations

import numpy as np
import pytest

from results.compare.paired import mcnemar_exact
from results.compare.power import ALPHA, images_for_power


@pytest.mark.parametrize(
    ("only_a", "only_b", "n"), [(209, 170, 10_000), (60, 40, 1_000), (12, 3, 100), (342, 155, 10_000)]
)
def test_so_many_images_resolve_the_difference_four_times_in_five(only_a: int, only_b: int, n: int) -> None:
    needed = images_for_power(only_a, only_b, n)
    assert needed is not None
    random = np.random.default_rng(0)

    draws = random.multinomial(needed, [only_a / n, only_b / n, 1 - (only_a + only_b) / n], size=4000)
    resolved = [mcnemar_exact(a, b) <= ALPHA for a, b, _ in draws.tolist()]

    # The exact test keeps below its 5%, which costs some power where few images disagree.
    assert 0.74 <= np.mean(resolved) <= 0.83


def test_the_published_formula_by_hand() -> None:
    # psi = 0.3, delta = 0.1: (1.959964 * sqrt(0.3) + 0.841621 * sqrt(0.29))^2 / 0.01 = 233.1
    assert images_for_power(20, 10, 100) == 234


def test_a_swap_changes_nothing() -> None:
    assert images_for_power(10, 20, 100) == images_for_power(20, 10, 100)


def test_no_number_of_images_resolves_a_difference_of_0() -> None:
    assert images_for_power(5, 5, 100) is None


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 3), (2, 2, 3)])
def test_what_are_no_counts_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no number of images"):
        images_for_power(*counts)
