"""How much of a budget has been spent, and whether there is room for more. No torch here.

    spending = Spending(parse_budget("2h"))     # the clock starts
    spending.has_room_for(expected)             # seconds or FLOPs, as the budget has it
    spending.charge(flops)                      # of the epochs that an attempt has completed
    spending.over()                             # None, or a line that says so

A time is the time on the clock since this command began, whatever number of cells runs side by side:
`--budget 2h` ends two hours after it was typed. Compute is the training FLOPs of the epochs that this
command has completed, 1 multiply-add being 2. What earlier commands on the same folder spent does not
count. Energy is not measured by anything yet, so a budget of it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from harness.errors import UsageError
from launch.matrix.budget import Budget


class Spending:
    """What one command has spent.

    Args:
        budget: what it may spend.
        clock: seconds.

    Raises:
        UsageError: nothing here can measure what the budget is about.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        if budget.kind == "energy_j":
            raise UsageError(
                f"budget of {budget}: no energy is measured yet: use a time (2h) or compute (5 PFLOP)"
            )
        self.budget = budget
        self._clock = clock
        self._began = clock()
        self._flops = 0.0

    def charge(self, flops: float) -> None:
        """Count the compute of an attempt that has ended, however it ended."""
        self._flops += flops

    @property
    def spent(self) -> float:
        """Seconds or FLOPs, as the budget has it."""
        return self._clock() - self._began if self.budget.kind == "time_s" else self._flops

    @property
    def left(self) -> float:
        """Seconds or FLOPs; 0 when it is over."""
        return max(0.0, self.budget.amount - self.spent)

    def has_room_for(self, expected: float | None) -> bool:
        """Whether something fits into what is left, as far as its seconds or FLOPs are known; None: not."""
        return self.left > 0 and (expected is None or expected <= self.left)

    def over(self) -> str | None:
        """A line that says that the budget is spent; None while it is not."""
        if self.left > 0:
            return None
        spent = replace(self.budget, amount=self.spent)
        return f"the budget is spent: {spent} of {self.budget}"


def flops_of_epochs(total_train_flops: float, begin: int, end: int, epochs: int) -> float:
    """Training FLOPs from `begin` to `end` completed epochs: their share of those of all epochs.

    Where epochs differ, as with progressive resizing, the early ones take less than this.
    """
    return total_train_flops * (end - begin) / epochs
