"""`python -m results recommend`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results.conftest import RunFactory


def recommend(*args: str | Path, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "results", "recommend", *map(str, args)]
    environment = os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_the_page_begins_with_the_verdict(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    done = recommend(runs)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] in ("BUILD", "BUY", "NOT YET DECIDED")
    assert max(map(len, lines)) <= 80
    for title in ("What would change it", "What to measure next", "Measured on 10,000 test images"):
        assert title in done.stdout


def test_json_has_every_field(runs: Path, make_run: RunFactory) -> None:
    run_dir = make_run(9300, num_test=10_000)
    done = recommend(runs, "--json", "--set", "images_per_year=100000000", "--set", "cost_per_error_usd=50")
    found = json.loads(done.stdout)
    assert found["verdict"] == "BUILD"
    assert found["cell_id"] == run_dir.name
    assert run_dir.name in found["reasons"][0]["sources"]


def test_hostile_names_are_text(runs: Path, make_run: RunFactory) -> None:
    make_run(180, cell={"model": "timm:x*](http://a)[bold]|"})
    markdown = recommend(runs, "--markdown")
    assert markdown.returncode == 0, markdown.stderr
    assert r"x\*\](http" in markdown.stdout
    assert "[bold]" in recommend(runs, columns=200).stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--json", "--markdown"], "choose one"),
        (["--set", "imges_per_year=1"], "images_per_year"),
        (["--audit", "nowhere"], "no audit in 'nowhere'"),
        (["--cell", "zzz"], "unknown finished run"),
    ],
)
def test_mistakes_are_one_line(runs: Path, make_run: RunFactory, args: list[str], message: str) -> None:
    make_run()
    done = recommend(runs, *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
