from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)          # [text](target), ![image](target), with or without a title
    |^\[[^\]]+\]:\s*<?([^\s>]+)      # [name]: target
    |(?:href|src)=["']([^"']+)["']   # <img src="target">
    """,
    re.MULTILINE | re.VERBOSE,
)


def relative_links(text: str) -> list[str]:
    """Targets of the links in a Markdown text that lead to files, without their `#anchor`."""
    targets = ["".join(groups) for groups in LINK.findall(CODE.sub("", text))]
    files = [target.partition("#")[0] for target in targets if not re.match(r"[a-z][a-z+.-]*:|//", target)]
    return [file for file in files if file]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = relative_links(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_links_are_found_in_every_form_that_markdown_has() -> None:
    text = """
[a](a.md) ![b](docs/b.svg "title") [c](<c.md>) [d](d.md#part) [here](#part) [web](https://example.org/x.md)
<img src="e.png"> <a href='mailto:x@example.org'>
[f]: f.md
`[g](g.md)`
```
[h](h.md)
```
[![i](i.svg)](j.md)
"""
    assert relative_links(text) == ["a.md", "docs/b.svg", "c.md", "d.md", "e.png", "f.md", "i.svg", "j.md"]
