from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.nvml import NvmlDevice
from harness.usage import Missing
from tests.fake_nvml import ask_child, build_nvml

SCRIPT = """
import json, os, sys
from harness.nvml import open_device, started
from harness.usage import Missing

def plain(value):
    return {"missing": value.reason} if isinstance(value, Missing) else value

def read(device):
    if isinstance(device, Missing):
        return plain(device)
    names = ["uuid", "power_w", "energy_j", "utilization_percent", "temperature_c", "sm_clock_mhz"]
    answers = {name: plain(getattr(device, name)()) for name in [*names, "throttle_reasons", "device_mib"]}
    return answers | {"process_mib": plain(device.process_mib(os.getpid()))}

answers = []
for uuid, pci_bus_id, errors in json.loads(sys.argv[1]):
    os.environ["FAKE_NVML_ERRORS"] = errors
    with started() as nvml:
        answers.append(read(open_device(nvml, uuid, pci_bus_id)))
print(json.dumps(answers))
"""
MACHINE = "2;0:4242:7;1:self:300;1:17:5"
SECOND = "GPU-00000001"

READ_BY = {
    "nvmlDeviceGetPowerUsage": "power_w",
    "nvmlDeviceGetTotalEnergyConsumption": "energy_j",
    "nvmlDeviceGetUtilizationRates": "utilization_percent",
    "nvmlDeviceGetTemperature": "temperature_c",
    "nvmlDeviceGetClockInfo": "sm_clock_mhz",
    "nvmlDeviceGetCurrentClocksEventReasons": "throttle_reasons",
    "nvmlDeviceGetMemoryInfo": "device_mib",
    "nvmlDeviceGetComputeRunningProcesses_v3": "process_mib",
}
REASONS = {
    3: "NVML: Not Supported",
    4: "NVML: Insufficient Permissions",
    9: "NVML: Driver Not Loaded",
    15: "NVML: GPU is lost",
    999: "NVML: Unknown Error",
}


def ask(nvml: Path, *cases: tuple[str | None, str | None, str], **variables: str) -> list[dict[str, Any]]:
    """What is read of a GPU that is opened by each UUID and place, while some calls fail."""
    answers: list[dict[str, Any]] = ask_child(
        nvml, variables.pop("machine", MACHINE), SCRIPT, cases, **variables
    )
    return answers


def is_missing(value: Any) -> bool:
    return isinstance(value, dict)


@pytest.fixture(scope="module")
def with_errors(nvml: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What is read while one function returns one code."""
    cases = list(product(READ_BY, REASONS))
    answers = ask(nvml, *((SECOND, None, f"{name}={code}") for name, code in cases))
    return dict(zip(cases, answers, strict=True))


def test_every_quantity_is_read(nvml: Path) -> None:
    (answers,) = ask(nvml, (SECOND, None, ""), FAKE_NVML_THROTTLE="0x65")
    assert 200 <= answers.pop("power_w") <= 400
    assert answers.pop("energy_j") > 1e6
    assert answers.pop("utilization_percent") in (50, 100)
    assert answers == {
        "uuid": SECOND,
        "temperature_c": 60,
        "sm_clock_mhz": 1501,
        "throttle_reasons": ["power cap", "heat (software)", "heat (hardware)"],
        "device_mib": 2048,
        "process_mib": 300,
    }


@pytest.mark.parametrize("code", REASONS)
@pytest.mark.parametrize("name", READ_BY)
def test_an_error_of_one_function_is_the_reason_of_one_quantity(
    name: str, code: int, with_errors: dict[tuple[str, int], dict[str, Any]]
) -> None:
    answers = with_errors[name, code]
    assert answers.pop(READ_BY[name]) == {"missing": REASONS[code]}
    assert not any(is_missing(value) for value in answers.values())


@pytest.mark.parametrize("name", [name for name in READ_BY if "Event" not in name and "v3" not in name])
def test_a_function_that_the_driver_lacks_is_a_reason(name: str, tmp_path: Path) -> None:
    (answers,) = ask(build_nvml(tmp_path, without=(name,)), (SECOND, None, ""))
    assert answers.pop(READ_BY[name]) == {"missing": "NVML: Function Not Found"}
    assert not any(is_missing(value) for value in answers.values())


def test_older_names_of_functions_are_known(tmp_path: Path) -> None:
    newer = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetComputeRunningProcesses_v3")
    mig = ("nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetMigMode")
    (answers,) = ask(build_nvml(tmp_path, without=newer + mig), (SECOND, None, ""), FAKE_NVML_THROTTLE="0x4")
    assert answers["throttle_reasons"] == ["power cap"]
    assert answers["process_mib"] == 300


def test_a_driver_with_neither_name_of_a_function_is_a_reason(tmp_path: Path) -> None:
    both = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
    (answers,) = ask(build_nvml(tmp_path, without=both), (SECOND, None, ""))
    assert answers["throttle_reasons"] == {"missing": "NVML: Function Not Found"}


def test_a_gpu_is_found_by_the_uuid_that_cuda_gives_it_or_by_its_place(nvml: Path) -> None:
    lost = "nvmlDeviceGetHandleByUUID=6"
    by_uuid, by_place, elsewhere = ask(
        nvml, ("00000001", None, ""), ("00000001", "00000000:01:00.0", lost), (None, "00000000:00:00.0", "")
    )
    assert by_uuid["uuid"] == by_place["uuid"] == SECOND
    assert elsewhere["uuid"] == "GPU-00000000"


def test_a_gpu_that_is_not_found_is_a_reason(nvml: Path) -> None:
    lost = "nvmlDeviceGetHandleByUUID=15"
    assert ask(nvml, ("00000007", None, ""), ("00000001", None, lost), (None, None, "")) == [
        {"missing": "the GPU was not found: NVML: Not Found"},
        {"missing": "the GPU was not found: NVML: GPU is lost"},
        {"missing": "the GPU was not found: neither a UUID nor a place on the PCI bus is known"},
    ]


def test_a_list_of_processes_that_grows_is_asked_for_again(nvml: Path) -> None:
    (answers,) = ask(nvml, (SECOND, None, "nvmlDeviceGetComputeRunningProcesses_v3=7@1-1"))
    assert answers["process_mib"] == 300
    (answers,) = ask(nvml, (SECOND, None, "nvmlDeviceGetComputeRunningProcesses_v3=7@1"))
    assert answers["process_mib"] == {"missing": "NVML: Insufficient Size"}


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ("", "NVML lists no process"),
        ("0:4242:300", "NVML lists no process"),
        ("0:self:?", "but not its memory"),
        ("0:self:0", "NVML says 0"),
    ],
)
def test_a_process_whose_memory_is_not_listed_is_a_reason(listed: str, reason: str, nvml: Path) -> None:
    (answers,) = ask(nvml, ("00000000", None, ""), machine=f"1;{listed}")
    assert reason in answers["process_mib"]["missing"]


def test_of_a_slice_of_a_gpu_only_memory_is_read(nvml: Path) -> None:
    (answers,) = ask(nvml, ("00000001", None, ""), FAKE_NVML_MIG="slice")
    assert answers.pop("uuid") == "MIG-00000001"
    assert answers.pop("device_mib") == 2048
    assert answers.pop("process_mib") == 300
    assert all(value["missing"].startswith("MIG: ") for value in answers.values())


def test_of_a_gpu_in_slices_nothing_is_taken_for_the_slice_of_this_process(nvml: Path) -> None:
    (answers,) = ask(nvml, (SECOND, None, ""), FAKE_NVML_MIG="cut")
    assert answers.pop("process_mib") == 300
    assert answers.pop("uuid") == SECOND
    assert all(value["missing"].startswith("MIG: ") for value in answers.values())


@pytest.mark.parametrize(("bits", "names"), [("0x103", []), ("0x1000", ["reason 0x1000"])])
def test_idle_and_chosen_clocks_are_no_throttling_but_an_unknown_reason_is(
    bits: str, names: list[str], nvml: Path
) -> None:
    (answers,) = ask(nvml, (SECOND, None, ""), FAKE_NVML_THROTTLE=bits)
    assert answers["throttle_reasons"] == names


def test_a_0_that_cannot_be_is_no_value() -> None:
    nvml = SimpleNamespace(
        NVMLError=OSError,
        NVMLError_FunctionNotFound=FileNotFoundError,
        NVMLError_InsufficientSize=InterruptedError,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetPowerUsage=lambda handle: 0,
        nvmlDeviceGetTemperature=lambda handle, sensor: 0,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=0),
    )
    device = NvmlDevice(nvml, "handle")
    assert device.power_w() == device.temperature_c() == Missing("NVML says 0, which cannot be")
    assert device.utilization_percent() == 0
