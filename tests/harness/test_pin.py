from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.cell import CellSpec
from harness.datasets.digits import load_digits
from harness.errors import DataError, UsageError
from harness.pin import pin_data, pin_weights


def test_data_that_are_not_a_published_set_are_named_by_their_fingerprint(cell: CellSpec) -> None:
    official = load_digits(8)
    provenance = official.provenance.model_copy(update={"official": False})
    other = type(official)(official.train, official.test, provenance)
    assert pin_data(cell, official) == cell
    pinned = pin_data(cell, other)
    assert pinned.data_fingerprint == provenance.fingerprint
    assert pin_data(pinned, other) == pinned
    with pytest.raises(UsageError, match="the cell is about data with fingerprint 0000"):
        pin_data(cell.model_copy(update={"data_fingerprint": "0" * 64}), other)


def test_a_file_of_weights_is_named_by_its_hash(cell: CellSpec, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    pinned = pin_weights(cell.model_copy(update={"pretrained": f"file:{path}"}))
    assert pinned.weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert pin_weights(pinned) == pinned
    path.write_bytes(b"other weights")
    with pytest.raises(UsageError, match=f"the cell is about weights of sha256 .*{path.name} has"):
        pin_weights(pinned)


def test_a_file_that_cannot_be_read_is_one_line(cell: CellSpec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pt: cannot be read: No such file"):
        pin_weights(cell.model_copy(update={"pretrained": f"file:{tmp_path / 'gone.pt'}"}))


@pytest.mark.parametrize("source", [None, "hub", "package"])
def test_published_weights_are_named_by_the_model(cell: CellSpec, source: str | None) -> None:
    start = cell.model_copy(update={"pretrained": source})
    assert pin_weights(start) == start
