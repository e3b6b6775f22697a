"""How much a matrix may cost: time, compute or energy. No torch here.

parse_budget("1.5 PFLOP")       # Budget(kind='flops', amount=1.5e15)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import UsageError
from launch.units import duration_s

BudgetKind = Literal["time_s", "flops", "energy_j"]

_UNITS: dict[str, tuple[BudgetKind, float]] = {
    "GFLOP": ("flops", 1e9),
    "TFLOP": ("flops", 1e12),
    "PFLOP": ("flops", 1e15),
    "EFLOP": ("flops", 1e18),
    "J": ("energy_j", 1),
    "kJ": ("energy_j", 1e3),
    "MJ": ("energy_j", 1e6),
    "GJ": ("energy_j", 1e9),
    "Wh": ("energy_j", 3600),
    "kWh": ("energy_j", 3.6e6),
}
_SHOWN: dict[BudgetKind, list[tuple[str, float]]] = {
    "time_s": [("h", 3600), ("min", 60), ("s", 1)],
    "flops": [("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)],
    "energy_j": [("MJ", 1e6), ("kJ", 1e3), ("J", 1)],
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
_UNIT = r"[GTPE]FLOPs?|[kMG]?J|k?Wh"
_TIMES = r"(?:[0-9.]+\s*(?:s|min|m|h|d)\s*)+"
_EXPECTED = "expected a time (30m, 2h, 1d), compute (500 TFLOP, 1.5 PFLOP) or energy (500 kJ, 0.2 kWh)"

BUDGET_PATTERN = rf"^\s*(?:{_NUMBER}\s*(?:{_UNIT})|{_TIMES})\s*$"


@dataclass(frozen=True)
class Budget:
    """What may be spent on a matrix."""

    kind: BudgetKind
    amount: float
    """In seconds of wall time, FLOPs (1 multiply-add is 2) or joules, as the kind says."""

    def __str__(self) -> str:
        units = _SHOWN[self.kind]
        unit, size = next((each for each in units if self.amount >= each[1]), units[-1])
        return f"{self.amount / size:.4g} {unit}"


def parse_budget(text: Any) -> Budget:
    """The budget that a text such as `2h`, `1h30m`, `1.5 PFLOP` or `500 kJ` means.

    Units are written as here: `m` is minutes, `MJ` megajoules. FLOP may end in an s.

    Raises:
        UsageError: it is none of these, or not more than 0.
    """
    if isinstance(text, Budget):
        return text
    if not isinstance(text, str):
        raise UsageError(f"budget {text!r}: {_EXPECTED}")
    text = text.strip()
    if match := re.fullmatch(rf"({_NUMBER})\s*({_UNIT})", text):
        kind, size = _UNITS[match.group(2).removesuffix("s")]
        budget = Budget(kind, float(match.group(1)) * size)
    elif re.fullmatch(_TIMES, text):
        budget = Budget("time_s", duration_s("budget", text))
    else:
        raise UsageError(f"budget '{text[:40]}': {_EXPECTED}")
    if not 0 < budget.amount < math.inf:
        raise UsageError(f"budget '{text[:40]}': expected a finite amount above 0")
    return budget
