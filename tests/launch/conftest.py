"""Settings and children for the tests of the launcher."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.settings import Settings
from launch.job import Job


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(out=tmp_path, cpu=True)


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[[str], Callable[[Job, Settings], list[str]]]:
    """Children that run a few lines of Python in place of a training; `run_dir` and `say` are theirs."""

    def make(lines: str) -> Callable[[Job, Settings], list[str]]:
        def command_of(job: Job, settings: Settings) -> list[str]:
            start = (
                "import json, os, signal, sys, time\n"
                "from pathlib import Path\n"
                f"run_dir = Path({str(job.run_dir)!r})\n"
                "def say(text):\n"
                "    Path(os.environ['VERDICT_OUTCOME_FILE']).write_text(text)\n"
            )
            return [sys.executable, "-c", start + lines]

        return command_of

    return make
