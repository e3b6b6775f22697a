"""ZeRO on two processes: it trains as DDP does, and keeps in parts what its stage says."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import HardwareError
from harness.process import Process
from harness.zero import BUCKET_VALUES, _load_deepspeed, _LossScale, _pieces
from tests.harness.run_helpers import run_two
from tests.harness.zero_processes import NUM_MICRO_BATCHES, NUM_STEPS, OPTIMIZERS, STAGES

Arrays = dict[str, np.ndarray[Any, Any]]

both_optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)
every_stage = pytest.mark.parametrize("stage", STAGES)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[Arrays]:
    """What each of two real processes got in `zero_processes.py`: arrays by name."""
    if find_spec("deepspeed") is None:
        pytest.skip("needs deepspeed")
    script = Path(__file__).with_name("zero_processes.py")
    arrays, outputs = run_two(script, tmp_path_factory.mktemp("zero_processes"), timeout_s=280)
    assert outputs == ["", ""], "deepspeed is to be quiet"
    return arrays


def part(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names start so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@pytest.mark.slow
@every_stage
@both_optimizers
@pytest.mark.parametrize("phase", ["", "/ends"], ids=["", "other_micro_batches"])
def test_losses_weights_and_running_statistics_are_those_of_ddp(
    processes: list[Arrays], stage: str, optimizer: str, phase: str
) -> None:
    for arrays in processes:
        expected = part(arrays, f"ddp/{optimizer}{phase}/")
        found = part(arrays, f"{stage}/{optimizer}{phase}/")
        np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-5)
        for name, array in part(expected, "tensors/").items():
            np.testing.assert_allclose(found[f"tensors/{name}"], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
@every_stage
def test_running_statistics_are_each_process_s_own_and_weights_are_not(
    processes: list[Arrays], stage: str
) -> None:
    first, second = (part(arrays, f"{stage}/sgd/tensors/") for arrays in processes)
    statistics = [name for name in first if "running" in name]
    assert len(statistics) == 2
    for name in first:
        assert np.array_equal(first[name], second[name]) == (name not in statistics), name


@pytest.mark.slow
@every_stage
def test_bf16_computes_in_bf16_and_exchanges_float32(processes: list[Arrays], stage: str) -> None:
    for arrays in processes:
        expected, found = part(arrays, "ddp/bf16/"), part(arrays, f"{stage}/bf16/")
        np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-3)
        assert not np.array_equal(found["losses"], arrays[f"{stage}/sgd/losses"])
        assert found["output_bytes"] == 2
        assert found["exchanged_bytes"].min() >= 4


@pytest.mark.slow
def test_stage_1_exchanges_gradients_once_a_step(processes: list[Arrays]) -> None:
    counts = {stage: len(processes[0][f"{stage}/bf16/exchanged_bytes"]) for stage in STAGES}
    assert counts["zero2"] - counts["zero1"] == NUM_STEPS * (NUM_MICRO_BATCHES - 1)


@pytest.mark.slow
@every_stage
@both_optimizers
@pytest.mark.parametrize("phase", ["scored", "resumed"])
def test_scoring_other_weights_or_a_restart_changes_no_bit(
    processes: list[Arrays], stage: str, optimizer: str, phase: str
) -> None:
    for arrays in processes:
        undisturbed = part(arrays, f"{stage}/{optimizer}/")
        for name, array in part(arrays, f"{stage}/{optimizer}/{phase}/").items():
            np.testing.assert_array_equal(array, undisturbed[name], err_msg=name)


@pytest.mark.slow
@every_stage
def test_the_weights_that_are_set_are_those_that_are_scored(processes: list[Arrays], stage: str) -> None:
    for arrays in processes:
        scores = arrays[f"{stage}/sgd/scores"]
        np.testing.assert_allclose(scores, arrays["zero1/sgd/scores"], rtol=1e-4, atol=1e-5)
        assert not np.allclose(scores[0], scores[1], atol=0.1)


@pytest.mark.slow
@every_stage
def test_each_process_keeps_its_part(processes: list[Arrays], stage: str) -> None:
    for arrays in processes:
        num_params, num_trained = arrays[f"{stage}/whole"]
        params, optimizer_values = arrays[f"{stage}/held"]
        assert f"zero{arrays[f'{stage}/stage']}" == stage
        assert optimizer_values == pytest.approx(num_trained / 2, abs=16)  # momentum, and no copy of weights
        assert arrays[f"{stage}/num_gradients"] == (num_trained if stage == "zero1" else 0)
        if stage == "zero3":
            assert params == pytest.approx(num_params / 2, abs=16)
            # from forward to backward only some of the layers stay whole, for all that they are small
            assert arrays[f"{stage}/held_in_between"] < params + 0.6 * num_params
        else:
            assert params == num_params


@pytest.mark.slow
@every_stage
def test_nothing_remains_after_closing(processes: list[Arrays], stage: str) -> None:
    for arrays in processes:
        assert arrays[f"{stage}/is_gone"]
        assert arrays[f"{stage}/is_torch_as_it_was"]


@pytest.mark.slow
@every_stage
def test_scaled_losses_change_nothing_and_an_overflow_skips_one_step_everywhere(
    processes: list[Arrays], stage: str
) -> None:
    for arrays in processes:
        for name, array in part(arrays, f"{stage}/sgd/scaled/").items():
            np.testing.assert_array_equal(array, arrays[f"{stage}/sgd/{name}"], err_msg=name)
        assert arrays[f"{stage}/is_skipped"]
        assert arrays[f"{stage}/scale"] == 512


@pytest.mark.slow
@every_stage
def test_an_infinite_gradient_without_a_scale_does_not_go_unnoticed(
    processes: list[Arrays], stage: str
) -> None:
    for arrays in processes:
        assert arrays[f"{stage}/has_diverged"]


def test_the_loss_scale_moves_as_torch_s() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8, growth_interval=3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    scale = _LossScale(scaler.get_scale())
    for is_infinite in (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0):
        (parameter,) = optimizer.param_groups[0]["params"]
        parameter.grad = torch.full((1,), torch.inf if is_infinite else 1.0)
        scaler.scale(torch.ones(1))
        scaler.step(optimizer)
        scaler.update()
        scale.update(scaler, was_skipped=bool(is_infinite))
        assert scale.value == scaler.get_scale()


def test_a_missing_deepspeed_is_named(one_process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DS_ACCELERATOR", "LOCAL_RANK", "LOCAL_SIZE"):
        monkeypatch.setenv(variable, "")  # set by what is tested
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(HardwareError, match="need the package deepspeed"):
        _load_deepspeed(one_process)


def test_weights_are_updated_in_pieces_and_each_of_them_once() -> None:
    with torch.device("meta"):
        sizes = (3, BUCKET_VALUES - 3, 1, 2 * BUCKET_VALUES, 5)
        parameters = [torch.nn.Parameter(torch.empty(size)) for size in sizes]
    pieces = [[parameter.numel() for parameter in piece] for piece in _pieces(parameters)]
    assert pieces == [[3, BUCKET_VALUES - 3], [1], [2 * BUCKET_VALUES], [5]]
