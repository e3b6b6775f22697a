from __future__ import annotations

import io
import sys

import pytest

from harness.datasets.progress import progress


def test_without_a_terminal_there_is_a_line_at_the_start_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("decoding pets", 60_000, "images", quiet=False) as advance:
        assert capsys.readouterr() == ("", "decoding pets (60,000 images)\n")
        advance(60_000)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("decoding pets: done in ")
    assert printed.err.count("\n") == 1


def test_what_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), progress("decoding pets", 5, "images", quiet=False):
        raise ValueError("broken")
    assert "done" not in capsys.readouterr().err


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("decoding pets", 5, "images", quiet=True) as advance:
        advance(5)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("unit", "amount"), [("images", "7/10"), ("bytes", "7/10 bytes")])
def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch, unit: str, amount: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with progress("working", 10, unit, quiet=False, done=4) as advance:  # type: ignore[arg-type]
        advance(3)
    assert "working" in terminal.getvalue()
    assert amount in terminal.getvalue()
