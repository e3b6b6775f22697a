from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from harness import process
from harness.cell import CellSpec
from harness.errors import HardwareError
from harness.process import Process, check_process, start_process, use_threads


@pytest.fixture
def plain_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without a launcher, and the number of threads as it was afterwards."""
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE", "ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_CPU"):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    yield monkeypatch
    torch.set_num_threads(threads)


def fake_cores(patch: pytest.MonkeyPatch, number: int) -> None:
    patch.setattr(os, "sched_getaffinity", lambda _: set(range(number)), raising=False)


def test_a_process_computes_on_its_share_of_the_cores(plain_python: pytest.MonkeyPatch) -> None:
    fake_cores(plain_python, 6)
    plain_python.setenv("LOCAL_WORLD_SIZE", "2")
    plain_python.setenv("OMP_NUM_THREADS", "1")  # as torchrun sets it
    use_threads(None)
    assert torch.get_num_threads() == 3
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_the_threads_asked_for_are_what_is_used(plain_python: pytest.MonkeyPatch) -> None:
    fake_cores(plain_python, 6)
    use_threads(2)
    assert torch.get_num_threads() == 2


def test_without_a_launcher_the_users_own_variable_stays(plain_python: pytest.MonkeyPatch) -> None:
    fake_cores(plain_python, 6)
    plain_python.setenv("OMP_NUM_THREADS", "4")
    before = torch.get_num_threads()
    use_threads(None)
    assert torch.get_num_threads() == before
    assert os.environ["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("asked", "variable", "has_gpu", "on_cpu"),
    [
        (False, None, True, False),
        (False, None, False, True),
        (True, None, True, True),
        (False, "true", True, True),
        (False, "false", True, False),
    ],
)
def test_the_cpu_is_used_where_it_is_asked_for_or_all_there_is(
    plain_python: pytest.MonkeyPatch, asked: bool, variable: str | None, has_gpu: bool, on_cpu: bool
) -> None:
    def state(cpu: bool) -> SimpleNamespace:
        device = torch.device("cpu" if cpu else "cuda")
        kind = SimpleNamespace(value="NO")
        numbers = {"process_index": 0, "local_process_index": 0, "num_processes": 1}
        return SimpleNamespace(device=device, distributed_type=kind, backend=None, **numbers)

    plain_python.setattr(process, "PartialState", state)
    plain_python.setattr(torch.cuda, "is_available", lambda: has_gpu)
    if variable is not None:
        plain_python.setenv("ACCELERATE_USE_CPU", variable)
    assert start_process(asked).device.type == ("cpu" if on_cpu else "cuda")


def test_the_wrong_number_of_processes_is_an_error_that_says_how_to_start(
    cell: CellSpec, one_process: Process
) -> None:
    check_process(cell, one_process)
    pair = cell.model_copy(update={"num_processes": 2, "strategy": "ddp"})
    with pytest.raises(HardwareError, match=r"asks for 2 process\(es\), but 1 .* --num_processes 2 "):
        check_process(pair, one_process)


def test_one_process_agrees_with_itself(one_process: Process) -> None:
    assert one_process.agree({"a": 1}) == {"a": 1}
    assert one_process.largest(2.5) == 2.5
    assert one_process.sum(torch.tensor([1, 2])).tolist() == [1, 2]
    one_process.wait_for_all()
