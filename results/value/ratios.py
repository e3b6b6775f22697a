"""Single numbers that set accuracy against size and compute: NetScore, and shares of GPipe's.

net_scores(accuracies, num_params, forward_flops)    # [M], decibels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.references import load_references
from results.value.peers import Peers

Numbers = NDArray[np.float64]


def net_scores(accuracy_percent: Numbers, num_params: Numbers, forward_flops: Numbers) -> Numbers:
    """NetScore, 20 log10(a^2 / (p^0.5 m^0.5)), in decibels.

    Wong 2018, arXiv 1806.05512, with the paper's own exponents; a is the accuracy in percent, p
    the parameters in millions, m the multiply-adds of one image in billions (two FLOPs each).

    Args:
        accuracy_percent: [M].
        num_params: [M].
        forward_flops: [M], of one image.

    Returns:
        [M]; NaN where one of the three is not a number above 0.
    """
    millions, billions = num_params / 1e6, forward_flops / 2e9
    known = (accuracy_percent > 0) & (millions > 0) & (billions > 0)
    scores = np.full(len(known), np.nan)
    scores[known] = 20 * (
        2 * np.log10(accuracy_percent[known]) - 0.5 * np.log10(millions[known] * billions[known])
    )
    return scores


@dataclass(frozen=True, eq=False)
class GPipeShares:
    """What share of GPipe's accuracy, size and compute each cell has, [M] in percent.

    GPipe's accuracy and parameters are its claim; its compute was counted from its architecture.
    """

    accuracy: Numbers
    params: Numbers
    forward_flops: Numbers
    """Of one image, GPipe's at 480x480."""

    train_flops: Numbers
    """Of one image, forward and backward."""

    least_train_compute: Numbers
    """Of the whole training; at most this share, for GPipe's is a lower bound. NaN where cells started from
    weights whose compute is not counted, for GPipe's own pre-training is."""


def gpipe_shares(peers: Peers) -> GPipeShares | None:
    """Set the cells beside GPipe; None on data other than those that its accuracy is about."""
    gpipe = load_references()["gpipe"]
    counted = gpipe.counted
    assert gpipe.num_params is not None
    assert counted is not None
    if peers.dataset != gpipe.dataset:
        return None
    total = peers.means("total_train_pflop")
    if peers.league != "from scratch":
        total = np.full(len(peers), np.nan)
    return GPipeShares(
        accuracy=100 * peers.means("test_accuracy_percent") / gpipe.accuracy_percent,
        params=100 * peers.means("num_params") / gpipe.num_params,
        forward_flops=100 * peers.means("forward_flops_per_image") / counted.forward_flops_per_image,
        train_flops=100 * peers.means("train_flops_per_image") / counted.train_flops_per_image,
        least_train_compute=100 * total / counted.least_train_pflop,
    )
