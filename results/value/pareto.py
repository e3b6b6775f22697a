"""Which points no other one beats in both cost and error.

pareto_front(np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.3, 0.1]))    # [True, False, True]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(costs: ArrayLike, errors: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other one dominates: none costs as little and errs as little, one of it less.

    Both are better the lower they are. Of equal points all are on the front. O(N log N).

    Args:
        costs: [N], in any unit; NaN where unknown.
        errors: [N], likewise.

    Returns:
        [N]; a point with a NaN is never on the front, and keeps no other one off it.

    Raises:
        ValueError: the two are not of one length.
    """
    cost, error = np.asarray(costs, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if cost.ndim != 1 or cost.shape != error.shape:
        raise ValueError(f"costs {cost.shape} and errors {error.shape} are not of one length")
    front = np.zeros(len(cost), dtype=np.bool_)
    known = np.flatnonzero(~(np.isnan(cost) | np.isnan(error)))
    if len(known) == 0:
        return front
    order = known[np.lexsort((error[known], cost[known]))]
    # np.unique gives where each group of equal costs begins: there its lowest error stands.
    _, starts, sizes = np.unique(cost[order], return_index=True, return_counts=True)
    lowest = error[order][starts]
    lowest_of_cheaper = np.concatenate(([np.nan], np.minimum.accumulate(lowest)[:-1]))
    improves = ~(lowest >= lowest_of_cheaper)  # true of the first group, which has no cheaper one
    front[order] = np.repeat(improves, sizes) & (error[order] == np.repeat(lowest, sizes))
    return front
