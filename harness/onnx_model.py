"""A trained model as an ONNX file that takes images as they are: written, opened and run.

    export_onnx(stored, path)
    model = open_onnx(path)
    logits = model.logits(images)     # uint8 RGB images [N, 3, height, width] of the data set's size

Resizing and normalisation are part of the graph, so that whoever runs the file cannot get them wrong. The
batch size is free. onnx, onnxscript and onnxruntime are loaded only when they are needed, and the
telemetry of the latter is off.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.datasets.base import Images
from harness.errors import DataError, HardwareError, UsageError
from harness.evaluate import EVALUATION_BATCH_SIZE
from harness.stored_model import StoredModel

Logits = np.ndarray[Any, np.dtype[np.float32]]

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "logits"
OPSET = 20  # the newest with an antialiased Resize that all of onnxruntime's releases since 2023 can run
_SILENT = 3
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class WithPreparation(nn.Module):
    """A model with all that comes before it: uint8 RGB images in, logits out.

    The arithmetic is that of `harness.datasets.device_loader.Normalizer`.
    """

    def __init__(self, stored: StoredModel) -> None:
        super().__init__()
        self.module = stored.module
        self.image_size = stored.image_size
        self.mean: Tensor
        self.std: Tensor
        device = next(stored.module.parameters()).device
        self.register_buffer("mean", 255 * torch.tensor(stored.mean, device=device).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(stored.std, device=device).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, num_classes] of uint8 images [B, 3, H, W]."""
        inputs, size = images.float(), self.image_size
        if inputs.shape[-1] != size:
            is_smaller = size < inputs.shape[-1]
            inputs = F.interpolate(inputs, size=(size, size), mode="bilinear", antialias=is_smaller)
        logits: Tensor = self.module((inputs - self.mean) / self.std)
        return logits


def load_package(name: str) -> Any:
    """Import one of the packages that exporting needs, or a part of one.

    Raises:
        UsageError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs the package {name.partition('.')[0]} ({error}): pip install 'verdict-bench[export]'"
        ) from None


def export_onnx(stored: StoredModel, path: Path) -> None:
    """Write a stored model as float32 ONNX that takes uint8 images in batches of any size.

    Raises:
        UsageError: a package is missing, or the model cannot be exported; the exporter's reason is given.
    """
    for name in PACKAGES:
        load_package(name)
    model = WithPreparation(stored).eval()
    images = torch.zeros(2, 3, *stored.source_size, dtype=torch.uint8, device=model.mean.device)
    what = f"model '{stored.record.cell.model}' cannot be exported to ONNX"
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            program = torch.onnx.export(
                _trace(model, images),
                (images,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: "batch"}},  # its name; that it is free is up to the trace
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter raises nearly anything
        raise UsageError(f"{what}: {_reason(error)}") from error
    assert program is not None
    program.save(path, external_data=False)
    batch = open_onnx(path).session.get_inputs()[0].shape[0]
    if isinstance(batch, int):
        raise UsageError(f"{what}: it fixes the batch size, to {batch}")


def _trace(model: nn.Module, images: Tensor) -> Any:
    """The graph of the model, of any batch size.

    Running the model is the robust way. Where it reads the size of the batch as a Python number, which
    fixes it, the bytecode is read instead.
    """
    shapes = {INPUT: {0: torch.export.Dim("batch", min=1)}}
    try:
        return torch.export.export(model, (images,), dynamic_shapes=shapes, strict=False)
    except Exception as first:  # noqa: BLE001  # whatever it is, there is another way
        try:
            return torch.export.export(model, (images,), dynamic_shapes=shapes, strict=True)
        except Exception:  # noqa: BLE001  # the first one says more
            raise first from None


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file that is open, to be run."""

    session: Any
    """onnxruntime's."""

    def logits(self, images_NCHW: Images) -> Logits:
        """float32 [N, num_classes] of uint8 images of the data set's size, as one batch."""
        logits: Logits = self.session.run(None, {INPUT: np.ascontiguousarray(images_NCHW)})[0]
        return logits


def open_onnx(path: Path, device: str = "cpu") -> OnnxModel:
    """Open a file that `export_onnx` wrote, or one that was made smaller since.

    Raises:
        UsageError: onnxruntime is not installed.
        HardwareError: it cannot use the device.
        DataError: the file is not ONNX that it can run.
    """
    runtime = load_package("onnxruntime")
    provider = _PROVIDERS[device]
    if provider not in runtime.get_available_providers():
        raise HardwareError(
            f"--device {device}: the installed onnxruntime has no {provider}: "
            "give the folder of the run, or --device cpu"
        )
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    try:
        session = runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # noqa: BLE001  # onnxruntime has many, of no common base
        raise DataError(f"{path}: not an ONNX model that can be run ({_reason(error)})") from None
    if [put.name for put in (*session.get_inputs(), *session.get_outputs())] != [INPUT, OUTPUT]:
        raise DataError(f"{path}: not a model that was exported by Verdict: expected {INPUT} and {OUTPUT}")
    return OnnxModel(session)


def batches(num_images: int, image_size: int) -> Iterator[slice]:
    """Slices of a set of images, each of a batch that fits into memory."""
    size = max(1, EVALUATION_BATCH_SIZE * 32**2 // (4 * image_size**2))
    return (slice(start, start + size) for start in range(0, num_images, size))
