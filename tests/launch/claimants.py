"""Launchers that claim cells and do no work, for the tests of claims; each notes what it does in a log.

python tests/launch/claimants.py MODE FOLDER NAME MACHINE ...
python tests/launch/claimants.py breed     # one for each line `MODE FOLDER NAME MACHINE ...` that it reads

A line of the log is `WHAT NAME CELL NANOSECONDS`, by the monotonic clock that all processes of a
machine share; lines are appended whole.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from launch.claim import Claims, Machine, this_machine  # noqa: E402  # after the path is set


def note(folder: Path, what: str, name: str, cell: str) -> None:
    """Append one line to the log of a folder."""
    line = f"{what} {name} {cell} {time.monotonic_ns()}\n".encode()
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)
    os.close(log)


def claims_of(folder: Path, machine: str) -> Claims:
    """Claims that are often refreshed; `here` is the machine that this is, any other name another one."""
    named = this_machine() if machine == "here" else Machine(machine, "boot of " + machine)
    return Claims(folder / "runs", refresh_s=0.05, machine=named)


def main(mode: str, folder: Path, name: str, machine: str, *words: str) -> None:
    """Be the launcher that the test asks for."""
    claims = claims_of(folder, machine)
    if mode == "race":
        race(claims, folder, name, num_cells=int(words[0]), num_rounds=int(words[1]))
    elif mode == "work":
        work(claims, folder, name, num_cells=int(words[0]))
    else:
        hold(claims, fill_disk="full" in words, release="release" in words)


def hold(claims: Claims, fill_disk: bool, release: bool) -> None:
    """Claim one cell, and say so when it is lost; on request with no room to write any more."""
    print("claimed" if claims.try_claim("cell") else "refused", flush=True)
    if fill_disk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if release:
        claims.release("cell")
        print("released", flush=True)
    parent = os.getppid()
    while not claims.refresh():
        time.sleep(0.02)
        if os.getppid() != parent:
            return  # the tests were killed
    print("lost", flush=True)


def race(claims: Claims, folder: Path, name: str, num_cells: int, num_rounds: int) -> None:
    """Do each cell once in each round, together with others that do the same."""
    order = random.Random(name)
    (folder / "records").mkdir(exist_ok=True)
    for number in range(num_rounds):
        left = [f"cell{cell}" for cell in range(num_cells)]
        while left:
            order.shuffle(left)
            left = [cell for cell in left if not _try(claims, folder, name, cell, number)]
            time.sleep(0.002)  # what is left, others have


def _try(claims: Claims, folder: Path, name: str, cell: str, number: int) -> bool:
    """Whether the cell is done in this round."""
    record = folder / "records" / f"{cell}-{number}"
    if record.exists():
        return True
    if not claims.try_claim(cell):
        return False
    note(folder, "acquired", name, cell)
    if not record.exists():
        note(folder, f"done-in-{number}", name, cell)
        record.touch()
    note(folder, "released", name, cell)
    claims.release(cell)
    return True


def breed() -> None:
    """Start a launcher for each line of words, without loading Python anew, and print its number."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            mode, folder, *words = line.split()
            main(mode, Path(folder), *words)
            os._exit(0)
        print(child, flush=True)
    while True:
        try:
            _, status = os.wait()
        except ChildProcessError:
            return
        assert status == 0, "a launcher has crashed"


def work(claims: Claims, folder: Path, name: str, num_cells: int) -> None:
    """Hold cells for short times, several at once, until killed."""
    order = random.Random(name)
    held: list[str] = []
    parent = os.getppid()
    while os.getppid() == parent:
        cell = f"cell{order.randrange(num_cells)}"
        if cell not in held and claims.try_claim(cell):
            note(folder, "acquired", name, cell)
            held.append(cell)
        assert claims.refresh() == [], "nobody else may take over while this process lives"
        if len(held) > 2 or (held and order.random() < 0.2):
            cell = held.pop(0)
            note(folder, "released", name, cell)
            claims.release(cell)
        time.sleep(order.random() * 0.004)


if __name__ == "__main__":
    if sys.argv[1:] == ["breed"]:
        breed()
    else:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
