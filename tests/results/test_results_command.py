from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from results.__main__ import app

ROOT = Path(__file__).parents[2]

RunFactory = Callable[..., Path]


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_load_neither_torch_nor_scipy(make_run: RunFactory, runs: Path) -> None:
    make_run()
    program = (
        "import sys; from results.__main__ import app\n"
        "for command in ('leaderboard', 'csv'):\n"
        f"    app([command, {str(runs)!r}], standalone_mode=False)\n"
        "print(sorted({'torch', 'scipy'} & sys.modules.keys()))"
    )

    finished = _python("-c", program)

    assert finished.stderr == ""
    assert "fast_cnn" in finished.stdout
    assert finished.stdout.splitlines()[-2:] == [str(runs / "results.csv"), "[]"]


@pytest.mark.parametrize("command", ["leaderboard", "csv"])
def test_an_error_of_the_user_is_one_line_and_exit_code_2(tmp_path: Path, command: str) -> None:
    finished = _python("-m", "results", command, str(tmp_path / "nowhere"))

    assert finished.returncode == 2
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: cannot read runs from")


def test_the_csv_command_reports_what_it_left_out(make_run: RunFactory, runs: Path) -> None:
    path = make_run() / "predictions.npz"
    path.write_bytes(b"")

    finished = _python("-m", "results", "csv", str(runs))

    assert finished.returncode == 0
    assert finished.stderr.startswith(f"left out: {path}: ")
    assert (runs / "results.csv").is_file()


def test_the_help_of_every_command_shows_an_example() -> None:
    names = [each.callback.__name__ for each in app.registered_commands if each.callback]

    assert names
    for name in names:
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        assert f"python -m results {name} " in shown, name


def test_a_reader_that_leaves_early_is_no_error_to_show(make_run: RunFactory, runs: Path) -> None:
    make_run()
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "results", "leaderboard", str(runs)],
            cwd=ROOT,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)

    assert finished.stderr == ""


def test_a_terminal_without_unicode_gets_question_marks(make_run: RunFactory, runs: Path) -> None:
    make_run()

    finished = _python("-m", "results", "leaderboard", str(runs), PYTHONIOENCODING="ascii")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Detectocorp" in finished.stdout
