"""The memo: one page of Markdown, with pictures beside it.

for path, text in memo_files(report, Path("memo.md"), Path("report.html")).items():
    write_text(path, text)
"""

from __future__ import annotations

from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from results.markdown import as_text
from results.report.build import Report
from results.report.charts import picture
from results.report.page import environment
from results.report.values import Chart, Missing, Table

MAX_ROWS = 6
_PICTURES = ("accuracy", "compute", "tornado")
_COLUMNS = ("model", "augmentation", "test_accuracy_percent", "total_train_pflop", "num_params", "cell_id")


def memo_files(report: Report, memo: Path, output: Path) -> dict[Path, str]:
    """The memo and its pictures, by the path of each.

    Args:
        report: that it sums up.
        memo: where it will be.
        output: where the report will be, which the memo leads to.
    """
    pictures = {name: chart for name, chart in _pictures(report).items() if chart is not None}
    paths = {name: _picture_path(memo, name) for name in pictures}
    env = environment()
    env.filters["md"] = as_text
    env.filters["link"] = quote
    text = env.get_template("memo.md.j2").render(
        report=report,
        pictures=[(chart.description, paths[name].name) for name, chart in pictures.items()],
        rows=[] if report.main is None else _rows(report.main.leaderboard),
        report_path=Path(relpath(output.resolve(), memo.resolve().parent)).as_posix(),
    )
    return {memo: text, **{paths[name]: picture(chart) for name, chart in pictures.items()}}


def memo_paths(memo: Path) -> list[Path]:
    """Every file that may be written for a memo."""
    return [memo, *(_picture_path(memo, name) for name in _PICTURES)]


def _picture_path(memo: Path, name: str) -> Path:
    return memo.with_name(f"{memo.stem}-{name}.svg")


def _pictures(report: Report) -> dict[str, Chart | None]:
    """The pictures of the memo by name."""
    main, money = report.main, report.money
    charts = (
        None if main is None else main.accuracy,
        None if main is None or not main.costs else main.costs[0],
        None if isinstance(money, Missing) else money.tornado,
    )
    return dict(zip(_PICTURES, charts, strict=True))


def _rows(table: Table) -> list[list[str]]:
    """The first rows of a leaderboard, in the columns of the memo; each model and augmentation once."""
    places = [[column.source for column in table.columns].index(name) for name in _COLUMNS]
    found: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        texts = [row[place].text for place in places]
        found.setdefault(tuple(texts[:2]), texts)
    return list(found.values())[:MAX_ROWS]
