"""Ways to classify images with a trained model: eager, compiled, or an ONNX file in ONNX Runtime.

Each of them goes from uint8 images on the device, as the data set has them, to logits: resizing and
normalising are part of what is timed, whoever does them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.batches import Preprocess
from harness.cell import Precision
from harness.errors import HardwareError
from harness.onnx_model import INPUT, load_package
from harness.precision import Autocast, make_autocast

_ON_GPU, _ON_CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SILENT = 3

Batches = dict[int, Tensor]
"""uint8 images [B, 3, height, width] on the device, by batch size."""


@dataclass(frozen=True)
class Backend:
    """One way to classify, ready to be timed."""

    name: str
    precision: str
    """fp32, tf32, bf16, fp16 or int8."""

    threads: int
    """CPU threads that it computes on; on a GPU those of the host."""

    device: str
    call: Callable[[int], None]
    """Classifies one batch of that size."""

    synchronize: Callable[[], None]
    """Returns when the device has done it."""

    compile_time_s: float | None = None
    """Taken by the first call with each batch size; None: nothing is compiled."""


def make_batches(batch_sizes: list[int], source_size: tuple[int, int], device: torch.device) -> Batches:
    """Images of noise of the data set's size: how long a model takes does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    return {
        size: torch.randint(0, 256, (size, 3, *source_size), dtype=torch.uint8, generator=generator)
        .to(device)
        .to(memory_format=torch.channels_last)
        for size in batch_sizes
    }


def classify(
    model: nn.Module, normalize: Preprocess, autocast: Autocast, batches: Batches
) -> Callable[[int], None]:
    """A function that gives a batch, by its size, to a model in evaluation mode."""

    @torch.inference_mode()
    def call(batch_size: int) -> None:
        with autocast.context():
            model(normalize(batches[batch_size]))

    return call


def eager(
    model: nn.Module, normalize: Preprocess, precision: Precision, batches: Batches, device: torch.device
) -> Backend:
    """Plain torch, channels_last, under the autocast of the precision.

    Raises:
        HardwareError: the device cannot compute in that precision.
    """
    model.to(memory_format=torch.channels_last)
    call = classify(model, normalize, make_autocast(precision, device), batches)
    return Backend(
        "eager", precision, torch.get_num_threads(), _device_name(device), call, _synchronizer(device)
    )


def compiled(
    model: nn.Module, normalize: Preprocess, precision: Precision, batches: Batches, device: torch.device
) -> Backend:
    """The same through `torch.compile`, compiled here for each batch size.

    Raises:
        HardwareError: the device cannot compute in that precision, or the model cannot be compiled.
    """
    from torch._dynamo.exc import TorchDynamoException  # the base of what compiling raises

    plain = eager(model, normalize, precision, batches, device)
    torch.compiler.reset()  # what other models have compiled counts for the limit on recompiling
    fast: Any = torch.compile(model, dynamic=False)
    call = classify(fast, normalize, make_autocast(precision, device), batches)
    start = time.perf_counter()
    try:
        for batch_size in batches:
            call(batch_size)
    except TorchDynamoException as error:
        raise HardwareError(
            f"torch.compile failed: {str(error).strip().partition(chr(10))[0]}: a C++ compiler on a CPU, "
            "or Triton on a GPU, may be missing"
        ) from error
    plain.synchronize()
    seconds = time.perf_counter() - start
    return Backend(
        "compiled", precision, plain.threads, plain.device, call, plain.synchronize, compile_time_s=seconds
    )


def onnx(path: Path, batches: Batches, device: torch.device, name: str, precision: str) -> Backend:
    """A file that `export_onnx` wrote, in ONNX Runtime, on as many CPU threads as torch has.

    Images and logits are in the memory of the host, also where its installed version uses the GPU.

    Raises:
        UsageError: ONNX Runtime is not installed.
    """
    runtime = load_package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    on_gpu = device.type == "cuda" and _ON_GPU in runtime.get_available_providers()
    providers = [_ON_GPU, _ON_CPU] if on_gpu else [_ON_CPU]
    session = runtime.InferenceSession(str(path), options, providers=providers)
    pixels = {size: images.cpu().contiguous().numpy() for size, images in batches.items()}

    def call(batch_size: int) -> None:
        session.run(None, {INPUT: pixels[batch_size]})

    is_on_gpu = session.get_providers()[0] == _ON_GPU  # or it could not be started
    where = _device_name(device) if is_on_gpu else "cpu"
    return Backend(name, precision, threads, where, call, synchronize=lambda: None)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _synchronizer(device: torch.device) -> Callable[[], None]:
    if device.type != "cuda":
        return lambda: None
    return lambda: torch.cuda.synchronize(device)
