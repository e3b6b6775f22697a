"""Which launcher is responsible for a cell, over machines that share a file system. No torch here.

    claims = Claims(out)
    if claims.try_claim(cell_id):       # then look whether its record says finished by now
        ...                             # run it; all the while:
        for lost in claims.refresh():   # stop what runs of it: another launcher has taken it over
            ...
        claims.release(cell_id)

`runs/<cell_id>/claims/` holds files `000001.json`, `000002.json`, ...: the cell is its who made the
highest number. A claim is made whole under a temporary name and linked to the next number, which
fails if another launcher was first. No number is ever deleted, so none is made twice, and a launcher
that acts on an old view of the folder fails as well. This needs no locks and works over NFS.

The owner rewrites its claim every `REFRESH_S` seconds with one beat more. A claim has ended when
- it says released, or
- its owner was a process of this machine (same host, boot and process namespace) that is gone, or
  whose number another process has: seen at once, or
- it is another machine's, or damaged, and neither it nor the `live.json` of the cell has changed for
  `STALE_AFTER_S` seconds by the watcher's own monotonic clock. No two clocks are compared, so those of
  the hosts may differ by hours; the price is that a watcher has to have watched for that long. The
  `live.json` counts because the child of a launcher that was suspended may still be at work.

A launcher that was suspended for too long finds a higher number when it refreshes, and has lost the cell.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StorageError
from harness.live import live_path
from launch.claim_files import Claim, Written, claim_path, delete, make_claim, read_claim, replace_claim, scan

REFRESH_S = 10.0
STALE_AFTER_S = 60.0

_ENDED = -1


@dataclass(frozen=True)
class Machine:
    """Within it, a process is known by its number and its start time."""

    host: str
    boot: str
    """Of which boot and process namespace: the containers of a host have numbers of their own."""


@dataclass(frozen=True)
class Holder:
    """Who is responsible for a cell, for people to read; null where a damaged claim does not say."""

    host: str | None
    pid: int | None
    since: float | None
    """Seconds since 1970, by the holder's clock."""


@dataclass
class _Held:
    number: int
    claim: Claim
    refreshed: float
    """By the monotonic clock."""


@dataclass(frozen=True)
class _Signs:
    """What changes while the owner of a claim is alive."""

    number: int
    written: Written
    live_ns: int | None


class Claims:
    """The claims of one launcher on the cells of a runs folder; to be used by one thread.

    Args:
        out: the folder of the runs.
        launcher_id: tells this launcher from all others; None: a new one.
        refresh_s: seconds between two signs of life.
        stale_after_s: seconds of silence after which the claim of another machine has ended.
        machine: what this machine is called; None: found out.
    """

    def __init__(
        self,
        out: Path,
        launcher_id: str | None = None,
        *,
        refresh_s: float = REFRESH_S,
        stale_after_s: float = STALE_AFTER_S,
        machine: Machine | None = None,
    ) -> None:
        self.launcher_id = launcher_id or uuid.uuid4().hex
        self._out = out
        self._refresh_s = refresh_s
        self._stale_after_s = stale_after_s
        self._machine = machine or this_machine()
        self._held: dict[str, _Held] = {}
        self._watched: dict[str, tuple[_Signs, float]] = {}
        """The last signs of life, and since when they have been so, by the monotonic clock."""

    def try_claim(self, cell_id: str) -> bool:
        """Become responsible for a cell; False when another launcher is, or was faster.

        The claim is about who may start the cell: look at its record once more after that.

        Raises:
            StorageError: the folder of the run cannot be read or written.
        """
        if cell_id in self._held:
            return self.still_ours(cell_id)
        folder = self._folder(cell_id)
        top, leftovers = scan(folder)
        if top and self._holder_by(cell_id, top) is not None:
            return False
        claim = Claim(
            launcher=self.launcher_id,
            host=self._machine.host,
            boot=self._machine.boot,
            pid=os.getpid(),
            start=start_of(os.getpid()),
            since=time.time(),
        )
        if not make_claim(claim_path(folder, top + 1), claim):
            return False
        self._held[cell_id] = _Held(top + 1, claim, time.monotonic())
        self._watched.pop(cell_id, None)
        for path in leftovers:  # of launchers that were killed, or have just come too late
            delete(path)
        return True

    def still_ours(self, cell_id: str) -> bool:
        """Whether this launcher is responsible for the cell: no other has made a higher number.

        Raises:
            StorageError: the folder of the run cannot be read.
        """
        held = self._held.get(cell_id)
        if held is None:
            return False
        folder = self._folder(cell_id)
        claim, _ = read_claim(claim_path(folder, held.number))
        if claim is not None and claim.launcher != self.launcher_id:
            return False  # the folder was deleted, and another launcher has made it anew
        return scan(folder)[0] == held.number

    def refresh(self) -> list[str]:
        """Give a sign of life for each cell that is held, where it is due; call it every second or so.

        Returns:
            The cells that are no longer ours: another launcher is responsible for them now.

        Raises:
            StorageError: a claim can be neither written nor touched.
        """
        lost = []
        for cell_id, held in list(self._held.items()):
            if time.monotonic() - held.refreshed < self._refresh_s:
                continue
            held.claim = held.claim.model_copy(update={"beat": held.claim.beat + 1})
            held.refreshed = time.monotonic()
            if not self._rewrite(cell_id, held):
                del self._held[cell_id]
                lost.append(cell_id)
        return lost

    def release(self, cell_id: str) -> None:
        """Give a cell back, so that any launcher may claim it at once; nothing happens if it is not ours.

        Raises:
            StorageError: the claim cannot be written.
        """
        held = self._held.get(cell_id)
        if held is None:
            return
        held.claim = held.claim.model_copy(update={"released": True})
        self._rewrite(cell_id, held)
        del self._held[cell_id]

    def release_all(self) -> None:
        """Give back every cell that is held, as far as its claim can be written."""
        for cell_id in list(self._held):
            with suppress(StorageError):
                self.release(cell_id)

    def holder(self, cell_id: str) -> Holder | None:
        """Who is responsible for a cell now; None: nobody. Nothing is written.

        A launcher on another machine that died counts until it has been watched for long enough.

        Raises:
            StorageError: the folder of the run cannot be read.
        """
        top, _ = scan(self._folder(cell_id))
        return self._holder_by(cell_id, top) if top else None

    def _holder_by(self, cell_id: str, number: int) -> Holder | None:
        """Who holds the cell by its highest claim; None where that has ended."""
        looked_at = time.monotonic()
        claim, written = read_claim(claim_path(self._folder(cell_id), number))
        if claim is not None and claim.released:
            return None
        alive = None if claim is None else self._is_alive(claim)
        if alive is False:
            return None
        if alive is None:
            signs = _Signs(number, written, _time_of(live_path(self._out / cell_id)))
            last_signs, since = self._watched.get(cell_id, (None, 0.0))
            if signs != last_signs:
                self._watched[cell_id] = signs, time.monotonic()
            elif looked_at - since >= self._stale_after_s:
                return None
        return Holder(None, None, None) if claim is None else Holder(claim.host, claim.pid, claim.since)

    def _is_alive(self, claim: Claim) -> bool | None:
        """Whether the process that made a claim is there; None where this process cannot tell."""
        if claim.start is None or Machine(claim.host, claim.boot) != self._machine:
            return None
        try:
            os.kill(claim.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's
        start = start_of(claim.pid)
        return None if start is None else start == claim.start

    def _rewrite(self, cell_id: str, held: _Held) -> bool:
        """Replace a claim by its new content, if the cell is still ours; whether it is."""
        if not self.still_ours(cell_id):
            return False
        replace_claim(claim_path(self._folder(cell_id), held.number), held.claim)
        return self.still_ours(cell_id)  # an NFS client looks at the folder anew after changing it

    def _folder(self, cell_id: str) -> Path:
        return self._out / cell_id / "claims"


def this_machine() -> Machine:
    """The machine that this process runs on.

    Without /proc a process cannot be known again: its claims are watched like those of another machine.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return Machine(socket.gethostname(), "unknown")
    return Machine(socket.gethostname(), f"{boot} {namespace}")


def start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; -1: it has ended; None: it cannot be seen."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = content.rpartition(b")")[2].split()  # the name before it may hold anything
    return _ENDED if state in (b"Z", b"X") else int(fields[18])


def _time_of(path: Path) -> int | None:
    """When a file was last written, in nanoseconds by the file system's clock; None: there is none."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
