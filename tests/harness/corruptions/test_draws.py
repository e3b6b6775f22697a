from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare, kstest, poisson
from torch import Tensor

from harness.corruptions.draws import Draws

CPU = torch.device("cpu")
KINDS: list[Callable[[Draws], Tensor]] = [
    lambda draws: draws.normal(3, 5),
    lambda draws: draws.uniform(3, 5),
    lambda draws: draws.integers(0, 1000, 3, 5),
    lambda draws: draws.poisson(torch.full((6, 3, 5), 50.0)),
]


def rows(indices: list[int], kind: Callable[[Draws], Tensor], key: int = 1) -> Tensor:
    """For six images."""
    return kind(Draws(key, torch.tensor(indices), CPU))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_follows_from_key_and_index(kind: Callable[[Draws], Tensor]) -> None:
    drawn = rows([5, 0, 7, 2**40, 8, 9], kind)
    again = rows([0, 9, 1, 5, 2, 3], kind)
    assert torch.equal(drawn[[1, 5, 0]], again[[0, 1, 3]])
    assert len(torch.unique(drawn.flatten(1), dim=0)) == 6
    assert not torch.equal(rows([5, 0, 7, 2**40, 8, 9], kind, key=2), drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_gives_fresh_numbers(kind: Callable[[Draws], Tensor]) -> None:
    draws = Draws(1, torch.arange(6), CPU)
    assert not torch.equal(kind(draws), kind(draws))


def test_normal_numbers_are_normal() -> None:
    drawn = Draws(3, torch.arange(100), CPU).normal(200)
    assert drawn.dtype == torch.float32
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3


def test_uniform_numbers_are_uniform() -> None:
    drawn = Draws(3, torch.arange(100), CPU).uniform(200)
    assert drawn.dtype == torch.float64
    assert kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3


def test_integers_are_equally_likely_and_leave_out_the_upper_bound() -> None:
    drawn = Draws(3, torch.arange(100), CPU).integers(-1, 1, 200)
    values, counts = torch.unique(drawn, return_counts=True)
    assert values.tolist() == [-1, 0]
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_counts_follow_the_mean_of_their_place() -> None:
    drawn = Draws(3, torch.arange(4000), CPU).poisson(torch.tensor([[0.0, 4.0]]).expand(4000, 2))
    assert drawn[:, 0].count_nonzero() == 0
    counts = drawn[:, 1].long().bincount(minlength=10)
    expected = 4000 * poisson.pmf(range(10), 4)
    assert chisquare(counts[:10].numpy(), expected * counts[:10].sum().item() / expected.sum()).pvalue > 1e-3


def test_numbers_of_one_image_and_of_neighbours_are_unrelated() -> None:
    drawn = Draws(3, torch.arange(500), CPU).normal(200)
    assert abs(float((drawn[1:] * drawn[:-1]).mean())) < 0.02
    assert abs(float((drawn[:, 1:] * drawn[:, :-1]).mean())) < 0.02
