"""Arrays from files of others: nothing is unpickled, and no header makes us take memory that is not there.

read_npy(Path("theirs.npy"))
read_npz(Path("theirs.npz"))["probs"]
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from harness.errors import DataError
from results.audit.text import cannot_read
from results.metrics import Array
from results.store import one_line

MAX_BYTES = 2**31
"""Of all arrays of a file, unpacked: 50,000 images by 5,000 classes in float64."""

_KINDS = "iufUS"
_MAX_DIMENSIONS = 2
_READ_HEADER = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def read_npy(path: Path) -> Array:
    """The array of a `.npy` file: integers, floats or text.

    Raises:
        UsageError: there is no such file.
        DataError: damaged, too large, or it holds Python objects, which are never loaded.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _read_array(file, size, str(path), MAX_BYTES)
    except OSError as error:
        raise cannot_read(path, error) from None


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a `.npz` file by name; see `read_npy`."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            arrays: dict[str, Array] = {}
            left = MAX_BYTES
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                where = f"{path}: array '{one_line(name, 60)}'"
                if name in arrays:
                    raise DataError(f"{where}: is there twice")
                with archive.open(member) as content:
                    arrays[name] = _read_array(content, member.file_size, where, left)  # type: ignore[arg-type]
                left -= member.file_size
            return arrays
    except FileNotFoundError as error:
        raise cannot_read(path, error) from None
    except DataError:
        raise
    except Exception as error:
        # zipfile meets damaged bytes, unknown methods and passwords with many unrelated types of error.
        raise DataError(f"{path}: is no .npz file: {one_line(str(error), 200)}") from error


def _read_array(file: BinaryIO, num_bytes: int, where: str, max_bytes: int) -> Array:
    if num_bytes > max_bytes:
        raise DataError(f"{where}: is larger than {max_bytes // 2**20:,} MiB")
    start = file.tell()
    try:
        version = npy_format.read_magic(file)
        shape, fortran_order, dtype = _READ_HEADER[version](file)
    except Exception as error:
        # numpy meets damaged headers with many unrelated types of error.
        raise DataError(f"{where}: is no array: {one_line(str(error), 200)}") from error
    if dtype.kind not in _KINDS:
        what = "Python objects, which are never loaded" if dtype.hasobject else str(dtype)
        raise DataError(f"{where}: holds {one_line(what, 80)}: give integers, floats or text")
    odd = any(isinstance(size, bool) or not 0 <= size <= max_bytes for size in shape)
    if odd or len(shape) > _MAX_DIMENSIONS or not dtype.itemsize:
        raise DataError(f"{where}: is no list and no matrix of values: {one_line(f'{dtype} {shape}', 80)}")
    expected = math.prod(shape) * dtype.itemsize
    there = num_bytes - (file.tell() - start)
    if expected != there:
        raise DataError(f"{where}: is damaged: {there:,} bytes for {expected:,} that its header speaks of")
    content = file.read(expected)
    if len(content) != expected:
        raise DataError(f"{where}: is damaged: it ends early")
    array = np.frombuffer(content, dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")
