from __future__ import annotations

import io
import re
import time
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.live import Live
from launch.screen.screen import screen_lines
from launch.screen.snapshot import RunningCell, Snapshot, TopRow, running_cell
from launch.screen.view import View

NASTY = "timm:[bold]x[/bold]\x1b[31m :smile: \n日本"


def running(number: int = 0, **values: object) -> RunningCell:
    cell = RunningCell(
        label=f"resnet18 flip_crop+cutout bf16 seed {number}",
        place=f"GPU {number}",
        elapsed_s=83.0,
        cell_id=f"{number:012x}",
        phase="train",
        epoch=7,
        epochs=15,
        share=0.5,
        val_accuracy=0.8831,
        images_per_s=12345.6,
        memory_mib=1834.2,
        silent_s=0.4,
    )
    return replace(cell, **values)  # type: ignore[arg-type]  # mypy does not know which fields


def top_row(number: int = 1, group: str = "cifar10 abcdef01, from scratch", **values: object) -> TopRow:
    row = TopRow(group, f"fast_cnn none bf16 seed {number}", 94.012, 93.5, 94.5, 1.2345, 76.4, True)
    return replace(row, **values)  # type: ignore[arg-type]


def snapshot(num_running: int = 2, **values: object) -> Snapshot:
    moment = Snapshot(
        running=[running(number) for number in range(num_running)],
        queued=[f"wrn_28_10 strong fp32 seed {number}" for number in range(5)],
        finished=12,
        failed={"diverged": 2, "out_of_memory": 1},
        time_left_s=18_720.0,
        top=[top_row()],
        notes=["GPU 3 is in use by pid 4711"],
        num_queued=271,
        title="cifar10-standard",
    )
    return replace(moment, **values)  # type: ignore[arg-type]


def text_of(moment: Snapshot, width: int = 80, height: int | None = None) -> list[str]:
    return [line.plain for line in screen_lines(moment, width, height)]


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True


def terminal(width: int = 80, height: int = 24) -> tuple[Console, Terminal]:
    file = Terminal()
    return Console(file=file, force_terminal=True, width=width, height=height, _environ={}), file


def test_the_screen_says_what_runs_waits_failed_and_is_best() -> None:
    lines = text_of(snapshot(), width=120)
    assert lines[0] == (
        "cifar10-standard  12 of 288 finished · 5 h 12 min left · 3 failed · 2 running · 271 waiting"
    )
    assert lines[1].startswith("━" * 7 + "─")  # 12 finished, 3 failed, two halves, of 288
    where = next(index for index, line in enumerate(lines) if line.startswith("where"))
    assert lines[where].split() == ["where", "running", "epoch", "val", "%", "images/s", "MiB", "time"]
    assert re.split(r"\s{2,}", lines[where + 1]) == [
        "GPU 0",
        "resnet18 flip_crop+cutout bf16 seed 0",
        "━━━━━━━━──────── 7/15",
        "88.31",
        "12,346",
        "1,834",
        "1:23",
    ]
    assert "next     wrn_28_10 strong fp32 seed 0" in lines
    assert "         ... and 268 more waiting" in lines
    assert "failed   2 diverged, 1 out of memory" in lines
    assert "best for its compute: cifar10 abcdef01, from scratch" in lines
    assert re.split(r"\s{2,}", lines[-2]) == [
        "1",
        "fast_cnn none bf16 seed 1",
        "94.01% [93.5, 94.5]",
        "1.23 PFLOP",
        "76.4 %/PFLOP",
    ]
    assert lines[-1] == "GPU 3 is in use by pid 4711"


@pytest.mark.parametrize("width", [30, 50, 80, 160])
@pytest.mark.parametrize("height", [10, 24, None])
@pytest.mark.parametrize("num_running", [0, 1, 8, 40])
def test_it_fits_any_terminal(width: int, height: int | None, num_running: int) -> None:
    moment = snapshot(num_running)
    moment = replace(moment, running=[*moment.running, running(label=NASTY * 9, place=NASTY)])
    lines = screen_lines(moment, width, height)
    assert max(cell_len(line.plain) for line in lines) <= width
    assert height is None or height < 24 or len(lines) <= height
    shown = [line.plain for line in lines]
    assert any("running" in line for line in shown)
    if height == 24 and num_running == 40:
        assert any(re.search(r"and \d+ more running", line) for line in shown)


def test_eighty_columns_show_the_score_the_speed_and_the_time_of_each_cell() -> None:
    lines = text_of(snapshot(3), width=80)
    header = next(line for line in lines if line.startswith("where"))
    assert header.split() == ["where", "running", "epoch", "val", "%", "images/s", "MiB", "time"]
    assert sum("88.31    12,346  1,834  1:23" in line for line in lines) == 3


def test_names_are_shown_as_they_are_without_control_characters() -> None:
    moment = snapshot(
        1,
        running=[running(label=NASTY, phase=NASTY)],
        queued=[NASTY],
        failed={NASTY: 1},
        top=[top_row(label=NASTY, group=NASTY)],
        notes=[NASTY],
        title=NASTY,
    )
    console, file = terminal(width=200, height=60)
    with View(console) as view:
        view.event(NASTY)
        view.update(moment)
    text = file.getvalue()
    assert text.count("[bold]x[/bold]?[31m :smile: 日本") >= 7
    assert "\x1b[31m :smile:" not in text


def test_what_does_not_train_says_what_it_does_and_silence_is_marked() -> None:
    cells = [
        running(0, phase="startup", epochs=0, share=None, val_accuracy=None, images_per_s=None),
        running(1, phase="evaluate"),
        running(2, phase="checkpoint"),
        running(3, silent_s=150.0),
    ]
    lines = text_of(snapshot(running=cells, notes=[]), width=120)
    shown = [re.split(r"\s{2,}", line)[2] for line in lines if line.startswith("GPU ")]
    assert shown == ["starting", "scoring", "saving", "silent 2.5 min"]


def test_groups_that_cannot_be_compared_stand_apart_and_the_bar_is_marked() -> None:
    top = [top_row(1), top_row(2, clears_bar=False), top_row(3, group="digits 12345678, from scratch")]
    lines = text_of(snapshot(top=top, notes=[]), width=120)
    heads = [index for index, line in enumerate(lines) if line.startswith("best for its compute")]
    assert len(heads) == 2
    assert "[93.5, 94.5] *" in lines[heads[0] + 2]
    assert lines[-1] == "* not surely above the accuracy that the vendor claims"


def test_a_running_cell_is_taken_from_what_it_says() -> None:
    live = Live("train", 3, 10, 30, 120, 1.5, 0.75, 900.0, 512.0, 0.0, 1, "here")
    cell = running_cell("a", "core 0", live, elapsed_s=5)
    assert (cell.epoch, cell.epochs, cell.share, cell.val_accuracy) == (3, 10, 0.25, 0.75)
    assert running_cell("a", "core 0", None).phase == "starting"
    assert running_cell("a", "core 0", replace(live, steps=0)).share is None


def test_a_terminal_is_redrawn_at_most_once_a_second() -> None:
    now = [0.0]
    console, file = terminal()
    with View(console, clock=lambda: now[0]) as view:
        view.update(snapshot())
        assert not view.is_due()
        size = len(file.getvalue())
        view.update(snapshot(finished=99))
        assert len(file.getvalue()) == size
        now[0] = 1.0
        assert view.is_due()
        view.update(snapshot(finished=99))
        assert "99 of" in file.getvalue()


def test_lines_stay_above_the_screen_which_is_gone_at_the_end() -> None:
    console, file = terminal()
    with View(console) as view:
        view.update(snapshot())
        view.event("hung: resnet18 after 900 s (see runs/x/output.txt)")
    text = file.getvalue()
    assert "hung: resnet18 after 900 s (see runs/x/output.txt)\n" in text.replace("\r", "")
    assert text.rindex("of 288 finished") < text.rindex("\x1b[2K")  # the last picture is wiped out
    assert text.count("\x1b[?25h") >= 1  # the cursor is there though the launcher may be killed


def test_drawing_costs_the_launcher_less_than_a_hundredth_of_its_time() -> None:
    console, _ = terminal(width=120, height=50)
    moment = snapshot(8)
    now = [0.0]
    with View(console, clock=lambda: now[0]) as view:
        view.update(moment)
        start = time.process_time()
        for _ in range(20):
            now[0] += 1.0
            view.update(moment)
        assert (time.process_time() - start) / 20 < 0.01


def test_without_a_terminal_there_is_one_line_now_and_then() -> None:
    now = [0.0]
    file = io.StringIO()
    with View(Console(file=file, width=80), epoch_every_s=30, clock=lambda: now[0]) as view:
        view.event("start resnet18 on GPU 0")
        for epoch in range(1, 8):
            view.update(snapshot(1, running=[running(epoch=epoch)], failed={}, finished=12 + epoch // 4))
            now[0] += 10
    lines = [line.partition(" ")[2] for line in file.getvalue().splitlines()]
    assert lines == [
        "start resnet18 on GPU 0",
        "resnet18 flip_crop+cutout bf16 seed 0: epoch 1/15, val 88.31%, 12,346 images/s",
        "resnet18 flip_crop+cutout bf16 seed 0: epoch 4/15, val 88.31%, 12,346 images/s",
        "13 of 285 cells finished, 1 running, 5 h 12 min left",
        "resnet18 flip_crop+cutout bf16 seed 0: epoch 7/15, val 88.31%, 12,346 images/s",
    ]
    assert "\x1b" not in file.getvalue()


def test_a_line_is_not_broken_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    with View(Console(file=file, width=80)) as view:
        view.event("x" * 300)
    assert len(file.getvalue().splitlines()) == 1
