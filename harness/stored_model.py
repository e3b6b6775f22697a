"""The weights that a run was scored with, kept beside its record, and the model made from them again.

    weights = gather_weights(strategy, built.module)        # at the end of training, on every process
    save_weights(run_dir, weights, cell, data, mean, std)   # runs/<cell_id>/model.safetensors
    stored = load_stored_model(run_dir, torch.device("cpu"))
    logits = stored.module(stored.normalize(images))        # uint8 images [B, 3, height, width]

The file says what it needs to be used alone: which cell and which images it came from, the names of the
classes, and how its images were normalised. Neither the data set nor the first weights of a pre-trained
model are needed to load it. Its sha256 is over all of that, so that a damaged file is never used.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from harness.cell import CellSpec
from harness.datasets.base import DataProvenance, Images
from harness.datasets.device_loader import Normalizer
from harness.errors import DataError, UsageError
from harness.files import atomic_write
from harness.model import make_model
from harness.record import Record, read_record
from harness.strategy import Strategy

FORMAT = "1"
"""Of the metadata. History: 1, the first (2026-11)."""


@dataclass(frozen=True)
class StoredModel:
    """A trained model, ready to classify images as it did when it was scored."""

    module: nn.Module
    """In evaluation mode; maps what `normalize` gives to logits [B, num_classes]."""

    normalize: Normalizer
    """Maps uint8 RGB images [B, 3, height, width] to model input, resized where that is needed."""

    record: Record
    class_names: tuple[str, ...]
    image_size: int
    """Height and width, in pixels, of the model's input."""

    source_size: tuple[int, int]
    """Height and width, in pixels, of the images of the data set."""

    mean: tuple[float, ...]
    """Of each channel, for pixels scaled to 0..1, as it was taken off in training."""

    std: tuple[float, ...]

    @torch.inference_mode()
    def logits(self, images_NCHW: Images) -> np.ndarray[Any, np.dtype[np.float32]]:
        """float32 [N, num_classes] of uint8 RGB images, in float32 whatever the precision in training."""
        device = next(self.module.parameters()).device
        images = torch.from_numpy(np.array(images_NCHW)).to(device)  # a copy: cached images are read-only
        logits: np.ndarray[Any, np.dtype[np.float32]] = (
            self.module(self.normalize(images)).float().cpu().numpy()
        )
        return logits


def weights_path(run_dir: Path) -> Path:
    """Where a run's scored weights are kept."""
    return run_dir / "model.safetensors"


@torch.no_grad()
def gather_weights(strategy: Strategy, module: nn.Module) -> dict[str, Tensor] | None:
    """The model's whole parameters and buffers on the host of process 0; None on the others.

    Every process must call it, before the strategy is closed: parts of weights are put together, one
    tensor at a time.

    Args:
        strategy: as training left it.
        module: the whole model; the strategy of a linear probe has only its head, and shares that.
    """
    is_main = strategy.process.is_main
    whole: dict[str, Tensor] = {}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, tensor in module.state_dict().items():
        if hasattr(tensor, "full_tensor"):  # a DTensor, whose class takes a second to import
            tensor = tensor.full_tensor()
        parameter = parameters.get(name)
        with _put_together(parameter):
            if is_main:
                source = parameter if hasattr(parameter, "ds_id") else tensor
                whole[name] = _on_host(cast(Tensor, source))
    return whole if is_main else None


def _put_together(parameter: nn.Parameter | None) -> Any:
    """A context in which a parameter of ZeRO's stage 3 is whole."""
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed  # type: ignore[import-untyped]  # loaded by the strategy already

    return deepspeed.zero.GatheredParameters([parameter])


def _on_host(tensor: Tensor) -> Tensor:
    """A copy of its own: weights that two layers share are kept twice."""
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)


def save_weights(
    run_dir: Path,
    weights: dict[str, Tensor],
    cell: CellSpec,
    data: DataProvenance,
    mean: Sequence[float],
    std: Sequence[float],
) -> int:
    """Write the weights into the run's folder, atomically.

    Args:
        run_dir: of the run.
        weights: whole parameters and buffers by name, on the CPU.
        cell: which was trained.
        data: what it was trained on.
        mean: of each channel, for pixels scaled to 0..1, as the images were normalised.
        std: likewise.

    Returns:
        The size of the file in bytes.

    Raises:
        StorageError: it cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "cell_id": cell.cell_id,
        "data_fingerprint": data.fingerprint,
        "class_names": json.dumps(data.class_names),
        "source_size": json.dumps(data.image_shape[1:]),
        "image_size": str(cell.image_size),
        "mean": json.dumps([float(value) for value in mean]),
        "std": json.dumps([float(value) for value in std]),
    }
    content = save(weights, metadata | {"sha256": _digest(weights, metadata)})
    with atomic_write(weights_path(run_dir)) as file:
        file.write(content)
    return len(content)


def load_stored_model(run_dir: Path, device: torch.device) -> StoredModel:
    """Build the model of a finished run again, with the weights that it was scored with.

    Raises:
        UsageError: the folder is not one of a finished run, the run kept no weights, or a package that
            builds its model is missing.
        DataError: the weights are damaged, of another run, or do not fit the model as this version
            builds it.
    """
    record = _finished(run_dir)
    path = weights_path(run_dir)
    if not path.is_file():
        raise UsageError(
            f"{run_dir}: has no model.safetensors: the run was made with --no-weights or by an older "
            "version of Verdict; move the folder away and run the cell again"
        )
    weights, metadata = _read(path)
    if metadata["cell_id"] != record.cell_id:
        raise DataError(
            f"{path}: holds the weights of cell {metadata['cell_id']}, and the record beside it is of "
            f"{record.cell_id}: files were mixed up; run the cell again"
        )
    class_names: list[str] = json.loads(metadata["class_names"])
    mean, std = tuple(json.loads(metadata["mean"])), tuple(json.loads(metadata["std"]))
    height, width = json.loads(metadata["source_size"])
    module = _rebuild(record, len(class_names), weights, device, path)
    image_size = record.cell.image_size
    return StoredModel(
        module=module,
        normalize=Normalizer(mean, std, image_size, device),
        record=record,
        class_names=tuple(class_names),
        image_size=image_size,
        source_size=(height, width),
        mean=mean,
        std=std,
    )


def _finished(run_dir: Path) -> Record:
    if not run_dir.is_dir():
        raise UsageError(
            f"{run_dir}: there is no such folder: give the folder of a run, as in runs/<cell id>"
        )
    record = read_record(run_dir)
    if record is None:
        raise UsageError(
            f"{run_dir}: has no record.json, so it is not the folder of a finished run: "
            "give one, as in runs/<cell id>"
        )
    if record.status != "finished":
        raise UsageError(f"{run_dir}: this run failed, and left no model: run the cell again")
    return record


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file of weights, checked."""
    advice = "run the cell again, or copy the file again from where it came"
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            weights: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DataError(f"{path}: damaged ({error}): {advice}") from None
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path}: not weights that this version of Verdict wrote: run the cell again")
    if metadata.pop("sha256", None) != _digest(weights, metadata):
        raise DataError(f"{path}: damaged (what it holds is not what was written): {advice}")
    return weights, metadata


def _rebuild(
    record: Record, num_classes: int, weights: dict[str, Tensor], device: torch.device, path: Path
) -> nn.Module:
    """The cell's architecture with these weights; the weights that it started from are not looked at."""
    cell = record.cell.model_copy(update={"pretrained": None, "weights_sha256": None})
    with _own_random_numbers(device):
        module = make_model(cell, num_classes, device).module
    own = module.state_dict()
    wrong = {
        "missing": sorted(own.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - own.keys()),
        "of another shape": [key for key in own if key in weights and own[key].shape != weights[key].shape],
    }
    faults = [
        f"{len(names)} {kind} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for kind, names in wrong.items()
        if names
    ]
    if faults:
        version = f"Verdict {record.environment.verdict}" if record.environment else "the version of Verdict"
        raise DataError(
            f"{path}: does not fit the model '{cell.model}' as this version builds it: {'; '.join(faults)}: "
            f"use {version} and the libraries that trained it, or run the cell again"
        )
    module.load_state_dict(weights)
    return module.eval()


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Leave the caller's generators as they were: building a model draws its first weights."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _digest(weights: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """sha256 (hex) over what is said of the weights, and their names, types, shapes and values, in order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
