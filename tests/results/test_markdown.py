from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.markdown import as_text
from results.store import one_line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("resnet18, 92.5%", "resnet18, 92.5%"),
        ("a|b", r"a\|b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("<script>&amp;", r"\<script\>\&amp;"),
        (r"back\slash", r"back\\slash"),
        ("**bold** _it_ ~~gone~~ `code` $x$", r"\*\*bold\*\* \_it\_ \~\~gone\~\~ \`code\` \$x\$"),
        ("# title", r"\# title"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("12) item", r"12\) item"),
        ("=== ", r"\=== "),
        ("one\n# two", r"one \# two"),
        ("a-b 1.5: 70%", "a-b 1.5: 70%"),
        ("http://x, www.y.org, a@b.c", r"http\://x, www\.y.org, a\@b.c"),
    ],
)
def test_markup_is_taken_as_text(words: str, expected: str) -> None:
    assert as_text(words).rstrip() == expected.rstrip()


@given(st.text(max_size=40))
def test_without_its_backslashes_it_is_the_text(words: str) -> None:
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", as_text(words)) == one_line(words)
