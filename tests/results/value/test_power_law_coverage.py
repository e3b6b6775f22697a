"""How often the intervals of the law hold the truth, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from results.value.power_law import PowerLaw, fit_power_law

NUM_WORLDS = 60
A, B = 4.0, 0.4
PFLOP_FOR_99 = (A / 1.0) ** (1 / B)


def law_of(spread: float, seed: int) -> PowerLaw:
    """The law of 24 cells whose log error lies above the true front by an exponential excess."""
    random = np.random.default_rng(seed)
    pflop = np.exp(random.uniform(np.log(1e-3), 0, 24))
    found = fit_power_law(pflop, A * pflop**-B * np.exp(random.exponential(spread, 24)))
    assert isinstance(found, PowerLaw)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.5, 0.2])
def test_intervals_hold_the_truth_nearly_as_often_as_the_page_says(spread: float) -> None:
    found = [law_of(spread, seed) for seed in range(NUM_WORLDS)]
    assert all(each.b_low is not None for each in found)
    holds_b = [(each.b_low or -np.inf) <= B <= (each.b_high or np.inf) for each in found]
    targets = [each.target for each in found]
    holds_pflop = [
        (target.low_pflop or 0) <= PFLOP_FOR_99 <= (target.high_pflop or np.inf) for target in targets
    ]
    # Three standard errors of so few worlds below what was measured of more: 93 and 95%, 91 and 83%.
    assert np.mean(holds_b) > 0.83
    assert np.mean(holds_pflop) > 0.69
    assert np.mean([each.law.b for each in found]) == pytest.approx(B, rel=0.15)
