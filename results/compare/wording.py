"""What a comparison says, in words and figures that do not claim more than was measured.

verdict(compare_pair(a, b))       one sentence
p_text(found.p_value)             "0.051", "< 1e-9"
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from results.compare.paired import PairedComparison
from results.compare.power import ALPHA
from results.compare.several import Pair, Ranking
from results.predictions import PredictionSet

MAX_NAMED = 5
"""Systems or classes that a sentence lists by name."""


TINY_P = 1e-9
"""Smaller p-values are only said to be smaller; JSON has them."""


def verdict(found: PairedComparison) -> str:
    """The comparison of two systems in one sentence."""
    images = f"these {found.n:,} images ({p_equals(found.p_value)})"
    if found.only_a == found.only_b:
        right = f"each got {found.correct_a:,} of {found.n:,} images right"
        return f"{found.name_a} and {found.name_b} are level: {right} (p = 1)"
    ahead, behind, low, high = found.name_a, found.name_b, found.low_points, found.high_points
    if found.difference_points < 0:
        ahead, behind, low, high = behind, ahead, -high, -low
    distance = f"{points(abs(found.difference_points), found.n)} points {interval(low, high, found.n)}"
    if found.resolved:
        return f"{ahead} is better than {behind} by {distance} on {images}"
    return f"{ahead} is ahead of {behind} by {distance}: not resolved on {images}"


def ranking_verdict(found: Ranking) -> str:
    """The comparison of several systems in one sentence: who leads, and from whom that is not resolved."""
    n = found.systems[0].accuracy.n
    most = found.systems[0].accuracy.count
    level = [place for place, system in enumerate(found.systems) if system.accuracy.count == most]
    others = [pair for pair in found.pairs if pair.first in level and pair.second not in level]
    tied = sorted({pair.second for pair in others if not pair.resolved})
    leaders = listed([found.systems[place].name for place in level])
    if tied:
        verb = "leads" if len(level) == 1 else "lead with the same accuracy"
        names = listed([found.systems[place].name for place in tied])
        return f"{leaders} {verb}, but on these {n:,} images that is not resolved from {names}"
    if not others:
        return f"{leaders} are level: each got {most:,} of {n:,} images right"
    largest = p_equals(max(pair.p_holm for pair in others), "≤")
    verb = "is better" if len(level) == 1 else "have the same accuracy and are better"
    return f"{leaders} {verb} than all others on these {n:,} images ({largest})"


def notes(found: Sequence[PredictionSet], pairs: Sequence[Pair]) -> list[str]:
    """What a reader has to know before he trusts the figures."""
    lines = []
    if any(pair.resolved != _leaves_out_0(pair) for pair in pairs):
        alone = "" if len(pairs) == 1 else ", without a correction for many pairs"
        lines.append(
            f"intervals are approximate{alone}; whether a difference is resolved, the exact test decides"
        )
    unknown = [each.name for each in found if each.fingerprint is None]
    if unknown and len(unknown) < len(found):
        lines.append(
            f"the pixels that {listed(unknown)} saw are not known; the true classes agree image by image"
        )
    elif unknown:
        lines.append("none of these files says which pixels it is about; their true classes agree")
    if len({each.league for each in found if each.league is not None}) > 1:
        lines.append("models trained from scratch and pre-trained ones are compared: two different leagues")
    lines.append("this is about these trained models: the same recipe with another seed may differ")
    return lines


def p_text(p: float) -> str:
    """A p-value with two digits, or as many as tell it from the 5% that decides."""
    if p < TINY_P:
        return f"< {TINY_P:.0e}".replace("e-0", "e-")
    if p == ALPHA:
        return f"{p:g}"
    return next(text for digits in range(2, 18) if float(text := f"{p:.{digits}g}") != ALPHA)


def p_equals(p: float, sign: str = "=") -> str:
    """`p = 0.051`, or `p < 1e-9`."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p {sign} {text}"


def points(value: float, n: int, sign: bool = False) -> str:
    """A difference in percentage points, with the digits that one of n images can move."""
    digits = num_digits(n)
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def interval(low: float, high: float, n: int, sign: bool = False) -> str:
    """An interval in percentage points."""
    return f"[{points(low, n, sign)}, {points(high, n, sign)}]"


def num_digits(n: int) -> int:
    """Decimals of a percentage of n images: two, or more where one image moves less than 0.01."""
    return max(2, math.ceil(math.log10(n)) - 2)


def rounded(count: int) -> str:
    """A number of images to three digits: it is an estimate."""
    digits = len(str(count))
    return f"{round(count, 3 - digits) if digits > 3 else count:,}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence; of many, the first few and how many more."""
    if len(names) > MAX_NAMED:
        return f"{', '.join(names[:MAX_NAMED])} and {len(names) - MAX_NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _leaves_out_0(pair: Pair) -> bool:
    return pair.comparison.low_points > 0 or pair.comparison.high_points < 0
