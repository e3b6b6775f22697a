from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.compare.paired import compare_counts
from results.compare.several import Pair, compare_systems
from results.compare.wording import (
    interval,
    listed,
    notes,
    num_digits,
    p_text,
    points,
    ranking_verdict,
    rounded,
    verdict,
)
from results.predictions import PredictionSet

MakeSet = Callable[..., PredictionSet]

LABELS = [0] * 100


def _wrong(count: int, start: int = 0) -> list[int]:
    return [int(start <= index < start + count) for index in range(100)]


def _ranking_words(make_set: MakeSet, *classes: Sequence[int]) -> str:
    return ranking_verdict(
        compare_systems([make_set(each, LABELS, name=f"m{index}") for index, each in enumerate(classes)])
    )


def test_a_verdict_names_the_better_one_whichever_comes_first() -> None:
    a = compare_counts("A", "B", both=9000, only_a=209, only_b=170, n=10_000)
    b = compare_counts("B", "A", both=9000, only_a=170, only_b=209, n=10_000)

    assert verdict(a).startswith("A is ahead of B by 0.39 points [")
    assert verdict(a).endswith("]: not resolved on these 10,000 images (p = 0.051)")
    assert verdict(b) == verdict(a)


def test_a_verdict_on_a_resolved_difference() -> None:
    found = compare_counts("A", "B", both=50, only_a=30, only_b=2, n=100)

    assert verdict(found).startswith("A is better than B by 28.00 points [")
    assert verdict(found).endswith("] on these 100 images (p = 2.5e-07)")


def test_a_verdict_on_equal_accuracies() -> None:
    found = compare_counts("A", "B", both=50, only_a=3, only_b=3, n=100)

    assert verdict(found) == "A and B are level: each got 53 of 100 images right (p = 1)"


def test_the_verdict_on_many(make_set: MakeSet) -> None:
    assert _ranking_words(make_set, _wrong(0), _wrong(2), _wrong(30)) == (
        "m0 leads, but on these 100 images that is not resolved from m1"
    )
    assert _ranking_words(make_set, _wrong(0), _wrong(20), _wrong(30)).startswith(
        "m0 is better than all others on these 100 images (p ≤ "
    )
    assert _ranking_words(make_set, _wrong(1), _wrong(1, 5), _wrong(3)) == (
        "m0 and m1 lead with the same accuracy, but on these 100 images that is not resolved from m2"
    )
    assert _ranking_words(make_set, _wrong(1), _wrong(1, 5), _wrong(40)).startswith(
        "m0 and m1 have the same accuracy and are better than all others"
    )
    assert _ranking_words(make_set, _wrong(1), _wrong(1), _wrong(1)) == (
        "m0, m1 and m2 are level: each got 99 of 100 images right"
    )


def test_notes_say_what_is_not_known(make_set: MakeSet) -> None:
    ours = make_set(LABELS, LABELS, name="ours", fingerprint="a", league="from scratch")
    theirs = make_set(_wrong(1), LABELS, name="theirs")
    tuned = make_set(_wrong(2), LABELS, fingerprint="a", league="pre-trained")

    assert "the pixels that theirs saw are not known" in _notes(ours, theirs)
    assert "none of these files says" in _notes(theirs, theirs)
    assert "two different leagues" in _notes(ours, tuned)
    assert "league" not in _notes(ours, theirs)


def test_a_note_explains_an_interval_that_contradicts_the_test() -> None:
    near = compare_counts("A", "B", both=9384, only_a=209, only_b=170, n=10_000)
    clear = compare_counts("A", "B", both=9384, only_a=309, only_b=170, n=10_000)

    assert near.low_points > 0 and not near.resolved  # noqa: PT018  (one situation)
    assert any("exact test decides" in words for words in notes([], [Pair(0, 1, near, near.p_value)]))
    assert not any("exact test decides" in words for words in notes([], [Pair(0, 1, clear, clear.p_value)]))


@given(st.floats(0, 1))
@settings(deadline=None)
def test_a_p_value_never_looks_to_be_on_the_other_side_of_5_percent(p: float) -> None:
    text = p_text(p)

    if not text.startswith("<"):
        assert (float(text) <= 0.05) == (p <= 0.05)
        assert float(text) == pytest.approx(p, rel=0.06)


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "1"),
        (0.0508, "0.051"),
        (0.05004, "0.05004"),
        (0.05, "0.05"),
        (0.0004, "0.0004"),
        (0.0, "< 1e-9"),
    ],
)
def test_p_values_as_text(p: float, text: str) -> None:
    assert p_text(p) == text


def test_digits_show_what_one_image_can_move() -> None:
    assert [num_digits(n) for n in (1, 100, 10_000, 50_000, 1_000_000)] == [2, 2, 2, 3, 4]
    assert points(-0.39, 10_000, sign=True) == "−0.39"
    assert interval(-0.1, 0.25, 50_000) == "[−0.100, 0.250]"


def test_numbers_and_lists_in_a_sentence() -> None:
    assert [rounded(count) for count in (7, 512, 19_556)] == ["7", "512", "19,600"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([str(index) for index in range(9)]) == "0, 1, 2, 3, 4 and 4 more"


def _notes(a: PredictionSet, b: PredictionSet) -> str:
    found = compare_systems([a, b])
    return " ".join(notes((a, b), found.pairs))
