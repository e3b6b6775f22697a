"""A folder of results that can be checked in, made of runs.

for line in publish_runs(Path("runs"), target): ...      # records and predictions; what was left out
files = pages_of(folder, build_report(request))          # report, memo, pictures, page
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError, UsageError
from results.index.load import ROOT, load_table, usable_processors
from results.leaderboard.board import BoardOptions, make_board
from results.publish.best import BEST_COLUMNS, best_of_leagues
from results.publish.compact import publish_run
from results.publish.heat_map import heat_map
from results.publish.page import MEMO, REPORT, WRITTEN_BY, Facts, page_of
from results.publish.spent import time_spent
from results.report.build import Report
from results.report.memo import memo_files
from results.report.page import report_html
from results.report.summary import Summary
from results.report.values import Missing, Table
from results.store import MAX_LINE_LENGTH, load_runs, no_runs, one_line, run_dirs_of

RUNS, PAGE, CORRUPTIONS = "runs", "README.md", "corruptions.svg"


def publish_runs(runs: Path, folder: Path) -> list[str]:
    """Write every run of `runs` that has a record to `folder/runs`; a line for each that was left out.

    Raises:
        UsageError: `runs` cannot be read, holds no record, or is what would be written; the page in
            `folder` is not one of ours.
        DataError: no run of `runs` can be published.
        StorageError: a file cannot be written.
    """
    target = folder / RUNS
    if runs.resolve() == target.resolve():
        raise UsageError(f"{runs} is the published copy: name the folder that the runs were made in")
    page = folder / PAGE
    if page.exists() and WRITTEN_BY not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page} was not written by this command: name a folder of its own")
    left_out, num_published = [], 0
    for run_dir in run_dirs_of(runs):
        try:
            num_published += publish_run(run_dir, target, machine_of(folder))
        except DataError as error:
            left_out.append(one_line(f"left out: {error}", MAX_LINE_LENGTH))
    if not num_published:
        raise DataError(left_out[0]) if left_out else no_runs(runs)
    return left_out


def machine_of(folder: Path) -> str:
    """What stands for the name of the machine: that of the folder."""
    return folder.resolve().name


def _shown(folder: Path) -> str:
    """The folder as it may be read by others: within the project, or else its name alone."""
    whole = folder.resolve()
    return whole.relative_to(ROOT).as_posix() if whole.is_relative_to(ROOT) else whole.name


def pages_of(folder: Path, report: Report) -> dict[Path, str]:
    """Everything that is made of `folder/runs`, by path.

    Raises:
        DataError: a record of an earlier attempt cannot be read.
    """
    files = {
        folder / REPORT: report_html(report),
        **memo_files(report, folder / MEMO, folder / REPORT),
    }
    pictures = [path.name for path in files if path.suffix == ".svg"]
    corruptions = [each.corruptions for each in report.boards if isinstance(each.corruptions, Table)]
    if corruptions:
        files[folder / CORRUPTIONS] = heat_map(corruptions)
        pictures.append(CORRUPTIONS)
    facts = facts_of(folder / RUNS, folder, report.summary, tuple(pictures))
    return files | {folder / PAGE: page_of(facts)}


def facts_of(runs: Path, folder: Path, summary: Summary | Missing, pictures: tuple[str, ...]) -> Facts:
    """What the page of `folder` says of the published `runs`.

    Raises:
        DataError: a record of an earlier attempt cannot be read.
    """
    stored = load_runs(runs).runs
    return Facts(
        folder=_shown(folder),
        machine=machine_of(folder),
        summary=summary,
        pictures=pictures,
        best=best_of_leagues(load_table(runs, BEST_COLUMNS, usable_processors())),
        board=make_board(runs, BoardOptions(by="cell", top=None)),
        records=[run.record for run in stored],
        spent=time_spent(stored),
    )
