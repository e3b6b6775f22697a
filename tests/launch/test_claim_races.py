from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import launch.claim
from launch.claim import Claims, Machine, start_of
from tests.launch.claim_helpers import WAIT_S, Start, launchers, says
from tests.launch.claimants import note


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with launchers(tmp_path) as run:
        yield run


def read_log(folder: Path) -> list[tuple[str, str, str, int]]:
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return [(what, name, cell, int(time_ns)) for what, name, cell, time_ns in lines]


def overlaps(log: list[tuple[str, str, str, int]]) -> list[str]:
    """Cells that somebody acquired while another one had them; a killed one has nothing any more."""
    holders: dict[str, str] = {}
    found = []
    for what, name, cell, _ in log:
        if what == "killed":
            holders = {cell: holder for cell, holder in holders.items() if holder != name}
        elif what == "acquired":
            if cell in holders:
                found.append(f"{name} acquired {cell}, which {holders[cell]} had")
            holders[cell] = name
        elif what == "released" and holders.pop(cell, None) != name:
            found.append(f"{name} released {cell}, which it did not have")
    return found


@pytest.mark.parametrize("machines", ["one", "eight"])
def test_racing_launchers_do_every_cell_exactly_once_in_every_round(
    tmp_path: Path, start: Start, machines: str
) -> None:
    names, num_cells = [f"launcher{number}" for number in range(8)], 200
    lines = [
        f"race {tmp_path} {name} {'here' if machines == 'one' else name} {num_cells} 3\n" for name in names
    ]
    breeder = start("breed")
    breeder.communicate("".join(lines), WAIT_S)
    assert breeder.returncode == 0
    log = read_log(tmp_path)
    done = Counter((what, cell) for what, _, cell, _ in log if what.startswith("done"))
    expected = [(f"done-in-{number}", f"cell{cell}") for number in range(3) for cell in range(num_cells)]
    assert done == Counter(expected)
    assert overlaps(log) == []
    assert len({name for what, name, _, _ in log if what.startswith("done")}) > 1, "only one has worked"
    assert not list((tmp_path / "runs").rglob("*.tmp"))


def test_no_two_launchers_have_a_cell_at_a_time_while_a_hundred_are_killed_at_random(
    tmp_path: Path, start: Start
) -> None:
    draw, breeder, workers = random.Random(0), start("breed"), dict[str, int]()
    try:
        for number in range(104):
            workers[f"worker{number}"] = _born(breeder, f"work {tmp_path} worker{number} here 8")
            if number < 4:
                continue
            _wait_for_lines(tmp_path, more=draw.randrange(2, 12))
            name = draw.choice(list(workers))
            _kill(tmp_path, name, workers.pop(name))
        assert all(start_of(process) not in (None, -1) for process in workers.values()), (
            "a worker has crashed"
        )
    finally:
        for process in workers.values():
            os.kill(process, signal.SIGKILL)
    log = read_log(tmp_path)
    assert overlaps(log) == []
    killed = [number for number, line in enumerate(log) if line[0] == "killed"]
    assert len(killed) == 100
    had_cells = [number for number in killed if _cells_of(log[number][1], log[:number])]
    assert len(had_cells) > 50, "the killed have mostly been killed in the middle of something"
    claimed = {path.parents[1].name for path in (tmp_path / "runs").rglob("*.json")}
    assert claimed == {f"cell{number}" for number in range(8)}


def _born(breeder: subprocess.Popen[str], words: str) -> int:
    assert breeder.stdin is not None
    breeder.stdin.write(f"{words}\n")
    breeder.stdin.flush()
    return int(says(breeder))


def _wait_for_lines(folder: Path, more: int) -> None:
    log = folder / "log"
    target, end = (log.read_bytes().count(b"\n") if log.exists() else 0) + more, time.monotonic() + WAIT_S
    while not log.exists() or log.read_bytes().count(b"\n") < target:
        assert time.monotonic() < end, "the workers do nothing"
        time.sleep(0.002)


def _kill(folder: Path, name: str, process: int) -> None:
    """Kill a worker in such a way that it does nothing between its last line in the log and ours."""
    os.kill(process, signal.SIGSTOP)
    while (state := Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]) != "T":
        assert state != "Z", "a worker has crashed"
        time.sleep(0.001)
    note(folder, "killed", name, "all")
    os.kill(process, signal.SIGKILL)


def _cells_of(name: str, log: list[tuple[str, str, str, int]]) -> set[str]:
    held = set[str]()
    for what, who, cell, _ in log:
        if who == name:
            held = held | {cell} if what == "acquired" else held - {cell}
    return held


def test_the_overlap_check_of_the_tests_finds_one() -> None:
    log = [("acquired", "a", "cell", 1), ("acquired", "b", "cell", 2), ("released", "a", "cell", 3)]
    assert overlaps(log) == [
        "b acquired cell, which a had",
        "a released cell, which it did not have",
    ]
    assert overlaps([log[0], ("killed", "a", "all", 2), log[1]]) == []


class Model:
    """Launchers on machines of their own, with a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.last_sign = defaultdict[int, float](float)
        self.last_seen: dict[tuple[int, str], tuple[object, float]] = {}
        self.launchers = [
            Claims(folder, str(number), refresh_s=10, stale_after_s=60, machine=Machine(str(number), "boot"))
            for number in range(3)
        ]

    def owners(self) -> list[int]:
        return [n for n, launcher in enumerate(self.launchers) if launcher.still_ours("cell")]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "refresh", "release", "look"]),
        st.integers(0, 2),
        st.sampled_from([0.0, 1.0, 9.0, 30.0, 61.0]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_in_any_order_of_events_there_is_one_owner_who_lost_it_only_by_silence(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, float]]
) -> None:
    model = Model(tmp_path_factory.mktemp("model"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.claim, "time", SimpleNamespace(monotonic=lambda: model.now, time=lambda: 0.0))
        for what, number, passes in steps:
            model.now += passes
            _step(model, what, number)
            assert len(model.owners()) <= 1


def _step(model: Model, what: str, number: int) -> None:
    launcher, owners = model.launchers[number], model.owners()
    owner = owners[0] if owners else None
    if what == "release":
        launcher.release("cell")
        assert model.owners() == [each for each in owners if each != number]
    elif what == "refresh":
        held = "cell" in launcher._held
        assert (launcher.refresh() == ["cell"]) <= (held and owner != number)
        if owner == number:
            assert model.owners() == [number]
            model.last_sign[number] = max(model.last_sign[number], launcher._held["cell"].refreshed)
    elif what == "look":
        if owner is not None:
            found = launcher.holder("cell")
            assert found is None or found.host == str(owner)
    elif launcher.try_claim("cell"):
        assert model.owners() == [number]
        if owner not in (None, number):
            assert owner is not None
            assert model.now - model.last_sign[owner] >= 60, "taken from one that gave signs of life"
        if owner != number:
            model.last_sign[number] = model.now
    else:
        assert owner != number
        assert owner is not None or "cell" in launcher._held, "nobody has it, and it was refused"
