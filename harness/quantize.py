"""An exported model in 8-bit integers: smaller, and on some processors faster.

    quantize_int8(Path("model.onnx"), Path("model.int8.onnx"), "static", calibration_images)

`dynamic` keeps the weights in 8 bits, and finds the range of what flows between the layers while it runs.
`static` has found these ranges before, from calibration images, which must not be test images. What it
costs in accuracy is for the caller to measure (Jacob et al. 2018, arXiv 1712.05877, has the arithmetic).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.datasets.base import Images
from harness.errors import UsageError
from harness.onnx_model import INPUT, load_package

MODES = ("none", "dynamic", "static")
CALIBRATION_IMAGES = 512
_BATCH_SIZE = 64


class _Reader:
    """Calibration images as onnxruntime asks for them: batch by batch, then None."""

    def __init__(self, images_NCHW: Images) -> None:
        starts = range(0, len(images_NCHW), _BATCH_SIZE)
        self._batches = iter([images_NCHW[start : start + _BATCH_SIZE] for start in starts])

    def get_next(self) -> dict[str, Images] | None:
        """The next input of the model."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantize_int8(source: Path, target: Path, mode: str, calibration_images: Images | None = None) -> None:
    """Write the model `source` with 8-bit weights to `target`.

    Args:
        source: an ONNX file that `export_onnx` wrote.
        target: where the other goes.
        mode: `dynamic` or `static`.
        calibration_images: uint8 [N, 3, H, W] of the data set's size, for `static`.

    Raises:
        UsageError: a package is missing, or onnxruntime cannot quantise this model; its reason is given.
    """
    load_package("onnx")
    tools = load_package("onnxruntime.quantization")
    prepare = load_package("onnxruntime.quantization.shape_inference").quant_pre_process
    with tempfile.TemporaryDirectory(prefix="verdict-int8-") as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            prepare(str(source), str(prepared), skip_symbolic_shape=True)
            if mode == "dynamic":
                # onnxruntime has no convolution of signed weights whose input is quantised as it runs
                tools.quantize_dynamic(str(prepared), str(target), weight_type=tools.QuantType.QUInt8)
            else:
                assert mode == "static", mode
                assert calibration_images is not None
                _static(tools, prepared, target, calibration_images)
        except Exception as error:  # onnxruntime raises nearly anything
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
            raise UsageError(f"--int8 {mode}: this model cannot be quantised: {reason}") from error


def _static(tools: Any, prepared: Path, target: Path, images: Images) -> None:
    """Weights by output channel and signed, what flows between layers unsigned: what CPUs do fastest.

    Weights use 7 of their 8 bits: on CPUs without VNNI instructions, sums of larger products overflow.
    """
    tools.quantize_static(
        str(prepared),
        str(target),
        _Reader(images),
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        reduce_range=True,
        calibrate_method=tools.CalibrationMethod.MinMax,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice about its own parameters from the user, who cannot take it."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
