"""A cell names its data and its weights by what is in them, wherever they lie."""

from __future__ import annotations

from pathlib import Path

from harness.cell import CellSpec
from harness.datasets.base import Dataset
from harness.datasets.download import file_hash
from harness.errors import UsageError


def pin_data(cell: CellSpec, data: Dataset) -> CellSpec:
    """Name the data by their fingerprint where the name of the data set does not settle it.

    Raises:
        UsageError: the cell is about other data.
    """
    fingerprint = data.provenance.fingerprint
    if cell.data_fingerprint not in (None, fingerprint):
        raise UsageError(
            f"the cell is about data with fingerprint {cell.data_fingerprint}, "
            f"but {data.provenance.source} has {fingerprint}"
        )
    return cell if data.provenance.official else cell.model_copy(update={"data_fingerprint": fingerprint})


def pin_weights(cell: CellSpec) -> CellSpec:
    """Name a file of weights by its sha256.

    Raises:
        DataError: the file cannot be read.
        UsageError: the cell is about other weights.
    """
    if cell.pretrained is None or not cell.pretrained.startswith("file:"):
        return cell
    path = Path(cell.pretrained.removeprefix("file:"))
    found = file_hash(path, "sha256")
    if cell.weights_sha256 not in (None, found):
        raise UsageError(f"the cell is about weights of sha256 {cell.weights_sha256}, but {path} has {found}")
    return cell.model_copy(update={"weights_sha256": found})
