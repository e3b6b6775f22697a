"""A process that ends with its parent, however that ends. No torch here."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl.h
_EXIT_ORPHAN = 1

SWITCH = "VERDICT_PARENT_PID"
"""Variable with the number of the launcher: what it starts dies with it."""


def die_with_parent(expected: int | None = None) -> None:
    """Let Linux send this process SIGKILL when its parent is dead; end at once where it is already.

    What this process is replaced by (exec) is tied as well, what it starts (fork) is not. To Linux the
    parent is the thread that forked: where a parent starts its children from a thread that ends before
    the process does, they are killed too early. On other systems nothing is done.

    Args:
        expected: number of the parent, where it is known: any other means that it is gone.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # An orphan is given to process 1, which in a container may be the launcher itself, or to a subreaper.
    is_orphan = parent != expected if expected else parent == 1 and os.environ.get(SWITCH) != "1"
    if is_orphan or os.getppid() != parent:
        os._exit(_EXIT_ORPHAN)
