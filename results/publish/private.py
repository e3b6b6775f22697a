"""What a published record says of where it was made: the name of the machine, and no paths of its own.

    public = Private(hostname="build-17", machine="epyc-2-cores").removed(record.model_dump())

The cell is left as it is, since its id is a hash of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_PATH = re.compile(
    r"""(?<![\w/:.~])              # not within an address, a relative path or a word
    (?:~|[A-Za-z]:(?=[\\/]))?      # a home, a drive
    (?!/(?:sys|proc|dev)/)         # what is the same on every machine
    (?:[\\/][^\s\\/'",;:()]+){2,}  # two names or more
    """,
    re.VERBOSE,
)
_KEPT = ("cell", "cell_id")


@dataclass(frozen=True)
class Private:
    """What is replaced."""

    hostname: str | None
    machine: str
    """Stands in its place."""

    def removed(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record as JSON has it, with the last name of each absolute path in its place."""
        return {key: value if key in _KEPT else self._of(value) for key, value in record.items()}

    def _of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._of_text(value)
        if isinstance(value, dict):
            return {key: self._of(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._of(each) for each in value]
        return value

    def _of_text(self, text: str) -> str:
        if self.hostname:
            text = re.sub(rf"(?<![\w.-]){re.escape(self.hostname)}(?![\w.-])", self.machine, text)
        return _PATH.sub(lambda match: re.split(r"[\\/]", match[0])[-1], text)
