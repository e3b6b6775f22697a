"""Text files of others, read with bounds: no line and no file may fill the memory.

for number, line in bounded_lines(Path("predictions.csv")):
    ...
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from harness.errors import DataError, UsageError
from results.store import one_line

MAX_LINE_BYTES = 2**20
"""A row of 5,000 probabilities with 17 digits takes 100 kB."""

MAX_NAMES = 10_000_000

_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def bounded_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line of a UTF-8 file with its number, from 1, and its line break; a byte order mark is dropped.

    Raises:
        UsageError: there is no such file.
        DataError: a line is too long, or is not UTF-8; the line is named.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes")
                yield number, decode(line, path, number)
    except OSError as error:
        raise cannot_read(path, error) from None


def decode(content: bytes, source: Path | str, line: int = 1) -> str:
    """UTF-8 text without its byte order mark.

    Args:
        content: bytes that begin at the start of `line`.
        source: file or address, named in an error.
        line: number of the first line of `content`.

    Raises:
        DataError: it is another encoding, or holds a byte that no text has; the line is named.
    """
    if line == 1:
        if content.startswith(_WIDE_MARKS):
            raise DataError(f"{source}:1: the text is UTF-16 or UTF-32: save the file as UTF-8")
        content = content.removeprefix(codecs.BOM_UTF8)
    zero = content.find(0)
    if zero >= 0:
        wrong = line + content.count(b"\n", 0, zero)
        raise DataError(f"{source}:{wrong}: holds a zero byte: this is no text")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = line + content.count(b"\n", 0, error.start)
        raise DataError(
            f"{source}:{wrong}: byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The whole of a file that is no larger than `max_bytes`.

    Raises:
        UsageError: there is no such file.
        DataError: it is larger, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise cannot_read(path, error) from None
    if len(content) > max_bytes:
        raise DataError(
            f"{path}: is larger than {max_bytes // 2**20:,} MiB: give a .npy or .csv file instead"
        )
    return content


def read_lines(path: Path, what: str) -> list[str]:
    """A file with one name on each line: at least one, none empty, none twice.

    Raises:
        UsageError: there is no such file.
        DataError: it is empty, or a name is missing or there twice; the line is named.
    """
    lines: dict[str, int] = {}
    blank = None
    for number, text in bounded_lines(path):
        name = text.strip()
        if not name:
            blank = blank or number
            continue
        if blank:
            raise DataError(f"{path}:{blank}: the line is empty, though {what} follow")
        if name in lines:
            raise DataError(f"{path}:{number}: '{one_line(name, 80)}' is in line {lines[name]} already")
        if len(lines) == MAX_NAMES:
            raise DataError(f"{path}:{number}: more than {MAX_NAMES:,} {what}")
        lines[name] = number
    if not lines:
        raise DataError(f"{path}: holds no {what}")
    return list(lines)


def cannot_read(path: Path, error: OSError) -> UsageError:
    """The user's line for an `OSError` met while opening or reading `path`."""
    return UsageError(f"cannot read '{path}': {error.strerror or error}")
