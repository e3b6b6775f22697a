"""The report as one HTML file that loads nothing: style, scripts, charts and images are in it.

write_text(path, report_html(report))

Jinja escapes all text. Scripts run only by their hashes (Content Security Policy), so that nothing in the
data could become one; Vega evaluates its expressions with its interpreter and needs no `unsafe-eval`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from results.report.build import Report
from results.report.limits import limits_of
from results.report.palette import SHAPES
from results.report.values import Chart, Missing, cell_anchor

SECTIONS = (
    ("summary", "Summary"),
    ("leaderboard", "Leaderboard"),
    ("value", "Value"),
    ("learning", "Learning curves"),
    ("confusions", "Confusions"),
    ("classes", "Classes"),
    ("confidence", "Confidence"),
    ("mistakes", "Worst mistakes"),
    ("vendor", "Vendor"),
    ("costs-section", "Costs"),
    ("method", "Method"),
    ("limits", "Limits"),
    ("origins", "Origins"),
)
"""Anchors and names of the sections, in their order."""

_SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""All that the page needs of Vega by name."""

_CELL_ID = re.compile(r"\b([0-9a-f]{12})\b")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def report_html(report: Report) -> str:
    """The whole page."""
    scripts = [vl_convert.javascript_bundle(_SNIPPET), _template_text("report.js")]
    env = environment()
    named = {origin.cell_id for origin in report.origins}
    env.filters["linked"] = lambda text: linked(text, named)
    return env.get_template("report.html.j2").render(
        report=report,
        sections=SECTIONS,
        limits=list(limits_of(report)),
        style=Markup(_template_text("style.css")),  # a file of ours
        scripts=[Markup(script) for script in scripts],  # Vega's, and a file of ours
        policy=content_policy(scripts),
    )


def environment() -> Environment:
    """Templates with autoescape; an unknown name is an error."""
    found = Environment(
        loader=PackageLoader("results.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default_for_string=True, default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["anchor"] = cell_anchor
    found.filters["script_json"] = script_json
    found.filters["svg"] = _svg
    found.tests["missing"] = lambda value: isinstance(value, Missing)
    found.tests["chart"] = lambda value: isinstance(value, Chart)
    found.globals["shapes"] = SHAPES
    return found


def linked(text: str, named: set[str]) -> Markup:
    """A sentence, escaped, in which each cell id leads to where its figures come from."""
    parts = []
    for part in _CELL_ID.split(text):
        words = escape(part)
        if part in named:
            words = Markup('<a href="#{}">{}</a>').format(cell_anchor(part), part)
        parts.append(words)
    return Markup("").join(parts)


def script_json(value: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for char, escaped in _ESCAPES.items():
        text = text.replace(char, escaped)
    return Markup(text)  # escaped above


def content_policy(scripts: list[str]) -> str:
    """The Content Security Policy under which exactly these scripts run and nothing is loaded."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _svg(chart: Chart) -> Markup:
    """The picture without script, which fits the page and is described by its figure."""
    head = '<svg aria-hidden="true" focusable="false" preserveAspectRatio="xMinYMin meet"'
    return Markup(chart.svg.replace("<svg", head, 1))  # Vega escapes the text in it


def _template_text(name: str) -> str:
    return files("results.report").joinpath("templates", name).read_text(encoding="utf-8")
