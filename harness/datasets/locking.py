"""One process works, the others wait: across processes, launchers and users of one folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.files import storage_error

_SILENT_WAIT_S = 1.0


@contextmanager
def exclusive(path: Path, quiet: bool) -> Iterator[None]:
    """Hold the lock file `path` during the block; the operating system frees it if the process dies.

    Says on stderr, unless `quiet`, that it waits when it has to.

    Raises:
        StorageError: the lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_SILENT_WAIT_S)
        except Timeout:
            if not quiet:
                print(f"waiting for another process to let go of {path}", file=sys.stderr, flush=True)
            lock.acquire()
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        yield
    finally:
        lock.release()
