from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from harness.console import run_command
from results.report.build import Report
from results.report.command import report

RunFactory = Callable[..., Path]


@pytest.fixture
def made(small: tuple[Report, str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs of a report that is not made once more."""
    report, page, runs = small
    monkeypatch.setattr("results.report.build.build_report", lambda request: report)
    monkeypatch.setattr("results.report.page.report_html", lambda report: page)
    return runs


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    app = typer.Typer()
    app.command()(report)
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    return run_command(app)


def test_it_writes_the_report_the_memo_and_its_pictures(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert _run(monkeypatch, made, "--output", out / "r.html", "--memo", out / "m.md") == 0
    written = capsys.readouterr().out.split()
    assert {Path(line) for line in written} == set(out.iterdir())
    assert (out / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_place_that_cannot_be_written_is_one_clear_error(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert _run(monkeypatch, made, "--output", blocked / "r.html", "--memo", blocked / "m.md") == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert "cannot write" in found.err
    assert list(tmp_path.glob("**/*.tmp")) == []


@pytest.mark.parametrize(
    "arguments", [("--audit", "nowhere"), ("--assumptions", "nowhere.yaml"), ("--cell", "zzz")]
)
def test_a_wrong_argument_is_one_clear_error(
    runs: Path,
    make_run: RunFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
) -> None:
    make_run()
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, runs, *arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("output", ["x.md", "x-accuracy.svg"])
def test_the_report_is_no_file_of_the_memo(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
) -> None:
    assert _run(monkeypatch, runs, "--output", tmp_path / output, "--memo", tmp_path / "x.md") == 2
    assert "give --output another name" in capsys.readouterr().err
