from __future__ import annotations

import time
from typing import get_args

import pytest
import torch

from harness.cell import Precision
from harness.errors import HardwareError
from harness.peak_flops import DATA_SHEETS, Peak, measured_peak, mfu, peak, peak_by_name

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Tesla P100-PCIE-16GB", "p100 pcie"),
        ("Tesla V100-SXM2-32GB", "v100 sxm2"),
        ("Tesla V100S-PCIE-32GB", "v100s pcie"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx 2080 ti"),
        ("A100-SXM4-40GB", "a100 sxm4"),  # older drivers leave out the maker
        ("NVIDIA A100-SXM4-80GB", "a100 sxm4"),
        ("NVIDIA A100-PCIE-40GB", "a100 pcie"),
        ("NVIDIA A100 80GB PCIe", "a100 pcie"),
        ("NVIDIA RTX A6000", "rtx a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx 6000 ada generation"),
        ("NVIDIA GeForce RTX 4090", "rtx 4090"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40", "l40"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA H100 80GB HBM3", "h100 hbm3"),
        ("NVIDIA H100 PCIe", "h100 pcie"),
        ("NVIDIA H100 NVL", "h100 nvl"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("AMD Instinct MI300X", "mi300x"),
    ],
)
def test_an_accelerator_is_known_by_the_name_that_its_driver_gives(name: str, key: str) -> None:
    sheet = DATA_SHEETS[key]
    assert sheet.fp32 is not None
    assert peak_by_name(name, "fp32") == Peak(sheet.fp32 * 1e12, sheet.source)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100",  # SXM, PCIe or NVL
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA A100-SXM-64GB",  # one of its own, with more units
        "GRID A100X-40C",
        "NVIDIA A40-48Q",
        "NVIDIA A10G",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "Quadro RTX 6000",
        "Tesla V100-DGXS-32GB",
        "Orin",
    ],
)
def test_what_only_resembles_a_known_one_has_no_peak_and_says_what_to_do(name: str) -> None:
    found = peak_by_name(name, "fp32")
    assert found.flops_per_s is None
    assert found.source.startswith(f"the peak FLOP/s of {name} is not known: add ")


@pytest.mark.parametrize(("name", "precision"), [("Tesla T4", "bf16"), ("Tesla V100-SXM2-16GB", "tf32")])
def test_a_precision_that_the_data_sheet_does_not_have_has_no_peak(name: str, precision: Precision) -> None:
    found = peak_by_name(name, precision)
    assert found.flops_per_s is None
    assert found.source.startswith(f"no dense peak of {name} in {precision} is known (NVIDIA ")


@pytest.mark.parametrize("key", DATA_SHEETS)
def test_each_row_has_a_dated_source_and_figures_in_a_sensible_order(key: str) -> None:
    row = DATA_SHEETS[key]
    assert any(str(year) in row.source for year in range(2016, 2027))
    values = [getattr(row, precision) for precision in get_args(Precision)]
    known = [value for value in values if value is not None]
    assert known == sorted(known), "from fp32 to tf32, bf16 and fp16 none becomes slower"
    assert row.bf16 in (None, row.fp16)
    assert 1 < known[0] <= known[-1] < 5000


def test_a_gpu_is_asked_for_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-40GB")
    assert peak(CUDA, "bf16") == Peak(312e12, "NVIDIA A100 data sheet, 2021")


@pytest.mark.gpu
def test_a_product_of_matrices_does_not_exceed_the_peak_of_a_real_gpu() -> None:
    known = peak(torch.device("cuda", 0), "bf16")
    if known.flops_per_s is None:
        pytest.skip(known.source)
    assert 0.3 < measured_peak("bf16", torch.device("cuda", 0)) / known.flops_per_s < 1.05


def test_a_cpu_has_the_peak_of_a_product_measured_quickly_and_once() -> None:
    start = time.perf_counter()
    found = peak(CPU, "fp32", threads=3)
    assert time.perf_counter() - start < 5  # 0.5 s where nothing else runs
    assert found.source == "measured matrix product: that of one CPU thread, times 3"
    assert found.flops_per_s is not None
    assert peak(CPU, "fp32", threads=1).flops_per_s == pytest.approx(found.flops_per_s / 3)
    assert peak(CPU, "fp32").source.endswith(f"times {torch.get_num_threads()}")


def test_the_measured_peak_is_above_what_a_product_of_matrices_reaches() -> None:
    """One thread against itself: whatever else the machine does, the peak is not below."""
    threads = torch.get_num_threads()
    found = measured_peak("fp32", CPU)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    try:
        matrix = torch.rand(512, 512)
        start = time.thread_time()
        for _ in range(20):
            matrix @ matrix
        reached = 20 * 2 * 512**3 / (time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert 0.5 * reached * threads < found < 1e14


def test_a_precision_that_the_cpu_cannot_compute_in_has_no_peak() -> None:
    with pytest.raises(HardwareError, match="fp16"):
        peak(CPU, "fp16")


def test_utilisation_is_the_share_of_the_peak_of_all_devices() -> None:
    device = Peak(100e12, "a data sheet")
    assert mfu(1e5 * 500_000_000, 1, device) == pytest.approx(0.5)
    assert mfu(1e5 * 500_000_000, 4, device) == pytest.approx(0.125)


def test_utilisation_of_the_example_in_the_palm_paper() -> None:
    """Appendix B: 540 billion parameters, 238.3e3 tokens a second on 6144 TPU v4 of 275 TFLOP/s.

    45.7% without the FLOPs of attention: 12 times 118 layers, 48 heads of 256, 2048 tokens; 46.2% with them.
    """
    tpu = Peak(275e12, "Chowdhery et al. 2022")
    dense, attention = 6 * 540_350_000_000, 12 * 118 * 48 * 256 * 2048
    assert mfu(238.3e3 * dense, 6144, tpu) == pytest.approx(0.457, abs=1e-3)
    assert mfu(238.3e3 * (dense + attention), 6144, tpu) == pytest.approx(0.462, abs=1e-3)


@pytest.mark.parametrize("flops_per_s", [None, 1e5])
def test_utilisation_is_missing_where_the_peak_or_the_throughput_is(flops_per_s: float | None) -> None:
    assert mfu(flops_per_s, 1, Peak(None, "unknown")) is None
    assert mfu(None, 1, Peak(1e12, "a data sheet")) is None
