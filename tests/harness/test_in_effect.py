from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness import in_effect
from harness.augment.pipeline import Augmentation
from harness.batches import Inputs
from harness.cell import CellSpec
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.errors import HardwareError
from harness.in_effect import check_backend, check_devices, check_parts, compute_dtype
from harness.precision import Autocast, make_autocast
from harness.process import Process
from harness.strategy import Held, Strategy, make_strategy
from tests.harness.run_helpers import RunFunction, small_cell

CPU = torch.device("cpu")


class Everyone(Process):
    """A process among others whose answers are made up."""

    answers: tuple[Any, ...] = ()

    def gather(self, value: Any) -> list[Any]:
        del value
        return list(self.answers)

    def agree(self, value: Any) -> Any:
        return value


def among(*answers: Any, device: str = "cuda") -> Process:
    process = Everyone(0, 0, len(answers), torch.device(device), "MULTI_GPU", "nccl")
    object.__setattr__(process, "answers", answers)
    return process


@pytest.fixture
def inputs(cell: CellSpec, random_images: Callable[[int, int], ImageSet]) -> Inputs:
    images = DeviceImages(random_images(16, 32), None, CPU)
    normalize = Normalizer((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 32, CPU)
    return Inputs(images, None, images, Augmentation(cell, 16, (0, 0, 0), CPU), normalize, 10)


def strategy_for(held: list[Held], **values: Any) -> Strategy:
    """A strategy over a model of 1,000,000 weights, of which the processes keep what is said."""
    model = nn.Linear(1000, 1000, bias=False)
    alone = Process(0, 0, 1, CPU, "NO", None)
    strategy = make_strategy(small_cell(), model, torch.amp.GradScaler("cpu", enabled=False), alone)
    strategy.cell = small_cell(num_processes=2, **values)
    strategy.process = among(*held, device="cpu")
    return strategy


def test_two_processes_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_effect, "device_name", lambda _: "not looked at")
    same = ("node1 H100 GPU-1", "cuda")
    with pytest.raises(HardwareError, match=r"processes 0, 2 share a GPU \(node1 H100 GPU-1\)"):
        check_devices(among(same, ("node1 H100 GPU-2", "cuda"), same))


def test_processes_on_a_gpu_and_on_a_cpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_effect, "device_name", lambda _: "not looked at")
    with pytest.raises(HardwareError, match="devices of different kinds: node1 H100 GPU-1, node2 cpu"):
        check_devices(among(("node1 H100 GPU-1", "cuda"), ("node2 cpu", "cpu")))


def test_two_processes_of_one_cpu_are_fine(one_process: Process) -> None:
    two = among(("node1 cpu", "cpu"), ("node1 cpu", "cpu"), device="cpu")
    assert check_devices(two) == ["node1 cpu", "node1 cpu"]
    assert len(check_devices(one_process)) == 1


@pytest.mark.parametrize(("device", "backend"), [("cuda", "gloo"), ("cpu", "nccl"), ("cpu", None)])
def test_processes_joined_by_the_wrong_backend_are_refused(device: str, backend: str | None) -> None:
    process = Process(0, 0, 2, torch.device(device), "MULTI_GPU", backend)
    with pytest.raises(HardwareError, match=r"need (nccl|gloo), and were joined by"):
        check_backend(small_cell(strategy="ddp", num_processes=2), process)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_type_that_a_layer_computes_in_is_looked_at(
    inputs: Inputs, precision: Any, expected: str
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cell = small_cell(precision=precision)
    assert compute_dtype(cell, model, inputs, make_autocast(precision, CPU)) == expected
    assert model.training
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


def test_a_precision_that_is_not_in_effect_is_refused(inputs: Inputs) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    without = Autocast("cpu", None, torch.amp.GradScaler("cpu", enabled=False))
    with pytest.raises(HardwareError, match=r"precision bf16 was asked for, .* computes in float32"):
        compute_dtype(small_cell(precision="bf16"), model, inputs, without)


WHOLE, HALF = Held(1_000_000, 2_000_000), Held(500_000, 1_000_000)


@pytest.mark.parametrize(
    ("strategy", "held"),
    [
        ("ddp", [WHOLE, WHOLE]),
        ("fsdp", [replace(HALF, num_optimizer_values=500_000)] * 2),
        ("zero3", [replace(HALF, num_optimizer_values=500_000)] * 2),
        ("zero1", [Held(1_000_000, 500_000)] * 2),
    ],
)
def test_parts_that_are_what_the_strategy_says_are_accepted(strategy: str, held: list[Held]) -> None:
    assert check_parts(strategy_for(held, strategy=strategy)) == held


@pytest.mark.parametrize(
    ("strategy", "held", "what"),
    [
        ("fsdp", [WHOLE, WHOLE], "the weights are not in parts"),
        ("fsdp", [HALF, HALF], "the optimizer is not in parts"),
        ("zero3", [WHOLE, WHOLE], "the weights are not in parts"),
        ("zero1", [WHOLE, WHOLE], "the optimizer is not in parts"),
        ("zero1", [replace(HALF, num_params=1_000_000)] * 2, "the optimizer is not in parts"),  # a copy
        ("zero2", [WHOLE, WHOLE], "the optimizer is not in parts"),
        ("ddp", [HALF, HALF], "keeps whole weights, and a process has parts"),
    ],
)
def test_parts_that_are_not_what_the_strategy_says_are_refused(
    strategy: str, held: list[Held], what: str
) -> None:
    with pytest.raises(HardwareError, match=what):
        check_parts(strategy_for(held, strategy=strategy))


@pytest.mark.bf16
def test_the_record_says_what_ran(run: RunFunction) -> None:
    found = run(model="resnet20", precision="bf16")[0].in_effect
    assert found is not None
    assert found.compute_dtype == "bfloat16"
    assert found.wrapper == "ConvNet"
    assert found.params_per_process == (int(np.sum(found.params_per_process)),)
    assert found.optimizer_values_per_process == found.params_per_process  # momentum of SGD
    assert (found.num_nodes, len(found.devices), found.accumulation_steps) == (1, 1, 1)
