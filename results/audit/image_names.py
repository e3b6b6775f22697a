"""Which test image a vendor means: `17`, `0017.png`, or a name from a list.

| what the vendor writes         | what it means                                                         |
|--------------------------------|-----------------------------------------------------------------------|
| `0`, `17`, `9999`              | the position in the test set, counted from 0                          |
| `0017.png`, `test/img_0017.jpg`| the same: the digits of the file name, all else being equal in all    |
| anything                       | the line that it is on in the file of `--names`, in data set order    |

Names with several numbers, with numbers that begin at 1, or that differ in more than their number are
refused: a list of names says what they mean.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import DataError
from results.audit.text import read_lines
from results.store import one_line

_NUMBERED = re.compile(r"(?P<before>(?:.*[/\\])?[^0-9/\\]*)(?P<number>[0-9]{1,15})(?P<after>[^0-9/\\]*\w*)")
_EXTENSION = re.compile(r"(?:[^0-9.]*\.[A-Za-z]\w*)?")
_SIGNS = ("+", "-")
_LIST_THEM = "list all names in data set order with --names FILE"
_SHOWN_LENGTH = 60
_MAX_NAMES_SEARCHED = 20_000
"""Near names are looked for among so many: more would take seconds."""


class ImageNames(Protocol):
    """How the images of a test set are called."""

    def position(self, key: object, where: str) -> int:
        """The position in the test set of the image that is called `key`; DataError where there is none."""

    def of(self, position: int) -> str:
        """How the image at a position is called, for an error."""


class ImageNumbers:
    """Images called by their position, counted from 0, or by file names that hold it."""

    def __init__(self, num_images: int) -> None:
        self._num_images = num_images
        self._form: tuple[str, str, str] | None = None
        """What stands before and after the number, and where it was seen first."""

    def position(self, key: object, where: str) -> int:
        """See `ImageNames`."""
        text = self._text(key, where)
        match = _NUMBERED.fullmatch(text)
        if match is None or match["before"] in _SIGNS or not _EXTENSION.fullmatch(match["after"]):
            raise DataError(
                f"{where}: it is not clear which image '{one_line(text, _SHOWN_LENGTH)}' is: call images "
                f"0 to {self._num_images - 1} or 0000.png ..., or {_LIST_THEM}"
            )
        if self._form is None:
            self._form = (match["before"], match["after"], where)
        elif self._form[:2] != (match["before"], match["after"]):
            raise DataError(
                f"{where}: '{one_line(text, _SHOWN_LENGTH)}' differs from the image at {self._form[2]} in "
                f"more than its number: {_LIST_THEM}"
            )
        number = int(match["number"])
        if number >= self._num_images:
            raise DataError(
                f"{where}: there is no image {number}: the {self._num_images:,} test images are counted "
                f"from 0; if yours are counted from 1, {_LIST_THEM}"
            )
        return number

    def of(self, position: int) -> str:
        """See `ImageNames`."""
        if position == 0:
            return f"number 0: images are counted from 0; if yours are counted from 1, {_LIST_THEM}"
        return f"number {position}"

    def _text(self, key: object, where: str) -> str:
        if isinstance(key, bool) or not isinstance(key, int | np.integer | str):
            raise DataError(
                f"{where}: '{one_line(str(key)[:1000], _SHOWN_LENGTH)}' is not the name of an image"
            )
        return str(key).strip()[:1000]


class ListedNames:
    """Images called by the names that a file lists, in data set order."""

    def __init__(self, path: Path, num_images: int) -> None:
        """Read the list.

        Args:
            path: one name on each line.
            num_images: of the test set.

        Raises:
            UsageError: there is no such file.
            DataError: a name is missing or there twice, or their number is not that of the images.
        """
        self._names = read_lines(path, "image names")
        if len(self._names) != num_images:
            raise DataError(f"{path}: {len(self._names):,} image names for {num_images:,} test images")
        self._positions = {name: position for position, name in enumerate(self._names)}

    def position(self, key: object, where: str) -> int:
        """See `ImageNames`."""
        text = str(key).strip()
        position = self._positions.get(text)
        if position is None:
            near = difflib.get_close_matches(text[:200], self._names[:_MAX_NAMES_SEARCHED], n=3, cutoff=0.6)
            hint = (
                f": did you mean {' or '.join(one_line(name, _SHOWN_LENGTH) for name in near)}?"
                if near
                else ""
            )
            raise DataError(f"{where}: unknown image '{one_line(text[:1000], _SHOWN_LENGTH)}'{hint}")
        return position

    def of(self, position: int) -> str:
        """See `ImageNames`."""
        return f"'{one_line(self._names[position], _SHOWN_LENGTH)}'"
