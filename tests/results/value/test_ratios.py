from __future__ import annotations

import math

import numpy as np
import pytest

from results.value.peers import peer_groups
from results.value.ratios import gpipe_shares, net_scores
from tests.results.value.conftest import TableFactory


def test_net_score_is_its_formula() -> None:
    # MobileNetV1 (Howard et al. 2017, table 8): 70.6%, 4.2 million parameters, 569 million multiply-adds
    (score,) = net_scores(np.array([70.6]), np.array([4.2e6]), np.array([2 * 569e6]))
    assert score == pytest.approx(20 * math.log10(70.6**2 / (4.2**0.5 * 0.569**0.5)))
    assert score == pytest.approx(70.2, abs=0.05)


def test_a_hundred_times_the_parameters_cost_twenty_decibels() -> None:
    few, many = net_scores(np.full(2, 90.0), np.array([1e6, 1e8]), np.full(2, 1e9))
    assert few - many == pytest.approx(20)


def test_without_a_figure_there_is_no_score() -> None:
    scores = net_scores(np.array([90, 0, 90.0]), np.array([np.nan, 1e6, 1e6]), np.array([1e9, 1e9, 0]))
    assert np.isnan(scores).all()


def test_shares_are_of_gpipes_claim_and_of_its_counted_compute(make_table: TableFactory) -> None:
    run = {
        "test_accuracy_percent": 49.5,
        "num_params": 5.57e6,
        "forward_flops_per_image": 5.97588072128e8,
        "train_flops_per_image": 1.792665511296e9,
        "total_train_pflop": 23.863371706753624,
    }
    (peers,) = peer_groups(make_table(run))
    shares = gpipe_shares(peers)
    assert shares is not None
    assert shares.accuracy == pytest.approx([50])
    assert shares.params == pytest.approx([1])
    assert shares.forward_flops == pytest.approx([0.1])
    assert shares.train_flops == pytest.approx([0.1])
    assert shares.least_train_compute == pytest.approx([1])


def test_fine_tuning_is_not_set_against_gpipes_whole_training(make_table: TableFactory) -> None:
    (peers,) = peer_groups(make_table({"league": "pre-trained", "total_train_pflop": 1}))
    shares = gpipe_shares(peers)
    assert shares is not None
    assert np.isnan(shares.least_train_compute).all()


def test_no_shares_on_other_data(make_table: TableFactory) -> None:
    (peers,) = peer_groups(make_table({"dataset": "digits"}))
    assert gpipe_shares(peers) is None
