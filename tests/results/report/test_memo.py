from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from results.report.build import Report
from results.report.memo import memo_files

MAX_LINES = 60


def test_the_memo_is_one_page_and_its_pictures_exist(small: tuple[Report, str, Path], tmp_path: Path) -> None:
    memo = tmp_path / "notes" / "memo.md"
    files = memo_files(small[0], memo, tmp_path / "report.html")
    text = files[memo]
    assert len(text.splitlines()) <= MAX_LINES
    pictures = re.findall(r"^!\[(.+)\]\(([^)]+)\)$", text, re.MULTILINE)
    assert len(pictures) == 3
    assert {memo.parent / name for _, name in pictures} == set(files) - {memo}
    assert all(len(words) > 20 for words, _ in pictures)
    assert "[report](../report.html)" in text


def test_pictures_are_whole_in_themselves_and_light(small: tuple[Report, str, Path], tmp_path: Path) -> None:
    for path, text in memo_files(small[0], tmp_path / "memo.md", tmp_path / "report.html").items():
        if path.suffix != ".svg":
            continue
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in text
        assert "href" not in text.replace("http://www.w3.org/1999/xlink", "").replace("xmlns:xlink", "")
        assert {element.tag.split("}")[1] for element in root.iter()} <= {
            "svg", "g", "path", "rect", "line", "text", "tspan", "defs", "clipPath", "title"
        }  # fmt: skip


def test_the_memo_says_what_the_report_says(small: tuple[Report, str, Path], tmp_path: Path) -> None:
    report = small[0]
    text = memo_files(report, tmp_path / "memo.md", tmp_path / "report.html")[tmp_path / "memo.md"]
    assert not isinstance(report.summary, type(None))
    assert text.startswith(f"# {getattr(report.summary, 'verdict', '')}\n")
    assert report.main is not None
    for row in report.main.leaderboard.rows:
        assert row[-1].text or row[1].text in text
