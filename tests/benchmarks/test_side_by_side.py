from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.side_by_side import in_turns, speedup


def test_functions_take_turns_in_changing_order_and_their_first_call_does_not_count() -> None:
    calls: list[str] = []

    def takes(name: str, seconds: Iterator[float]) -> Callable[[], float]:
        def run() -> float:
            calls.append(name)
            return next(seconds)

        return run

    functions = {"a": takes("a", iter([9, 1, 2, 3])), "b": takes("b", iter([9, 4, 5, 6]))}
    assert in_turns(functions, rounds=3) == {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_a_speedup_is_the_median_of_the_rounds_and_not_a_ratio_of_medians() -> None:
    found = speedup(slow_s=[2, 90, 4], fast_s=[1, 30, 1])
    assert (found.median, found.lowest, found.highest) == (3, 2, 4)
    assert str(found) == "3.00 (2.00 to 4.00)"


def test_a_speedup_needs_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="shorter"):
        speedup([1, 2], [1])
