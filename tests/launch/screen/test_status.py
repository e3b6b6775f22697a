from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.live import Live, live_path, write_live
from launch.claim import Claims
from launch.screen.running import FRESH_S
from launch.screen.snapshot import FRESH_S as ANNOUNCED_S
from launch.screen.snapshot import Announcement, Snapshot, read_announcements
from launch.screen.status import print_status, status_json, watch_status
from launch.screen.top import Top
from tests.launch.plan.run_folders import (
    digits_cell,
    edit_record,
    write_cell,
    write_checkpoint,
    write_failure,
    write_run,
)

ROOT = Path(__file__).parents[3]


def live(pid: int | None = None, host: str | None = None, phase: str = "train") -> Live:
    return Live(
        phase=phase,
        epoch=3,
        epochs=6,
        step=60,
        steps=120,
        train_loss=0.5,
        val_accuracy=0.875,
        images_per_s=4321.0,
        resident_mib=640.0,
        time=time.time(),
        pid=os.getpid() if pid is None else pid,
        host=host or socket.gethostname(),
    )


def shown(out: Path, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    print_status(out, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def values(out: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(status_json(out))
    return content


def make_old(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_what_runs_is_told_from_its_signs_of_life(tmp_path: Path) -> None:
    running, waiting = digits_cell(), digits_cell(seed=1)
    write_live(write_cell(tmp_path, running), live())
    write_cell(tmp_path, waiting)
    text = shown(tmp_path)
    assert "0 of 1 finished · 1 running" in text
    line = next(line for line in text.splitlines() if running.label() in line)
    assert socket.gethostname() in line
    for part in ("━━━━──── 3/6", "87.50", "4,321", "640"):
        assert part in line
    assert "without a record or a checkpoint: 1 cell" in text
    assert "no launcher is at work here now" in text
    found = values(tmp_path)
    assert (found["num_running"], found["num_unfinished"], found["num_finished"]) == (1, 1, 0)
    assert found["num_waiting"] is None


def test_a_sign_of_life_counts_while_it_is_fresh_and_its_process_alive(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old, gone, paused, elsewhere = (write_cell(tmp_path, digits_cell(seed=seed)) for seed in range(4))
    write_live(old, live())
    make_old(live_path(old), FRESH_S + 5)
    write_live(gone, live(pid=dead.pid))
    write_live(paused, live(phase="paused"))
    write_live(elsewhere, live(pid=dead.pid, host="node7"))
    found = json.loads(status_json(tmp_path))
    assert [cell["cell_id"] for cell in found["running"]] == [elsewhere.name]
    assert found["running"][0]["host"] == "node7"


def test_a_claim_counts_though_nothing_is_said(tmp_path: Path) -> None:
    cell = digits_cell()
    run_dir = write_cell(tmp_path, cell)
    claims = Claims(tmp_path)
    assert claims.try_claim(cell.cell_id)
    assert "starting" in shown(tmp_path)
    write_live(run_dir, live())
    make_old(live_path(run_dir), 600)
    assert "silent 10 min" in shown(tmp_path)
    found = json.loads(status_json(tmp_path))["running"][0]
    assert (found["holder_pid"], found["holder_host"]) == (os.getpid(), socket.gethostname())
    assert found["silent_s"] >= 600
    assert found["elapsed_s"] < 60
    claims.release_all()
    assert values(tmp_path)["num_running"] == 0


def test_a_finished_run_is_not_running_whatever_lies_there(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, digits_cell())
    write_live(run_dir, live())
    assert (values(tmp_path)["num_finished"], values(tmp_path)["num_running"]) == (1, 0)


def test_failures_are_counted_by_kind_and_the_newest_are_named(tmp_path: Path) -> None:
    for seed in range(6):
        write_failure(tmp_path, digits_cell(seed=seed), "diverged", "loss is [red]nan[/red]\x1b[31m")
    newest = digits_cell(seed=6)
    edit_record(write_failure(tmp_path, newest, "out_of_memory"), ended_at="2026-11-21T11:00:12+00:00")
    write_checkpoint(write_cell(tmp_path, digits_cell(seed=7)), step=3)
    edit_record(write_run(tmp_path, digits_cell(seed=8)), schema_version=5)
    text = shown(tmp_path, width=200)
    assert "failed   6 diverged, 1 out of memory" in text
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  out of memory"))
    assert newest.label() in lines[first]
    assert "[red]nan[/red]?[31m" in lines[first + 1]
    assert "\x1b" not in text
    assert "... and 2 more failures" in text
    assert "stopped: 1 cell with a checkpoint to go on from" in text
    assert "cannot be read: " in text
    assert "schema version 5" in text
    found = json.loads(status_json(tmp_path))
    assert found["num_failed_by_kind"] == {"diverged": 6, "out_of_memory": 1}
    assert (found["num_paused"], found["num_unreadable"]) == (1, 1)
    assert len(found["failed"]) == 7
    assert found["failed"][0]["burnt_s"] == 12.5


def test_what_a_launcher_announces_is_seen_from_other_shells_while_it_is_there(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    announcement = Announcement(tmp_path)
    moment = Snapshot(
        [], ["a [bold]label"], 1, {}, 3600.0, notes=["GPU 1 is in use"], num_queued=9, title="demo"
    )
    announcement.update(moment)
    announcement.update(Snapshot([], [], 2, {}))  # too early to be written again
    assert list(read_announcements(tmp_path).values()) == [moment]
    text = shown(tmp_path)
    assert "demo  1 of 10 finished · 60 min left · 0 running · 9 waiting" in text
    assert "next     a [bold]label" in text
    assert "GPU 1 is in use" in text
    assert (values(tmp_path)["num_waiting"], values(tmp_path)["time_left_s"]) == (9, 3600)
    (path,) = (tmp_path / ".launchers").glob("*.json")
    make_old(path, ANNOUNCED_S + 5)
    assert "no launcher is at work here now" in shown(tmp_path)
    announcement.close()
    assert read_announcements(tmp_path) == {}


def test_a_damaged_announcement_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    (tmp_path / ".launchers").mkdir()
    (tmp_path / ".launchers" / "x-1.json").write_text('{"running": 5}', encoding="utf-8")
    assert "no launcher is at work here now" in shown(tmp_path)


def test_a_launcher_that_cannot_write_goes_on(tmp_path: Path) -> None:
    Announcement(tmp_path / "nothing").update(Snapshot([], [], 0, {}))
    (tmp_path / ".launchers").touch()
    Announcement(tmp_path).update(Snapshot([], [], 0, {}))


def test_the_best_are_ranked_as_on_the_leaderboard(tmp_path: Path) -> None:
    """Above the bar first, then by accuracy for compute; below it whatever it costs."""
    cells = [digits_cell(seed=seed) for seed in range(5)]
    write_run(tmp_path, cells[0], num_correct=300, train_flops_per_image=3000)
    write_run(tmp_path, cells[1], num_correct=300, train_flops_per_image=1000)
    write_run(tmp_path, cells[2], num_correct=200, train_flops_per_image=10)
    write_run(tmp_path, cells[3], num_correct=350, train_flops_per_image=2000)
    damaged = write_run(tmp_path, cells[4], num_correct=359, train_flops_per_image=5)
    (damaged / "predictions.npz").write_bytes(b"")
    top = Top()
    problems = [top.add(tmp_path / cell.cell_id) for cell in cells]
    assert problems[:4] == [None] * 4
    assert problems[4] is not None
    assert "predictions.npz" in problems[4]
    rows = top.rows(9)
    assert [row.cell_id for row in rows] == [cells[index].cell_id for index in (1, 3, 0, 2)]
    assert [row.clears_bar for row in rows] == [True, True, True, False]
    assert [row["cell_id"] for row in json.loads(status_json(tmp_path))["best"]] == [
        cells[index].cell_id for index in (1, 3, 0)
    ]
    from results.score import ranked
    from results.store import load_runs

    assert [run.record.cell_id for run, _ in ranked(load_runs(tmp_path).runs)] == [
        row.cell_id for row in rows
    ]


def test_leagues_and_data_are_ranked_apart(tmp_path: Path) -> None:
    top = Top()
    for cell in (digits_cell(), digits_cell("timm:resnet18", pretrained="hub", seed=1)):
        assert top.add(write_run(tmp_path, cell)) is None
    assert sorted(row.group for row in top.rows(1)) == [
        "digits 33333333, from scratch",
        "digits 33333333, pre-trained",
    ]


def test_a_run_that_has_not_finished_has_no_rank(tmp_path: Path) -> None:
    top = Top()
    assert "no record of a finished run" in str(top.add(write_failure(tmp_path, digits_cell())))
    assert "no record of a finished run" in str(top.add(tmp_path / "nothing"))
    assert top.rows(3) == []


def test_a_long_list_keeps_its_best(tmp_path: Path) -> None:
    top = Top()
    cells = [digits_cell(seed=seed) for seed in range(30)]
    for number, cell in enumerate(cells):
        top.add(write_run(tmp_path, cell, train_flops_per_image=1000 + 10 * ((number * 7) % 30)))
    expected = sorted(range(30), key=lambda number: (number * 7) % 30)[:3]
    assert [row.cell_id for row in top.rows(3)] == [cells[number].cell_id for number in expected]


def test_a_folder_without_runs_is_the_users_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UsageError, match="no runs in"):
            print_status(folder, Console(file=io.StringIO()))


def test_watching_without_a_terminal_looks_once(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell())
    file = io.StringIO()
    watch_status(tmp_path, Console(file=file))
    assert file.getvalue().count("1 of 1 finished") == 1


def test_watching_goes_on_until_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, digits_cell())
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt
        write_run(tmp_path, digits_cell(seed=1))

    monkeypatch.setattr("launch.screen.status.time.sleep", sleep)
    file = io.StringIO()
    watch_status(
        tmp_path, Console(file=file, force_terminal=True, width=80, height=24, _environ={}), every_s=7
    )
    assert looks == [7, 7]
    assert "1 of 1 finished" in file.getvalue()
    assert "2 of 2 finished" in file.getvalue()


def test_the_json_has_the_fields_that_are_documented(tmp_path: Path) -> None:
    write_failure(tmp_path, digits_cell())
    write_live(write_cell(tmp_path, digits_cell(seed=1)), live())
    edit_record(write_run(tmp_path, digits_cell(seed=2)), schema_version=5)
    Announcement(tmp_path).update(Snapshot([], [], 0, {}))
    found = json.loads(status_json(tmp_path))
    lists = [found[name][0] for name in ("failed", "running", "unreadable", "launchers")]
    names = [*found, *(name for each in lists for name in each)]
    assert [name for name in names if f"`{name}`" not in str(status_json.__doc__)] == []


def test_a_look_leaves_torch_alone() -> None:
    code = "import sys, launch.screen.status, launch.screen.view; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n"
