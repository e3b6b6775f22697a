from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.cell import Precision
from harness.errors import HardwareError
from harness.precision import make_autocast, slow_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_fp16_on_the_cpu_is_refused_in_one_line_that_says_what_to_use() -> None:
    with pytest.raises(HardwareError) as caught:
        make_autocast("fp16", CPU)
    assert str(caught.value).startswith("precision fp16 is not available on the CPU")
    assert str(caught.value).endswith("use --precision bf16 or fp32")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_layers_compute_in_the_precision_inside_the_context_only(
    precision: Precision, dtype: torch.dtype
) -> None:
    layer, inputs = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8)
    autocast = make_autocast(precision, CPU)
    with autocast.context():
        assert layer(inputs).dtype == dtype
    assert layer(inputs).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_fp32_switches_an_autocast_around_it_off() -> None:
    layer, inputs = nn.Linear(2, 2), torch.randn(1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16), make_autocast("fp32", CPU).context():
        assert layer(inputs).dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_loss_is_not_scaled_in_fp32_and_bf16(
    precision: Precision, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _: True)
    scaler = make_autocast(precision, device).scaler
    loss = torch.tensor(1.5)
    assert not scaler.is_enabled()
    assert scaler.scale(loss) is loss


def test_the_loss_is_scaled_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch looks for a GPU before it enables a scaler
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    autocast = make_autocast("fp16", CUDA)
    assert autocast.scaler.is_enabled()
    assert autocast.scaler.get_scale() > 1
    assert (autocast.device_type, autocast.dtype) == ("cuda", torch.float16)


def test_bf16_on_a_gpu_that_only_imitates_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_bf16_supported(including_emulation: bool) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(HardwareError, match="bf16 is not available on Tesla T4: use --precision fp16"):
        make_autocast("bf16", CUDA)
    assert make_autocast("fp32", CUDA).dtype is None


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_real_gpu_trains_in_every_precision(precision: Precision) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)).to("cuda")
    inputs, labels = torch.randn(32, 16, device="cuda"), torch.arange(32, device="cuda") % 4
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    autocast = make_autocast(precision, CUDA)
    losses = []
    for _ in range(10):
        with autocast.context():
            logits = model(inputs)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        autocast.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
        autocast.scaler.step(optimizer)
        autocast.scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_tf32_is_for_gpus_since_ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HardwareError, match="tf32 is not available on the CPU, but on NVIDIA GPUs since"):
        make_autocast("tf32", CPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(HardwareError, match="tf32 is not available on Tesla T4"):
        make_autocast("tf32", CUDA)


def test_each_precision_switches_tf32_to_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    for precision, expected in (("tf32", True), ("fp32", False)):
        make_autocast(precision, CUDA)  # type: ignore[arg-type]  # mypy sees a str
        switches = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        assert switches == (expected, expected)


@pytest.mark.parametrize(
    ("has_bf16", "precision", "warns"), [(False, "bf16", True), (True, "bf16", False), (False, "fp32", False)]
)
def test_a_processor_without_bf16_instructions_is_named_before_it_takes_hours(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: Precision, warns: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    warning = slow_precision(precision, torch.device("cpu"))
    assert (warning is not None) == warns
    assert warning is None or "--precision fp32" in warning
    assert slow_precision(precision, torch.device("cuda")) is None
