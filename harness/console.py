"""How every command meets its user: an error of the user's is one line on stderr and exit code 2.

A program that started the command, rather than a person, finds the same in a file (`outcome.py`).
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any

import typer

from harness.errors import LostProcessError, MemoryShortError, UsageError, VerdictError
from harness.outcome import keep_outcome

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_FIRST_SPEAKS_WITHIN_S = 15.0

# The base of "no such option", "invalid value", ...; typer has moved it between its versions.
_BAD_WORDS: Any = typer.BadParameter.__mro__[1]


def run_command(app: typer.Typer, prog_name: str | None = None) -> int:
    """Run a command line to its end; its exit code. The first process of a machine speaks for all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without Unicode shows a question mark rather than a traceback.
        sys.stdout.reconfigure(errors="replace")
    try:
        code: int = app(prog_name=prog_name, standalone_mode=False) or 0
    except VerdictError as error:
        keep_outcome(error.kind, str(error))
        alone = isinstance(error, LostProcessError | MemoryShortError)  # the others may know nothing of it
        _say(f"error: {error}", always=alone)
        if not alone:
            _let_the_first_speak()
        return EXIT_BAD_INPUT
    except _BAD_WORDS as error:
        message = f"{' '.join(error.format_message().split())} (--help lists what there is)"
        keep_outcome(UsageError.kind, message)
        _say(f"error: {message}")
        _let_the_first_speak()
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:  # which newer versions of typer return
        message = "what is finished is kept; the same command goes on with the rest"
        keep_outcome("interrupted", message)
        _say(f"interrupted: {message}")
    return code


def _say(text: str, always: bool = False) -> None:
    if always or _is_first():
        print(text, file=sys.stderr)


def _let_the_first_speak() -> None:
    """Wait for the end that the launcher makes once the first process has failed.

    A launcher ends all processes as soon as one has failed: where that is another than the first, which may
    still be loading, nobody would have said why.
    """
    if not _is_first():
        time.sleep(_FIRST_SPEAKS_WITHIN_S)


def _is_first() -> bool:
    return os.environ.get("LOCAL_RANK") in (None, "", "0")
