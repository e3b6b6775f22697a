"""The memo: one page of Markdown, with pictures beside it.

for path, text in memo_files(report, Path("memo.md"), Path("report.html")).items():
    write_text(path, text)
"""

from __future__ import annotations

import re
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from results.report.build import Report
from results.report.charts import picture
from results.report.page import environment
from results.report.values import Chart, Missing, Table
from results.store import one_line

MAX_ROWS = 6
_COLUMNS = ("model", "test_accuracy_percent", "total_train_pflop", "num_params", "cell_id")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$@#&]|:(?=//)|(?<=www)\.|^[-+=]|(?<=^\d)[.)])")


def memo_files(report: Report, memo: Path, output: Path) -> dict[Path, str]:
    """The memo and its pictures, by the path of each.

    Args:
        report: that it sums up.
        memo: where it will be.
        output: where the report will be, which the memo leads to.
    """
    pictures = {name: chart for name, chart in _pictures(report).items() if chart is not None}
    paths = {name: memo.with_name(f"{memo.stem}-{name}.svg") for name in pictures}
    env = environment()
    env.filters["md"] = markdown_text
    env.filters["link"] = quote
    text = env.get_template("memo.md.j2").render(
        report=report,
        pictures=[(chart.description, paths[name].name) for name, chart in pictures.items()],
        rows=[] if report.main is None else _rows(report.main.leaderboard),
        report_path=Path(relpath(output.resolve(), memo.resolve().parent)).as_posix(),
    )
    return {memo: text, **{paths[name]: picture(chart) for name, chart in pictures.items()}}


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with nothing in it read as markup."""
    return (
        _SPECIAL.sub(r"\\\1", one_line(text))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def _pictures(report: Report) -> dict[str, Chart | None]:
    """The pictures of the memo by name."""
    main, money = report.main, report.money
    return {
        "accuracy": None if main is None else main.accuracy,
        "compute": None if main is None or not main.costs else main.costs[0],
        "tornado": None if isinstance(money, Missing) else money.tornado,
    }


def _rows(table: Table) -> list[list[str]]:
    """The first rows of a leaderboard, in the columns of the memo."""
    places = [[column.source for column in table.columns].index(name) for name in _COLUMNS]
    return [[row[place].text for place in places] for row in table.rows[:MAX_ROWS]]
