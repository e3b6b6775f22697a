"""Downloads that end whole or not at all: mirrors in turn, resumed, hashed, then moved into place.

with exclusive(data_dir / "x.tar.gz.lock", quiet):
    fetch(urls, data_dir / "x.tar.gz", md5, sha256, size, quiet)
    extract(data_dir / "x.tar.gz", data_dir / "x")

What has arrived lies in `<path>.part`; the next source, or the next start of the program, continues it.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from harness.datasets.progress import progress
from harness.errors import DataError
from harness.files import storage_error

_TIMEOUT_S = 20.0
"""Longest wait for a connection, and for the next byte."""

_SPEED_WINDOW_S = 30.0
_MIN_BYTES_PER_S = 100_000
"""A source below this speed over the window is given up, unless it is the last one."""

_ATTEMPTS = 3
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class _Target:
    path: Path
    md5: str
    sha256: str
    size: int

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    def part_size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


class _SourceError(Exception):
    """Why a source did not deliver."""


class _TooSlowError(_SourceError):
    """A source that is not worth a second attempt."""


def fetch(urls: Sequence[str], path: Path, md5: str, sha256: str, size: int, quiet: bool) -> None:
    """Download the file that all `urls` offer to `path`, from the first that delivers it whole.

    The caller holds a lock, so that one process downloads while the others wait.

    Args:
        urls: sources of the same bytes, the best one first.
        path: where the file goes; it appears there only when both hashes are right.
        md5: expected MD5, hexadecimal.
        sha256: expected SHA-256, hexadecimal.
        size: expected number of bytes.
        quiet: show no progress.

    Raises:
        DataError: no source delivered; one line says why, for each of them, and what to do.
        StorageError: the file cannot be written.
    """
    target = _Target(path, md5, sha256, size)
    failures = []
    for url in urls:
        try:
            _fetch_from(url, target, patient=url == urls[-1], quiet=quiet)
        except _SourceError as failure:
            failures.append(f"{urlsplit(url).netloc}: {failure}")
            continue
        try:
            target.part.replace(path)
        except OSError as error:
            raise storage_error(path, error) from error
        return
    raise DataError(
        f"cannot download {path.name} ({'; '.join(failures)}): "
        f"download {urls[0]} by hand and put it at {path} (sha256 {sha256})"
    )


def file_hash(path: Path, algorithm: str) -> str:
    """Hash (hex) of a file, by an algorithm of `hashlib`.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, partial(hashlib.new, algorithm, usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def extract(archive: Path, folder: Path) -> None:
    """Unpack the top-level folder `folder.name` of a `.tar.gz` to `folder`, whole or not at all.

    The caller holds a lock.

    Raises:
        DataError: the archive is damaged, unsafe or does not hold the folder.
        StorageError: the folder cannot be written.
    """
    scratch = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        with gzip.open(archive) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                tar.extractall(scratch, filter="data")
            while stream.read(_CHUNK_BYTES):  # the checksum is compared at the very end, behind the last file
                pass
        if not (scratch / folder.name).is_dir():
            raise DataError(f"{archive}: holds no folder {folder.name}: delete it to download it again")
        (scratch / folder.name).rename(folder)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive}: damaged ({error}): delete it to download it again") from error
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch_from(url: str, target: _Target, patient: bool, quiet: bool) -> None:
    """Complete the `.part` file from one source, trying again as long as an attempt changes the file."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = target.part_size()
        try:
            _transfer(url, target, patient, quiet)
            _verify(target)
        except _TooSlowError:
            raise
        except _SourceError:
            if attempt == _ATTEMPTS or target.part_size() == before:
                raise
        else:
            return


def _verify(target: _Target) -> None:
    """Compare the complete `.part` file with both hashes; discard it where they differ."""
    for algorithm, expected in (("md5", target.md5), ("sha256", target.sha256)):
        found = file_hash(target.part, algorithm)
        if found != expected:
            _discard(target)
            raise _SourceError(f"wrong content ({algorithm} {found})")


def _discard(target: _Target) -> None:
    try:
        target.part.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(target.part, error) from error


def _transfer(url: str, target: _Target, patient: bool, quiet: bool) -> None:
    """Append to the `.part` file what is missing of it."""
    if target.part_size() > target.size:
        _discard(target)
    if target.part_size() == target.size:
        return
    with _open(url, target) as response:
        position = _first_byte(response, target)
        title = f"downloading {target.path.name} from {urlsplit(url).netloc}"
        try:
            with (
                target.part.open("ab" if position else "wb") as file,
                progress(title, target.size, "bytes", quiet, done=position) as advance,
            ):
                for chunk in _chunks(response, patient):
                    file.write(chunk)
                    advance(len(chunk))
                    position += len(chunk)
                    if position > target.size:
                        raise _SourceError(f"sent more than {target.size:,} bytes")
                if position < target.size:
                    raise _SourceError(f"ended after {position:,} of {target.size:,} bytes")
        except OSError as error:
            raise storage_error(target.part, error) from error


def _open(url: str, target: _Target) -> HTTPResponse:
    """Request the part of the file that is missing."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    have = target.part_size()
    headers = {"User-Agent": "verdict-bench"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what we have is not the start of what it offers
            _discard(target)
        raise _SourceError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _SourceError(_reason(error)) from error
    return response


def _first_byte(response: HTTPResponse, target: _Target) -> int:
    """Position of the response's first byte in the file: 0 where the server ignores the wanted range."""
    have = target.part_size()
    if response.status == 200:
        total, first = response.headers.get("Content-Length", "*"), 0
    else:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if match is None or int(match[1]) != have:
            _discard(target)
            raise _SourceError(f"HTTP {response.status} with range '{content_range}' instead of {have:,} on")
        total, first = match[2], have
    if total not in ("*", str(target.size)):
        raise _SourceError(f"offers {total} bytes instead of {target.size}")
    return first


def _chunks(response: HTTPResponse, patient: bool) -> Iterator[bytes]:
    """The body as it arrives; ends where the connection ends."""
    window_start, window_bytes = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)  # read() would wait for the whole amount, however slow
        except (OSError, HTTPException) as error:
            raise _SourceError(_reason(error)) from error
        if not chunk:
            return
        yield chunk
        window_bytes += len(chunk)
        elapsed_s = time.monotonic() - window_start
        if elapsed_s < _SPEED_WINDOW_S:
            continue
        speed = window_bytes / elapsed_s
        if speed < _MIN_BYTES_PER_S and not patient:
            raise _TooSlowError(f"only {speed / 1000:,.0f} kB/s")
        window_start, window_bytes = time.monotonic(), 0


def _reason(error: Exception) -> str:
    """A network error in a few words."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no answer for {_TIMEOUT_S:g} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
