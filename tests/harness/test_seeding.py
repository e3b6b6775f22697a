from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch

from harness.seeding import derive_seed, generator_for, seed_everything, use_deterministic_kernels


@pytest.fixture
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave torch's switches as they were found."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # set at run time
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@pytest.fixture
def _own_random_state() -> Iterator[None]:
    """Leave the global generators as they were found."""
    python, numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(of_torch)


def draw_everywhere() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_derived_seeds_are_the_same_for_ever() -> None:
    # Stored records say which seed they used: were these to change, no run could be repeated.
    assert derive_seed(0, "augment", 3, 14) == 7_884_387_632_336_622_848
    assert derive_seed(1, "order", 0) == 7_130_573_203_095_410_423


def test_every_seed_purpose_epoch_and_step_has_a_stream_of_its_own() -> None:
    seeds = {derive_seed(*point) for point in product(range(5), ("augment", "order"), range(12), range(12))}
    assert len(seeds) == 5 * 2 * 12 * 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # the whole range is used


def test_a_generator_depends_on_its_purpose_alone() -> None:
    first = torch.rand(4, generator=generator_for(7, "order", 1))
    torch.rand(100)
    assert torch.equal(torch.rand(4, generator=generator_for(7, "order", 1)), first)
    for other in (generator_for(8, "order", 1), generator_for(7, "order", 2), generator_for(7, "augment", 1)):
        assert not torch.equal(torch.rand(4, generator=other), first)


@pytest.mark.usefixtures("_own_random_state")
def test_python_numpy_and_torch_are_seeded_together() -> None:
    seed_everything(3, "train", 0)
    first = draw_everywhere()
    assert all(a != b for a, b in zip(first, draw_everywhere(), strict=True))
    seed_everything(3, "train", 0)
    assert draw_everywhere() == first
    for other in ((4, "train", 0), (3, "train", 1), (3, "weights", 0)):
        seed_everything(*other)
        assert all(a != b for a, b in zip(first, draw_everywhere(), strict=True))


@pytest.mark.usefixtures("_own_settings")
def test_deterministic_kernels_are_asked_for_and_a_missing_one_warns() -> None:
    torch.backends.cudnn.benchmark = True
    use_deterministic_kernels()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.usefixtures("_own_settings")
def test_a_cublas_workspace_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    use_deterministic_kernels()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
