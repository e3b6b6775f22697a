"""Files that are either whole or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import errno
import io
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.errors import StorageError, UsageError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_PIECE = 2**20


def storage_error(path: Path, error: OSError) -> StorageError:
    """The user's line for an `OSError` met while writing `path`."""
    if error.errno in _NO_SPACE:
        return StorageError(f"no space left to write {path}: free some space or choose another folder")
    return StorageError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing; move it to `path` if the block succeeds.

    Readers see the old file or the new one, never a part. Nothing is left behind when the block
    fails; a process killed inside it leaves only a `*.tmp` file.

    Raises:
        StorageError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary.exists():
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray[Any, Any]], compress: bool = False) -> None:
    """Write named arrays to the `.npz` file `path`, atomically."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, **arrays)  # type: ignore[arg-type]  # numpy types its keyword arrays as bool
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def read_small_text(path: Path, max_bytes: int, what: str) -> str:
    """The text of a file that a user wrote, in UTF-8.

    Raises:
        UsageError: it cannot be read, is larger than `max_bytes`, so that it can be no `what`, or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > max_bytes:
        raise UsageError(f"{path} is larger than {max_bytes // 1024} KiB: that is no {what}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text: save the file as UTF-8") from None


def clear_temporaries(folder: Path, min_age_s: float) -> None:
    """Delete what processes that were killed while writing left in `folder`.

    Raises:
        StorageError: a file cannot be deleted.
    """
    for path in folder.glob(".*.tmp"):
        try:
            if time.time() - path.stat().st_mtime >= min_age_s:
                path.unlink()
        except FileNotFoundError:
            continue  # its writer has just finished
        except OSError as error:
            raise storage_error(path, error) from error


def as_cell(text: str) -> str:
    """Text that a spreadsheet does not run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def reserve_space(path: Path, num_bytes: int) -> None:
    """Make `path` a file that takes up `num_bytes` of disk.

    Raises:
        StorageError: there is not that much room; nothing is left behind.
    """
    try:
        with path.open("wb") as file:
            for start in range(0, num_bytes, _PIECE):
                file.write(bytes(min(_PIECE, num_bytes - start)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise storage_error(path, error) from error
