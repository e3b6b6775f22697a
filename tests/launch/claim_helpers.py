"""Launchers as child processes, and what the tests of claims ask of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launch.claim import Claims

SCRIPT = Path(__file__).with_name("claimants.py")
STALE_AFTER_S = 0.8
WAIT_S = 60

Start = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def launchers(folder: Path) -> Iterator[Start]:
    """Start a launcher that claims cells below `folder`, or a breeder; all are killed in the end."""
    children = []

    def run(mode: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, SCRIPT, mode, *([folder, *words] if words else [])]
        child = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        return child

    try:
        yield run
    finally:
        for child in children:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                assert stream is not None
                stream.close()


def says(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def watcher(folder: Path) -> Claims:
    return Claims(folder / "runs", stale_after_s=STALE_AFTER_S)


def seconds_until_claimed(claims: Claims, limit_s: float = WAIT_S) -> float:
    start = time.monotonic()
    while not claims.try_claim("cell"):
        assert time.monotonic() - start < limit_s, "the cell stayed blocked"
        time.sleep(0.02)
    return time.monotonic() - start


def claim_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "runs" / "cell" / "claims").iterdir())
