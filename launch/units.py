"""Amounts as people type them: `2h`, `90m`, `8GB`. No torch here."""

from __future__ import annotations

import math
import re

from harness.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_MIB = {"KB": 1e3 / 2**20, "MB": 1e6 / 2**20, "GB": 1e9 / 2**20, "KIB": 1 / 1024, "MIB": 1, "GIB": 1024}
_PART = re.compile(r"\s*([0-9.]+)\s*([a-z]*)", re.IGNORECASE)


def duration_s(option: str, text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `2h`, `1h30m` or `2d`.

    Raises:
        UsageError: it is none of these, or not more than 0.
    """
    total, position = 0.0, 0
    while position < len(text.strip()):
        match = _PART.match(text, position)
        unit = match.group(2).lower() or "s" if match else ""
        number = _number(match.group(1)) if match else math.nan
        if match is None or unit not in _SECONDS or math.isnan(number):
            raise UsageError(f"{option} {text}: expected a time such as 90s, 15m, 2h or 1h30m")
        total += number * _SECONDS[unit]
        position = match.end()
    if not total > 0:
        raise UsageError(f"{option} {text}: expected a time above 0")
    return total


def memory_mib(option: str, text: str) -> float:
    """MiB of `8GB`, `512MiB` or the like.

    Raises:
        UsageError: it is none of these, or not more than 0.
    """
    match = _PART.fullmatch(text.strip())
    unit = match.group(2).upper() if match else ""
    number = _number(match.group(1)) if match else math.nan
    if unit not in _MIB or not number > 0:
        raise UsageError(f"{option} {text}: expected an amount of memory such as 8GB or 512MiB")
    return number * _MIB[unit]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
