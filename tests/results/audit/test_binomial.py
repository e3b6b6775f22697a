from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.audit.binomial import at_most_p, two_sided_p


@given(st.data(), st.integers(1, 3000), st.just(0.0) | st.floats(1e-6, 1))
@settings(max_examples=60, deadline=None)
def test_both_tests_agree_with_scipy(data: st.DataObject, n: int, share: float) -> None:
    count = data.draw(st.integers(0, n))
    two_sided = binomtest(count, n, share).pvalue
    assert two_sided_p(count, n, share) == pytest.approx(two_sided, rel=1e-9, abs=1e-290)
    at_most = binomtest(count, n, share, alternative="less").pvalue
    assert at_most_p(count, n, share) == pytest.approx(at_most, rel=1e-9, abs=1e-290)


@given(st.integers(0, 100_000))
@example(70_000)
@settings(max_examples=20, deadline=None)
def test_many_images_lose_no_digits(count: int) -> None:
    expected = binomtest(count, 100_000, 0.7).pvalue
    assert two_sided_p(count, 100_000, 0.7) == pytest.approx(expected, rel=1e-8, abs=1e-290)


@pytest.mark.parametrize(("count", "n", "share"), [(-1, 5, 0.5), (6, 5, 0.5), (0, 0, 0.5), (1, 5, 1.5)])
def test_what_no_test_can_be_made_of_is_refused(count: int, n: int, share: float) -> None:
    with pytest.raises(ValueError, match="no binomial test"):
        two_sided_p(count, n, share)
