from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.cell import CellSpec
from harness.errors import StorageError
from harness.live import read_live
from harness.progress import Reporter
from harness.record import EpochRow


def epoch_row(epoch: int, val_accuracy: float | None = 0.875) -> EpochRow:
    val_loss = None if val_accuracy is None else 0.5
    return EpochRow(
        epoch=epoch,
        train_loss=1.23456,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        lr=0.1,
        train_time_s=2.0,
    )


@contextmanager
def no_file_over(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond `num_bytes`: to a program, the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def screen() -> StringIO:
    return StringIO()


@pytest.fixture
def plain(screen: StringIO) -> Reporter:
    """Reports to a file, as under `| tee` or in a batch job."""
    return Reporter(Console(file=screen, width=80))


@pytest.fixture
def terminal(screen: StringIO, monkeypatch: pytest.MonkeyPatch) -> Reporter:
    monkeypatch.setenv("TERM", "xterm-256color")
    return Reporter(Console(file=screen, width=100, force_terminal=True))


@pytest.fixture
def log_on_full_disk(tmp_path: Path) -> Path:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = tmp_path / "log.txt"
    path.symlink_to("/dev/full")
    return path


def test_without_a_terminal_there_are_plain_lines_only(
    plain: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path
) -> None:
    with plain.cell(cell, "cell 1/3", tmp_path / "log.txt") as progress:
        progress.start(num_steps=4)
        for _ in range(2):
            progress.step()
        progress.epoch(epoch_row(1), images_per_s=12345.6)
        progress.epoch(epoch_row(2, val_accuracy=None), images_per_s=9)
    assert screen.getvalue().splitlines() == [
        "cell 1/3: mlp none fp32 seed 0",
        "  epoch   1/2  loss 1.2346  val 87.50%  12,346 img/s",
        "  epoch   2/2  loss 1.2346  9 img/s",
    ]


@pytest.mark.parametrize("text", ["[bold]a[/bold] [/] [x", "data/:smile:/[red]", "C:\\photos\\", "x" * 200])
def test_text_is_shown_as_it_is(
    plain: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path, text: str
) -> None:
    plain.line(text)
    with plain.cell(cell, text, tmp_path / "log.txt") as progress:
        progress.line(text)
    assert screen.getvalue() == f"{text}\n{text}: {cell.label()}\n{text}\n"


def test_the_log_keeps_every_line_with_its_time(plain: Reporter, cell: CellSpec, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / "log.txt"
    with plain.cell(cell, "cell 1/1", path) as progress:
        progress.epoch(epoch_row(1), images_per_s=10)
        progress.keep("größer")
        written_so_far = path.read_text(encoding="utf-8")
    lines = written_so_far.splitlines()
    assert path.read_text(encoding="utf-8") == written_so_far  # nothing waits for the end
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert [line[9:] for line in lines] == [
        "cell 1/1: mlp none fp32 seed 0",
        "  epoch   1/2  loss 1.2346  val 87.50%  10 img/s",
        "größer",
    ]


def test_what_is_kept_for_the_log_is_not_printed(
    plain: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path
) -> None:
    with plain.cell(cell, "cell 1/1", tmp_path / "log.txt") as progress:
        progress.keep("a long traceback")
    assert "traceback" not in screen.getvalue()


def test_a_log_on_a_full_disk_is_one_clear_error(
    plain: Reporter, cell: CellSpec, log_on_full_disk: Path
) -> None:
    progress = plain.cell(cell, "cell 1/1", log_on_full_disk)
    with pytest.raises(StorageError, match=f"^no space left to write {re.escape(str(log_on_full_disk))}: "):
        progress.__enter__()


def test_a_disk_that_fills_up_during_a_cell_is_one_clear_error(
    plain: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path
) -> None:
    with plain.cell(cell, "cell 1/1", tmp_path / "log.txt") as progress, no_file_over(500):
        with pytest.raises(StorageError, match=r"no space left to write .*log\.txt"):
            progress.line("x" * 1000)
        progress.line("error: no space left")  # the last words still reach the screen
    assert screen.getvalue().endswith("error: no space left\n")


def test_a_log_in_a_folder_that_cannot_be_made_is_one_clear_error(
    plain: Reporter, cell: CellSpec, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    progress = plain.cell(cell, "cell 1/1", tmp_path / "runs" / "a" / "log.txt")
    with pytest.raises(StorageError, match=r"cannot write .*log\.txt"):
        progress.__enter__()


def test_a_terminal_shows_a_bar_with_epoch_speed_and_score(
    terminal: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path
) -> None:
    with terminal.cell(cell, "cell 1/1", tmp_path / "log.txt") as progress:
        progress.start(num_steps=4)
        progress.step()
        progress.step()
        progress.epoch(epoch_row(1), images_per_s=1234)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    bar = [line for line in text.splitlines() if "epoch 2/2" in line][-1]
    assert "50%" in bar
    assert "val 87.50%" in bar
    assert re.search(r"\d img/s", bar)
    assert "\x1b" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_the_bar_is_taken_away_when_the_cell_fails(
    terminal: Reporter, screen: StringIO, cell: CellSpec, tmp_path: Path
) -> None:
    def fail() -> None:
        with terminal.cell(cell, "cell 1/1", tmp_path / "log.txt") as progress:
            progress.start(num_steps=4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1  # the cursor


def test_other_processes_print_and_write_nothing(
    cell: CellSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(None)
    reporter.line("hello")
    with reporter.cell(cell, "cell 1/1", tmp_path / "runs" / "log.txt") as progress:
        progress.phase("train")
        progress.start(num_steps=4)
        progress.step()
        progress.beat()
        progress.epoch(epoch_row(1), images_per_s=10)
        progress.line("done")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_where_a_cell_stands_is_said_beside_its_log(plain: Reporter, cell: CellSpec, tmp_path: Path) -> None:
    with plain.cell(cell, "cell 1/1", tmp_path / "log.txt") as progress:
        assert read_live(tmp_path) is None
        progress.start(num_steps=4)
        progress.phase("train")
        progress.step()
        progress.epoch(epoch_row(1), images_per_s=10)
        progress.phase("evaluate")
        live = read_live(tmp_path)
    assert live is not None
    assert (live.phase, live.epoch, live.epochs, live.step, live.steps) == ("evaluate", 1, 2, 1, 4)
    assert (live.train_loss, live.val_accuracy, live.images_per_s) == (1.23456, 0.875, 10)
