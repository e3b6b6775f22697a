"""A model that images can be shown to, whatever form it has: a run, an export, an ONNX file of one.

classifier = open_classifier(Path("runs/0123456789ab"), "cpu")
logits = classifier.logits(images)       # uint8 [N, 3, source_size, source_size]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.datasets.base import Images
from harness.datasets.download import file_hash
from harness.errors import DataError, UsageError
from harness.onnx_model import Logits, OnnxModel, open_onnx
from harness.process import choose_device
from harness.stored_model import StoredModel, load_stored_model

DESCRIPTION = "model.json"


class Classifier(Protocol):
    """What is common to them."""

    @property
    def name(self) -> str:
        """Its architecture and the cell that it comes from."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits."""

    @property
    def source_size(self) -> int:
        """Height and width, in pixels, of the images that it is shown."""

    def logits(self, images_NCHW: Images) -> Logits:
        """float32 [N, num_classes] of uint8 RGB images."""


class _Files(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sha256: str


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore")

    height: int
    width: int


class _Description(BaseModel):
    """What is needed here of the `model.json` of an export."""

    model_config = ConfigDict(extra="ignore")

    cell_id: str
    model: str
    class_names: tuple[str, ...]
    input: _Input
    files: dict[str, _Files]


@dataclass(frozen=True)
class _FromRun:
    stored: StoredModel

    @property
    def name(self) -> str:
        return f"{self.stored.record.cell.model} {self.stored.record.cell_id}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.stored.class_names

    @property
    def source_size(self) -> int:
        return self.stored.source_size[0]

    def logits(self, images_NCHW: Images) -> Logits:
        return self.stored.logits(images_NCHW)


@dataclass(frozen=True)
class _FromOnnx:
    description: _Description
    model: OnnxModel

    @property
    def name(self) -> str:
        return f"{self.description.model} {self.description.cell_id}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.description.class_names

    @property
    def source_size(self) -> int:
        return self.description.input.height

    def logits(self, images_NCHW: Images) -> Logits:
        return self.model.logits(images_NCHW)


def open_classifier(path: Path, device: str) -> Classifier:
    """Open a run, an export or an ONNX file of one, for `cpu` or `cuda`.

    Raises:
        UsageError: it is none of these, or a package is missing.
        DataError: it is damaged.
        HardwareError: the device is not there.
    """
    if path.suffix == ".onnx" and not path.is_dir():
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        return _open_export(path, device)
    if (path / DESCRIPTION).is_file() and not (path / "record.json").exists():
        return _open_export(path / "model.onnx", device)
    if path.is_file():
        raise UsageError(f"{path}: expected the folder of a run or of an export, or an ONNX file")
    return _FromRun(load_stored_model(path, choose_device(device)))


def _open_export(path: Path, device: str) -> Classifier:
    description_path = path.with_name(DESCRIPTION)
    try:
        description = _Description.model_validate_json(description_path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{path}: there is no {DESCRIPTION} beside it, which names the classes: "
            "keep the files of an export together"
        ) from None
    except (OSError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{description_path}: cannot be read ({reason}): export the model again") from None
    if not path.is_file():
        raise DataError(f"{path}: is missing from the export: export the model again")
    known = description.files.get(path.name)
    if known is None:
        raise DataError(f"{path}: is not a file that {DESCRIPTION} lists: export the model again")
    if known.sha256 != file_hash(path, "sha256"):
        raise DataError(f"{path}: is not the file that was exported (its sha256 differs): export it again")
    return _FromOnnx(description, open_onnx(path, device))
