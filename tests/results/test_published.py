"""Every checked-in folder of results says what its records and predictions say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results.publish.folder import PAGE, RUNS, facts_of
from results.publish.page import page_of
from results.report.values import Missing
from results.store import load_runs
from results.table import write_csv

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "results" / "published").glob(f"*/{RUNS}"))
TABLE_COMMAND = re.compile(r"<!-- table: (python -m results leaderboard [^\n]*) -->\n\n((?:\|[^\n]*\n)+)")


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of its runs, so that nothing is written into the project."""
    target = tmp_path_factory.mktemp(folder.name) / RUNS
    shutil.copytree(folder / RUNS, target)
    return target


def test_there_are_published_results() -> None:
    assert FOLDERS


def test_the_table_is_derived_again_from_the_stored_predictions(folder: Path, copy: Path) -> None:
    assert write_csv(copy) == []
    assert (copy / "results.csv").read_text() == (folder / RUNS / "results.csv").read_text()


def test_every_table_of_the_page_is_derived_again(folder: Path, copy: Path) -> None:
    stored = load_runs(copy)
    assert stored.warnings == []
    assert stored.num_unfinished == 0
    facts = facts_of(copy, folder.relative_to(ROOT), Missing("not looked at"), pictures=())
    written, derived = (
        [line for line in text.splitlines() if line.startswith("|")]
        for text in ((folder / PAGE).read_text(), page_of(facts))
    )
    assert len(derived) > 20
    assert written == derived


def test_no_file_names_a_machine_or_a_path(folder: Path) -> None:
    texts = (path for path in folder.rglob("*") if path.suffix in (".json", ".md", ".csv", ".html", ".svg"))
    for path in texts:
        text = path.read_text()
        assert not re.search(r"(?<![\w.])/(?:home|tmp|root|work|Users)/", text), path
        hostnames = re.findall(r'"hostname": "([^"]*)"', text)
        assert set(hostnames) <= {folder.name}, path


def test_every_table_of_the_readme_is_what_its_command_prints() -> None:
    found = TABLE_COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    for command, table in found:
        words = [sys.executable, *shlex.split(command)[1:]]
        printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert [row for row in table.splitlines() if row not in printed.splitlines()] == []
