"""The page: what is in it, that it is safe, and that all of it leads somewhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from results.report.build import Report
from results.report.page import SECTIONS, content_policy, script_json
from results.report.values import Chart
from results.table import write_csv
from tests.results.report.conftest import HOSTILE_CLASS, HOSTILE_NAMES

Small = tuple[Report, str, Path]

VOID = {"meta", "link", "img", "br", "circle", "rect", "path"}


class Page(HTMLParser):
    """Elements, scripts and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.stack: list[str] = []
        self.errors: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        else:
            self.text.append(data)

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def page(small: Small) -> Page:
    return Page(small[1])


def test_every_element_is_closed(page: Page) -> None:
    assert page.errors == []
    assert page.stack == []


def test_every_id_stands_once_and_every_link_inside_leads_to_one(page: Page) -> None:
    ids = page.ids()
    assert len(ids) == len(set(ids))
    targets = {(attrs["href"] or "")[1:] for attrs in page.all("a") if (attrs["href"] or "").startswith("#")}
    assert targets <= set(ids)
    labels = {name for _, attrs in page.elements for name in (attrs.get("aria-labelledby") or "").split()}
    assert labels <= set(ids)
    assert {anchor for anchor, _ in SECTIONS} <= set(ids)


def test_nothing_is_loaded(page: Page) -> None:
    for tag, attrs in page.elements:
        for name in ("src", "srcset", "data", "action", "poster", "xlink:href"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
        if tag in ("link", "use", "image", "base"):
            assert (attrs.get("href") or "").startswith(("data:", "#")), (tag, attrs)
        assert not re.search(r"url\((?!#)", attrs.get("style") or "")
    style = next(text for text in page.text if "--paper" in text)
    assert "url(" not in style
    assert "@import" not in style


def test_only_the_two_scripts_of_the_policy_run(page: Page) -> None:
    run = [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]
    assert len(run) == 2
    (policy,) = [
        attrs["content"] or ""
        for attrs in page.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    for text in run:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert policy == content_policy(run)
    assert "unsafe-eval" not in policy
    assert "default-src 'none'" in policy
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)


def test_hostile_names_are_text_and_never_markup(small: Small, page: Page) -> None:
    assert HOSTILE_CLASS not in small[1]
    shown = "".join(page.text)
    assert HOSTILE_CLASS in shown
    for name in HOSTILE_NAMES[1:]:
        assert name.replace("\u202e", "?")[:20] in shown
    assert "\u202e" not in shown
    assert "<b>broken</b> & =1+1" in shown
    assert not {"b", "i"} & {tag for tag, _ in page.elements}


def test_data_of_charts_cannot_end_their_script(page: Page) -> None:
    specs = [json.loads(text) for attrs, text in page.scripts if attrs.get("type") == "application/json"]
    assert len(specs) >= 12
    raw = script_json({"name": "</script><!--\u2028 & x"})
    assert not re.search(r"[<>&\u2028]", raw)
    assert json.loads(raw) == {"name": "</script><!--\u2028 & x"}


def test_every_layer_of_a_chart_has_its_data(page: Page) -> None:
    for attrs, text in page.scripts:
        if attrs.get("type") == "application/json":
            spec = json.loads(text)
            named = {layer["data"]["name"] for layer in spec["layer"] if "name" in layer.get("data", {})}
            assert named
            assert named <= set(spec["datasets"])


def test_expressions_of_charts_hold_no_names(small: Small) -> None:
    def expressions(value: Any, key: str = "") -> list[str]:
        if isinstance(value, dict):
            return [
                each for name, part in value.items() if name != "datasets" for each in expressions(part, name)
            ]
        if isinstance(value, list):
            return [each for part in value for each in expressions(part, key)]
        return (
            [value]
            if isinstance(value, str) and key in ("filter", "test", "expr", "calculate", "signal")
            else []
        )

    report = small[0]
    allowed = re.compile(
        r"datum\.\w+( == ('\w+'|\d+)( && datum\.\w+ == '\w+')?)?|highlight == '' \|\| .*highlight"
    )
    found = {each for chart in report.charts() for each in expressions(chart.spec)}
    assert found
    assert all(allowed.fullmatch(each) for each in found), found


def test_every_figure_of_the_leaderboard_is_that_of_results_csv(small: Small) -> None:
    _, page, runs = small
    write_csv(runs)
    with (runs / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["cell_id"]: row for row in csv.DictReader(file)}
    table = re.search(r'<table id="board1-leaderboard".*?</table>', page, re.DOTALL)
    assert table
    found = 0
    for line in re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL):
        cells = dict(re.findall(r'data-value="([^"]*)" data-column="([^"]*)"', line))
        cell_id = re.search(r'href="#cell-(\w+)"', line)
        if cell_id is None:
            continue
        for value, column in cells.items():
            assert float(value) == float(rows[cell_id[1]][column]), column
            found += 1
    assert found >= 3 * 10


def test_every_cell_id_leads_to_where_its_figures_come_from(small: Small, page: Page) -> None:
    report, text, runs = small
    named = {origin.cell_id for origin in report.origins}
    assert named == {path.name for path in runs.iterdir() if path.is_dir()}
    shown = re.sub(r"<script.*?</script>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    shown = re.sub(r'<section id="origins".*?</section>', "", shown, flags=re.DOTALL)
    for cell_id in named:
        assert f'href="#cell-{cell_id}"' in shown
        without_links = re.sub(rf'<a [^>]*href="#cell-{cell_id}">{cell_id}</a>', "", shown)
        assert cell_id not in without_links, cell_id


def test_origins_hold_the_hashes_of_the_files(small: Small) -> None:
    report, page, runs = small
    for origin in report.origins:
        record = hashlib.sha256((runs / origin.cell_id / "record.json").read_bytes()).hexdigest()
        assert origin.record_sha256 == record
        assert record in page
        predictions = runs / origin.cell_id / "predictions.npz"
        if predictions.exists():
            assert origin.predictions_sha256 == hashlib.sha256(predictions.read_bytes()).hexdigest()
        else:
            assert origin.predictions_sha256 == "—"


def test_headings_come_in_order_and_landmarks_are_there(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_tables_have_captions_and_scopes_and_pictures_have_words(page: Page) -> None:
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    drawings = [attrs for attrs in page.all("div") if attrs.get("role") == "img"]
    assert len(drawings) == len(page.all("figure"))
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in drawings)
    assert all(attrs.get("alt") for attrs in page.all("img"))


def test_every_chart_has_its_figures_as_a_table(small: Small) -> None:
    charts = list(small[0].charts())
    assert len({chart.key for chart in charts}) == len(charts)
    assert all(chart.table is not None and chart.table.rows for chart in charts)


def test_claims_are_named_as_claims_and_have_no_interval(small: Small) -> None:
    report = small[0]
    assert report.main is not None
    claims = report.main.leaderboard.claims
    assert {row[1].text for row in claims} >= {"GPipe", "Detectocorp"}
    assert all(row[0].text == "claim" for row in claims)
    assert all(not entry.value for row in claims for entry in row)
    assert isinstance(report.main.accuracy, Chart)
    rows = report.main.accuracy.spec["datasets"]["rows"]
    assert all(row["name"].startswith("claim") for row in rows if row["kind"] != "measured")


def test_what_is_missing_says_why(page: Page) -> None:
    shown = " ".join(" ".join(page.text).split())
    for reason in (
        "The images are not at hand: --data-dir FOLDER",
        "not measured: python -m harness.robustness RUN does it",
        "The vendor was not audited",
        "no price was given",
    ):
        assert reason in shown
