import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HardwareError, UsageError
from launch.gpus import Gpu
from launch.slots import Slots, find_slots
from tests.fake_nvml import nvml_environment

SCRIPT = """
import json, sys
from harness.errors import VerdictError
from launch.slots import find_slots
jobs, gpus = json.loads(sys.argv[1])
try:
    slots = find_slots(jobs, gpus, use_cpu=False)
except VerdictError as error:
    print(f"{type(error).__name__}: {error}")
else:
    print([gpu.index for gpu in slots.gpus], slots.notes, [gpu.uuid for gpu in slots.gpus][:1])
"""


def ask(nvml: Path, machine: str, words: str = "[null, null]", **environment: str) -> str:
    """What `find_slots` finds on such a machine, through the real pynvml."""
    command = [sys.executable, "-c", SCRIPT, words]
    variables = nvml_environment(nvml, machine, **environment)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def gpu(index: int) -> Gpu:
    return Gpu(index, f"GPU-{index}", "x", 1.0)


def test_every_gpu_that_nobody_uses_is_a_slot(nvml: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    assert ask(nvml, "2") == "[0, 1] [] ['GPU-00000000']"


def test_a_gpu_that_others_use_is_named_and_left_alone(nvml: Path) -> None:
    found = ask(nvml, "2;1:4242:300;1:17:5")
    assert found.startswith("[0] ['GPU 1 is in use by pid 4242 (300 MiB), pid 17 (5 MiB): not used")


def test_a_gpu_that_others_use_is_taken_when_it_is_named(nvml: Path) -> None:
    found = ask(nvml, "2;1:4242:300", '[null, "1"]')
    assert found.startswith("[1] ['GPU 1 is in use by pid 4242 (300 MiB): measurements on it are not its own")


def test_gpus_that_are_all_in_use_are_an_error(nvml: Path) -> None:
    assert ask(nvml, "1;0:4242:300").startswith(
        "HardwareError: all GPUs are in use: GPU 0 is in use by pid 4242"
    )


def test_a_gpu_that_is_not_there_is_an_error_with_those_that_are(nvml: Path) -> None:
    assert ask(nvml, "2", '[null, "5"]') == "UsageError: --gpus 5: there is no GPU 5; there are 0, 1"


def test_gpus_that_cuda_may_not_see_are_not_used(nvml: Path) -> None:
    assert ask(nvml, "2", CUDA_VISIBLE_DEVICES="1").startswith("[1] []")
    assert ask(nvml, "2", CUDA_VISIBLE_DEVICES="GPU-00000001").startswith("[1] []")
    assert ask(nvml, "2", CUDA_VISIBLE_DEVICES="").startswith("[] []")


def test_a_driver_that_does_not_answer_leaves_the_cpu(nvml: Path) -> None:
    assert ask(nvml, "error") == "[] [] []"
    assert "NVML does not answer: Unknown Error" in ask(nvml, "error", '[null, "0"]')


def test_no_two_attempts_share_a_core_or_a_gpu() -> None:
    slots = Slots([(0, 1), (2, 3)], [gpu(0), gpu(1), gpu(2)])
    first, second = slots.take(1), slots.take(2)
    assert not set(first.cores) & set(second.cores)
    assert not set(first.gpus) & set(second.gpus)
    assert not slots.has_room(1)
    slots.give_back(second)
    assert slots.has_room(2)
    assert not slots.has_room(3)
    assert slots.take(2) == second


def test_no_more_attempts_run_at_once_than_asked() -> None:
    slots = Slots([(0,), (1,), (2,), (3,)], [gpu(index) for index in range(4)], most=2)
    assert slots.at_once == 2
    first, second = slots.take(2), slots.take(1)
    assert first.cores == (0, 1)  # a core for each GPU
    assert not slots.has_room(1)
    slots.give_back(second)
    assert slots.has_room(2)


def test_a_cell_that_never_has_room_is_refused() -> None:
    Slots([(0,)], [gpu(0)]).check(1)
    Slots([(0,)], []).check(8)  # processes share cores
    with pytest.raises(HardwareError, match="a cell of 2 processes needs as many GPUs, and 1 can be used"):
        Slots([(0,)], [gpu(0)]).check(2)


def test_cores_are_divided_among_the_attempts() -> None:
    cores = sorted(os.sched_getaffinity(0))
    assert [sorted(group) for group in find_slots(1, None, use_cpu=True).cores] == [cores]
    each = find_slots(len(cores), None, use_cpu=True).cores
    assert sorted(core for group in each for core in group) == cores
    assert all(len(group) == 1 for group in each)


def test_more_attempts_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match="this machine has"):
        find_slots(10_000, None, use_cpu=True)
