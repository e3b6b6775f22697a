"""The page in a browser: it draws, sorts, changes its theme, says nothing and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from results.report.build import Report
from tests.results.report.browser import CHROMIUM, Page, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

Small = tuple[Report, str, Path]

RANKS = """
[...document.querySelectorAll('#board1-leaderboard tbody:first-of-type tr')]
    .map(row => row.cells[0].innerText)
"""


@pytest.fixture
def page(small: Small) -> Iterator[Page]:
    with open_page(small[2].parent / "report.html") as found:
        yield found
        assert found.messages == []
        assert [url for url in found.requests if not url.startswith(("file:", "data:"))] == []


def test_charts_are_drawn_tables_sort_and_the_theme_changes(page: Page) -> None:
    page.wait_until("document.querySelector('#board1-accuracy .drawn svg') !== null")

    # Every chart, once it comes into sight.
    page.evaluate("document.querySelectorAll('figure').forEach(f => f.scrollIntoView({behavior: 'instant'}))")
    page.call(
        "Emulation.setDeviceMetricsOverride", width=1280, height=30000, deviceScaleFactor=1, mobile=False
    )
    page.wait_until(
        "document.querySelectorAll('.drawn svg').length === document.querySelectorAll('figure').length"
    )
    assert page.evaluate("document.querySelectorAll('.drawing > svg').length") == 0

    # The head of a column is a button, which the keyboard presses too.
    assert page.evaluate(RANKS) == ["1", "2", "3*"]
    page.evaluate("document.querySelector('#board1-leaderboard th:nth-child(4) button').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            text="\r",
        )
    assert page.evaluate(RANKS) == ["2", "1", "3*"]
    assert page.evaluate("document.querySelector('#board1-leaderboard [aria-sort]').ariaSort") == "descending"
    assert (
        page.evaluate(
            "document.querySelector('#board1-leaderboard tbody:last-of-type tr').cells[0].innerText"
        )
        == "claim"
    )

    # One press picks a model out in every chart.
    page.evaluate("document.querySelector('.legend button[data-look=mlp]').click()")
    assert page.evaluate("document.querySelector('.legend button[data-look=mlp]').ariaPressed") == "true"

    # Colours follow the theme without a new drawing.
    ink = "getComputedStyle(document.body).color"
    light = page.evaluate(ink)
    page.evaluate("document.getElementById('theme').click()")
    assert page.evaluate(ink) != light
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate(ink) == light


def test_it_follows_the_system_and_fits_a_phone(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.wait_until("document.getElementById('theme').ariaPressed === 'true'")
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    page.wait_until("document.querySelector('#board1-accuracy .drawn svg') !== null")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
