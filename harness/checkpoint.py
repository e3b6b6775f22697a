"""Checkpoints of a cell in training: written whole or not at all, checked when read.

    runs/<cell_id>/checkpoint/step-00000120/
        weights.safetensors    of the model as it trains, and its buffers
        state.pt               optimizer, averages, history, position, and what is each process's own
        manifest.json          the sha256 of both, written last: without it there is no checkpoint

The two newest are kept: where one is damaged, training goes on from the one before.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from harness.files import atomic_write, storage_error, write_text

KEPT = 2
FORMAT = 3
"""Of `state.pt`. History: 1, the first (2026-11); 2, optimizers may be in parts; 3, ZeRO's without copies of
the weights, for more groups of them."""

_MANIFEST, _WEIGHTS, _STATE = "manifest.json", "weights.safetensors", "state.pt"


def save_checkpoint(folder: Path, step: int, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write a checkpoint, and delete all but the newest ones.

    Args:
        folder: of all checkpoints of one cell.
        step: optimizer steps taken so far; names the checkpoint.
        weights: parameters and buffers by name.
        state: everything else: tensors, numbers, strings, lists and dicts of them.

    Raises:
        StorageError: it cannot be written; those before it are as they were.
    """
    target = folder / f"step-{step:08d}"
    buffer = io.BytesIO()
    torch.save(state | {"format": FORMAT}, buffer)
    on_host = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    content = {_WEIGHTS: save(on_host), _STATE: buffer.getvalue()}
    try:
        for name, data in content.items():
            with atomic_write(target / name) as file:
                file.write(data)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        write_text(target / _MANIFEST, json.dumps(sums, indent=1) + "\n")
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    # what is newer than this one was damaged, or of another version
    kept = [path for path in _folders(folder) if path.name <= target.name][:KEPT]
    try:
        for old in set(folder.glob("step-*")) - set(kept):  # also what was killed while it was written
            (old / _MANIFEST).unlink(missing_ok=True)  # first: what is left of it is no checkpoint
            shutil.rmtree(old)
    except OSError as error:
        raise storage_error(folder, error) from error


@dataclass(frozen=True)
class Checkpoint:
    """What `save_checkpoint` was given, on the CPU."""

    weights: dict[str, Tensor]
    state: dict[str, Any]


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, if there is one, and what is wrong with those after it.

    Nothing in the files is run as code.
    """
    problems: list[str] = []
    for path in _folders(folder):
        try:
            sums = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
            data = {name: (path / name).read_bytes() for name in (_WEIGHTS, _STATE)}
            changed = [name for name in data if hashlib.sha256(data[name]).hexdigest() != sums[name]]
        except (OSError, ValueError, TypeError, LookupError) as error:
            problems.append(f"{path} is damaged ({type(error).__name__}: {error})")
            continue
        if changed:
            problems.append(f"{path} is damaged ({', '.join(changed)})")
            continue
        state = torch.load(io.BytesIO(data[_STATE]), map_location="cpu", weights_only=True)
        if state.pop("format") == FORMAT:
            return Checkpoint(load(data[_WEIGHTS]), state), problems
        problems.append(f"{path} is of another version of this program")
    return None, problems


def delete_checkpoints(folder: Path) -> None:
    """Delete all checkpoints of a cell that is finished."""
    shutil.rmtree(folder, ignore_errors=True)


def _folders(folder: Path) -> list[Path]:
    """The checkpoints that were finished, the newest first."""
    return sorted((path.parent for path in folder.glob(f"step-*/{_MANIFEST}")), reverse=True)
