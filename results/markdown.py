r"""Text of others within Markdown: `as_text("a|b")` is `a\|b`."""

from __future__ import annotations

import re

from results.store import one_line

_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#$@]|:(?=//)|(?<=www)\.")
_START_OF_A_BLOCK = re.compile(r"^(\s*\d+)(?=[.)](\s|$))|^(\s*)(?=[-+=])")


def as_text(words: str) -> str:
    """One line in which Markdown finds no markup, no start of a block and no end of a table cell.

    Backslashes before ASCII punctuation stand for that character (CommonMark 0.31, section 2.4); `|` and `~`
    are markup of GitHub's tables and strikethrough, `$` of its formulas; it makes links of what looks like
    addresses.
    """
    escaped = _MARKUP.sub(r"\\\g<0>", one_line(words))
    return _START_OF_A_BLOCK.sub(r"\g<0>\\", escaped)
