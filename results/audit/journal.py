"""Every answer of an endpoint, on disk before the next is awaited: `journal.jsonl` in an audit's folder.

    with open_journal(folder, header) as journal:
        journal.answered        # what earlier calls were told
        journal.append(AnswerLine(...))

The first line says what the audit is about; a folder is never used for two of them. A process killed while
it writes leaves half a line at the end, which the next one cuts off.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.errors import DataError, UsageError
from harness.files import storage_error
from harness.recipe import first_problem

JOURNAL = "journal.jsonl"
LOCK = f".{JOURNAL}.lock"


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HeaderLine(_Line):
    """What an audit is about."""

    line: Literal["audit"] = "audit"
    version: Literal[1] = 1
    """History: 1, the first."""

    vendor: str
    endpoint: str
    """Without its query."""

    endpoint_sha256: str
    test_fingerprint: str
    num_images: int
    class_names: tuple[str, ...]
    nonce: str
    """Random; ids and the order of images follow from it."""


class AnswerLine(_Line):
    """The answer to one request."""

    line: Literal["answer"] = "answer"
    again: bool
    """Whether the images were sent a second time, to see whether their answers change."""

    positions: tuple[int, ...]
    """Of the images in the test set."""

    classes: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...] | None
    latency_s: float
    answered_at: AwareDatetime
    concurrency: int
    """Requests that may have been under way at once."""


class FailureLine(_Line):
    """One try that was not answered."""

    line: Literal["failure"] = "failure"
    reason: str


_Entry = AnswerLine | FailureLine
_ENTRY: TypeAdapter[_Entry] = TypeAdapter(_Entry)
_FIXED = {
    "vendor": "another vendor",
    "endpoint_sha256": "another endpoint",
    "test_fingerprint": "other test images",
    "num_images": "other test images",
    "class_names": "other classes",
}


class Journal:
    """The open journal of one audit; safe to be written to by several threads."""

    def __init__(self, file: BinaryIO, path: Path, header: HeaderLine, entries: list[_Entry]) -> None:
        self.header = header
        self.entries = entries
        self._file, self._path = file, path
        self._lock = threading.Lock()

    @property
    def answers(self) -> list[AnswerLine]:
        """Every answer so far, those of earlier calls first."""
        return [entry for entry in self.entries if isinstance(entry, AnswerLine)]

    @property
    def failures(self) -> list[str]:
        """The reason of every try that was not answered."""
        return [entry.reason for entry in self.entries if isinstance(entry, FailureLine)]

    def append(self, entry: _Entry) -> None:
        """Write one line; it is on the disk when this returns.

        Raises:
            DataError: an answer with probabilities after one without, or the reverse.
            StorageError: it cannot be written; the journal is as it was.
        """
        with self._lock:
            if isinstance(entry, AnswerLine) and self._differs(entry):
                raise DataError(
                    f"{self.header.endpoint}: answers some requests with probabilities and some without: "
                    "they cannot be scored together"
                )
            _append(self._file, self._path, entry)
            self.entries.append(entry)

    def _differs(self, entry: AnswerLine) -> bool:
        before = next((one for one in self.entries if isinstance(one, AnswerLine)), entry)
        return (before.probabilities is None) != (entry.probabilities is None)


@contextmanager
def open_journal(folder: Path, header: HeaderLine) -> Iterator[Journal]:
    """Open the journal in `folder`, or begin it; no other process can meanwhile.

    Args:
        folder: of the audit.
        header: of this call; an older journal keeps its own nonce.

    Raises:
        UsageError: the folder holds another audit, or another process is at work in it.
        DataError: the journal is damaged; the line is named.
        StorageError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    path = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{folder}: another process is at work on this audit: wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        with _opened(path) as file:
            yield _begin(file, path, header)
    finally:
        lock.release()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise storage_error(path, error) from error
    with file:
        yield file


def _begin(file: BinaryIO, path: Path, header: HeaderLine) -> Journal:
    file.seek(0)
    lines = file.read().split(b"\n")
    half = lines.pop()
    if half:
        file.truncate(sum(len(line) + 1 for line in lines))
    if not lines:
        _append(file, path, header)
        return Journal(file, path, header, [])
    try:
        found = HeaderLine.model_validate_json(lines[0])
    except ValidationError as error:
        raise DataError(f"{path}:1: {first_problem(error, 'journal')}: move the folder away") from None
    for field, words in _FIXED.items():
        if getattr(found, field) != getattr(header, field):
            raise UsageError(
                f"{path.parent} holds an audit of {words}: choose another folder with --out "
                f"(it is about '{found.vendor}' at {found.endpoint})"
            )
    return Journal(file, path, found, _entries(path, lines[1:], found))


def _entries(path: Path, lines: list[bytes], header: HeaderLine) -> list[_Entry]:
    entries = []
    for number, line in enumerate(lines, start=2):
        try:
            entry = _ENTRY.validate_json(line)
        except ValidationError as error:
            raise DataError(
                f"{path}:{number}: {first_problem(error, 'journal')}: move the folder away"
            ) from None
        if isinstance(entry, AnswerLine) and not _fits(entry, header):
            raise DataError(f"{path}:{number}: is about other images or classes: move the folder away")
        entries.append(entry)
    return entries


def _fits(entry: AnswerLine, header: HeaderLine) -> bool:
    num_classes = len(header.class_names)
    rows = entry.probabilities
    return (
        len(entry.positions) == len(entry.classes) > 0
        and all(0 <= position < header.num_images for position in entry.positions)
        and all(0 <= index < num_classes for index in entry.classes)
        and (
            rows is None or (len(rows) == len(entry.classes) and all(len(row) == num_classes for row in rows))
        )
    )


def _append(file: BinaryIO, path: Path, entry: BaseModel) -> None:
    size = file.seek(0, os.SEEK_END)
    line = entry.model_dump_json().encode() + b"\n"
    try:
        written = file.write(line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError as error:
        file.truncate(size)
        raise storage_error(path, error) from error
