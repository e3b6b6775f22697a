"""What a published record says of where it was made: the name of the machine, and no paths of its own.

    public = Private(hostnames=("build-17",), machine="epyc-2-cores").removed(record.model_dump())

The cell is left as it is, since its id is a hash of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_PATH = re.compile(
    r"""(?<![\w/.~])                          # not within an address, a relative path or a word
    (?:file://|~[\w-]*|[A-Za-z]:(?=[\\/]))?   # an address of this machine, a home, a drive
    (?!/(?:sys|proc)/|/dev/(?!shm/))          # what is the same on every machine
    (?:[\\/][^\s\\/'",;:()]+){2,}             # two names or more
    """,
    re.VERBOSE,
)
_HOME = re.compile(r"(?:/home|/Users|[A-Za-z]:[\\/]Users)[\\/][^\\/]+")
"""A user's own folder, whose last name is the user's."""

_KEPT = ("cell", "cell_id")


@dataclass(frozen=True)
class Private:
    """What is replaced."""

    hostnames: tuple[str, ...]
    machine: str
    """Stands in their place."""

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
        for hostname in filter(None, self.hostnames):
            # alone, or with a domain behind it
            whole = rf"(?<![\w.-]){re.escape(hostname)}(?:\.[\w.-]*\w)?(?![\w-])"
            text = re.sub(whole, lambda _: self.machine, text, flags=re.IGNORECASE)
        return _PATH.sub(lambda match: _last_name(match[0]), text)


def _last_name(path: str) -> str:
    return "HOME" if _HOME.fullmatch(path) else re.split(r"[\\/]", path)[-1]
