"""Memory that runs out, caused for real or by the true type of error: what a training does about it."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from harness.cell import CellSpec
from harness.errors import MemoryShortError
from harness.out_of_memory import Shortage, is_out_of_memory, more_micro_batches
from harness.process import Process
from harness.settings import Settings
from tests.harness.run_helpers import RunFunction, small_cell
from tests.harness.short_of_memory import room_for

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("short_of_memory.py")

FitInto = Callable[[int], None]


@pytest.fixture
def fit_into(monkeypatch: pytest.MonkeyPatch) -> FitInto:
    """Lets dense layers train on so many images at once, and run out of memory on more."""
    return lambda most: monkeypatch.setattr(nn.Linear, "forward", room_for(most))


def allocate_too_much() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def allocate_too_much_in_numpy() -> None:
    np.zeros(2**50, dtype=np.uint8)


@pytest.mark.parametrize("cause", [allocate_too_much, allocate_too_much_in_numpy])
def test_an_allocation_that_fails_is_memory_that_ran_out(cause: Callable[[], None]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        cause()
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),  # somebody's own words
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False),
        (ValueError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (memory 3x4)"), False),
    ],
)
def test_a_bug_is_not_taken_for_memory_that_ran_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_kernel_that_cannot_be_made_lacks_memory_where_the_system_has_none() -> None:
    error = RuntimeError("could not create a primitive")
    assert not is_out_of_memory(error)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**20, hard))
    try:
        is_memory = is_out_of_memory(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert is_memory
    assert not is_out_of_memory(RuntimeError("could not create a primitive for my own op"))


@pytest.mark.parametrize(("now", "expected"), [(1, 2), (2, 4), (3, 10), (5, 10), (10, None)])
def test_micro_batches_are_halved_or_more_and_stay_of_equal_size(now: int, expected: int | None) -> None:
    assert more_micro_batches(small_cell(recipe={"batch_size": 20}), now) == expected


def test_whole_batches_cannot_be_divided() -> None:
    recipe = {"batch_size": 20, "keep_hardest": 0.5}
    assert more_micro_batches(small_cell(model="fast_cnn", recipe=recipe), 1) is None


@pytest.mark.parametrize(("most", "steps"), [(10, 2), (5, 4), (2, 10)])
def test_smaller_micro_batches_give_what_was_asked_for_as_if_they_had_been_asked_for(
    run: RunFunction, fit_into: FitInto, most: int, steps: int
) -> None:
    asked, expected, losses = run("asked", accumulation_steps=steps)
    fit_into(most)
    record, predictions, steps_taken = run("short")
    assert record.in_effect is not None
    assert record.in_effect.accumulation_steps == steps
    assert record.cell.accumulation_steps == 1
    assert record.cell.recipe.batch_size == asked.cell.recipe.batch_size
    assert steps_taken["loss"].tobytes() == losses["loss"].tobytes()
    assert predictions["test_logits"].tobytes() == expected["test_logits"].tobytes()


def test_the_log_says_what_was_done(run: RunFunction, fit_into: FitInto, tmp_path: Path) -> None:
    fit_into(10)
    run("short")
    log = (tmp_path / "short" / "log.txt").read_text()
    assert "memory ran out in epoch 1, step 1 (CUDA out of memory. Tried to allocate 2.00 GiB)" in log
    assert "2 micro-batches a step and process; the batch stays 20" in log


def test_memory_that_is_never_enough_ends_in_one_clear_error(run: RunFunction, fit_into: FitInto) -> None:
    fit_into(1)
    with pytest.raises(MemoryShortError, match=r"micro-batches of 2 image\(s\).*cannot be smaller"):
        run("short")


def test_a_run_that_is_to_fail_fails_at_once(run: RunFunction, fit_into: FitInto) -> None:
    fit_into(10)
    with pytest.raises(MemoryShortError, match=r"micro-batches of 20 image\(s\).*--on-oom shrink"):
        run("short", settings=Settings(on_oom="fail"))


def test_a_bug_is_not_tried_again_with_smaller_parts(
    run: RunFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise RuntimeError("CUDA out of memory, says a bug")

    monkeypatch.setattr("harness.gradients.training_batch", broken)
    with pytest.raises(RuntimeError, match="says a bug"):
        run("broken")
    assert len(calls) == 1


def test_what_was_not_enough_is_known_to_the_next_attempt(one_process: Process, tmp_path: Path) -> None:
    shortage = Shortage(tmp_path / "checkpoint", one_process)
    assert shortage.known() == 0
    shortage.note(4)
    assert Shortage(tmp_path / "checkpoint", one_process).known() == 4


def test_an_attempt_starts_with_more_micro_batches_than_were_not_enough(
    run: RunFunction, tmp_path: Path, one_process: Process
) -> None:
    (tmp_path / "again" / "checkpoint").mkdir(parents=True)
    Shortage(tmp_path / "again" / "checkpoint", one_process).note(2)
    record, _, _ = run("again")
    assert record.in_effect is not None
    assert record.in_effect.accumulation_steps == 4


def launch(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WORKER), *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)


def test_a_real_limit_of_memory_is_met_with_smaller_micro_batches(tmp_path: Path) -> None:
    done = launch(tmp_path, "limit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "memory ran out in epoch 1, step 1 ([enforce fail at alloc_cpu.cpp" in done.stdout
    assert "finished with micro-batches: True" in done.stdout


def two_processes(tmp_path: Path, kind: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, str(WORKER), kind], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )


def test_two_processes_agree_where_one_of_them_runs_out(tmp_path: Path) -> None:
    done = two_processes(tmp_path, "one of two")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same as asked for: True") == 2, done.stdout


@pytest.mark.parametrize(
    "kind",
    [
        "late",
        pytest.param("fsdp", marks=pytest.mark.slow),
        pytest.param("synchronised", marks=pytest.mark.slow),
    ],
)
def test_where_the_others_wait_for_gradients_the_next_attempt_goes_on(tmp_path: Path, kind: str) -> None:
    first = two_processes(tmp_path, kind)
    assert first.returncode != 0
    assert "goes on from the last checkpoint with smaller ones" in first.stderr
    second = two_processes(tmp_path, kind)
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.count("micro-batches at the end: 2") == 2, second.stdout


def test_the_smallest_micro_batch_has_two_images(cell: CellSpec) -> None:
    assert more_micro_batches(cell, 4) is None  # 8 images in 4 parts already
