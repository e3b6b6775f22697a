from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from harness.console import run_command
from harness.errors import (
    DataError,
    DivergedError,
    HardwareError,
    LostProcessError,
    MemoryShortError,
    StorageError,
    UsageError,
    VerdictError,
)
from harness.outcome import VARIABLE, keep_outcome

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outcome_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "outcome.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def run(error: BaseException | None, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command that takes `--size` and ends in `error`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def command(size: int = 1) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sys, "argv", ["command", *words])
    return run_command(app, prog_name="command")


@pytest.mark.parametrize(
    "error",
    [
        UsageError("a"),
        DataError("b"),
        HardwareError("c"),
        StorageError("d"),
        MemoryShortError("e"),
        LostProcessError("f"),
        DivergedError("g\nh   i"),
    ],
    ids=lambda error: error.kind,
)
def test_an_error_is_exit_code_2_one_line_and_an_outcome(
    outcome_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: VerdictError,
) -> None:
    assert run(error, monkeypatch) == 2
    assert capsys.readouterr().err == f"error: {error}\n"
    expected = {"kind": error.kind, "message": " ".join(str(error).split())}
    assert json.loads(outcome_file.read_text(encoding="utf-8")) == expected
    assert names_in(outcome_file.parent) == ["outcome.json"]


@pytest.mark.parametrize("words", [["--size", "three"], ["--sise", "3"], ["surplus"]])
def test_bad_words_are_of_the_kind_usage(
    outcome_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(None, monkeypatch, *words) == 2
    found = json.loads(outcome_file.read_text())
    assert found["kind"] == "usage"
    assert capsys.readouterr().err == f"error: {found['message']}\n"


def test_an_interruption_is_exit_code_130_and_an_outcome(
    outcome_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(KeyboardInterrupt(), monkeypatch) == 130
    assert json.loads(outcome_file.read_text())["kind"] == "interrupted"


def test_a_command_that_succeeds_says_nothing(outcome_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(None, monkeypatch) == 0
    assert not outcome_file.exists()


def test_a_bug_is_no_outcome_but_a_traceback(outcome_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError(), monkeypatch)
    assert not outcome_file.exists()


def test_nothing_is_written_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(UsageError("a"), monkeypatch) == 2
    monkeypatch.setenv(VARIABLE, "")
    assert run(UsageError("a"), monkeypatch) == 2
    assert names_in(tmp_path) == []


def test_an_outcome_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere" / "outcome.json", tmp_path / "file" / "outcome.json", tmp_path):
        monkeypatch.setenv(VARIABLE, str(path))
        assert run(UsageError("a"), monkeypatch) == 2
        assert capsys.readouterr().err == "error: a\n"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("has_links", [True, False])
def test_the_first_one_wins(outcome_file: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    keep_outcome("storage", "the cause")
    keep_outcome("lost_process", "its consequence")
    assert json.loads(outcome_file.read_text()) == {"kind": "storage", "message": "the cause"}
    assert names_in(outcome_file.parent) == ["outcome.json"]


def test_of_many_processes_at_once_one_is_heard_whole(outcome_file: Path) -> None:
    code = (
        "import sys; from harness.outcome import keep_outcome\n"
        "sys.stdin.readline(); keep_outcome(sys.argv[1], 'x' * 100_000)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(number)], cwd=ROOT, stdin=subprocess.PIPE)
        for number in range(8)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
    found = json.loads(outcome_file.read_text())
    assert found["kind"] in {str(number) for number in range(8)}
    assert found["message"] == "x" * 100_000
    assert names_in(outcome_file.parent) == ["outcome.json"]


@pytest.mark.parametrize(("rank", "waits"), [("0", 0), ("", 0), ("1", 1)])
def test_another_process_lets_the_first_say_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, waits: int
) -> None:
    waited: list[float] = []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr("harness.console.time.sleep", waited.append)

    assert run(UsageError("no such model"), monkeypatch) == 2
    assert len(waited) == waits
    assert ("error: no such model" in capsys.readouterr().err) == (waits == 0)
