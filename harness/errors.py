"""The errors a user can cause or cure; libraries raise them, only a `main()` turns them into exit code 2.

VerdictError            one clear line: what is wrong, where, what to try
├── UsageError          a bad argument, an unknown name, a cell that cannot work
├── DataError           a data set that is missing, damaged or not the official one
├── HardwareError       the machine or the process set-up is not what the cell asks for
├── StorageError        a file that cannot be written: disk full, no permission
├── MemoryShortError    a training step does not fit into memory
├── LostProcessError    another process of the run has died, hangs or cannot be reached
└── DivergedError       the loss stopped being a finite number
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VerdictError(Exception):
    """Base of every error that is reported as one line, without a traceback."""

    kind = "error"


class UsageError(VerdictError):
    """An argument, a name or a combination of values that cannot work."""

    kind = "usage"


class DataError(VerdictError):
    """A data set that is missing, damaged, empty or not the one it claims to be."""

    kind = "data"


class HardwareError(VerdictError):
    """The device, the precision or the number of processes that a cell asks for is not there."""

    kind = "hardware"


class StorageError(VerdictError):
    """A file that cannot be written: full disk, missing permission, read-only folder."""

    kind = "storage"


class MemoryShortError(VerdictError):
    """A training step does not fit into the memory of a device, however small its parts."""

    kind = "out_of_memory"


class LostProcessError(VerdictError):
    """Another process of the run has died, hangs or cannot be reached."""

    kind = "lost_process"


class DivergedError(VerdictError):
    """The training loss became infinite or not a number."""

    kind = "diverged"


def unknown_name(what: str, name: str, valid: Iterable[str]) -> UsageError:
    """The error for `name` not being a known `what`: near names first, then every valid one."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(f"unknown {what} '{name}': {hint}valid: {', '.join(names)}")
