from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from launch.matrix.strict_yaml import MAX_BYTES, parse_yaml, read_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def problem(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "m.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_values_are_those_that_were_written(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value), "m.yaml")[0] == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!?|>'\"#%,\n \t\\01<=~é", max_size=60))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    message = "m.yaml"
    try:
        parse_yaml(text, "m.yaml")
    except UsageError as error:
        message = str(error)
    assert message.startswith("m.yaml")


def test_the_line_of_every_value_is_known() -> None:
    _, source = parse_yaml("a: 1\n\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "m.yaml")
    places = {(): "m.yaml", ("a",): "m.yaml, line 1, a", ("b", 0): "m.yaml, line 4, b.0"}
    places |= {("b", 1, "d"): "m.yaml, line 6, b.1.d", ("b", 1, "e", 3): "m.yaml, line 5, b.1"}
    assert {keys: source.place(keys) for keys in places} == places


def test_an_alias_stands_for_its_value() -> None:
    values, source = parse_yaml("a: &x {n: [1, 2]}\nb: *x\nc: *x\n", "m.yaml")
    assert values == {"a": {"n": [1, 2]}, "b": {"n": [1, 2]}, "c": {"n": [1, 2]}}
    assert source.place(("b", "n", 1)) == "m.yaml, line 2, b"


@pytest.mark.parametrize("text", ["2026-11-01", "1:30", "1:2:3.5", "=", "10:00:00"])
def test_dates_and_numbers_with_colons_stay_text(text: str) -> None:
    assert parse_yaml(f"[{text}]", "m.yaml")[0] == [text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "m.yaml, line 2, column 2: "),
        ("a: 1\n\tb: 2\n", "m.yaml, line 2, column "),
        ("a: 1\nb: 2\na: 3\n", "m.yaml, line 3, column 1: the key 'a' stands twice: already on line 1"),
        ("x: {a: 1, a: 2}", "m.yaml, line 1, column 11: the key 'a' stands twice: already on line 1"),
        (
            "a: !!python/object/apply:os.getcwd []",
            "line 1, column 4: the tag '!!python/object/apply:os.getcwd'",
        ),
        ("a: !!python/name:os.getcwd x", "column 4: the tag '!!python/name:os.getcwd' is not allowed"),
        ("a: !thing {b: 1}", "column 4: the tag '!thing' is not allowed: plain values only"),
        ("a: !!binary aGk=", "column 4: the tag '!!binary' is not allowed"),
        ("a: !!int x", "column 4: 'x' cannot be read as int"),
        ("a: &x [*x]", "column 8: the alias '*x' is a part of itself"),
        ("a: *x", "column 4: there is no anchor '&x' before this alias"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "line 3, column 3: merge keys (<<) are not supported"),
        ("yes: 1", "column 1: the key 'yes' is not read as text: put it in quotes"),
        ("? [a]\n: 1", "column 3: a key has to be a word"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins here"),
        ("", "m.yaml is empty"),
        ("# nothing\n", "m.yaml is empty"),
        ("a: 1\nb: \x00\n", "m.yaml, line 2: a character that cannot be in YAML"),
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_what_is_refused_is_one_line_with_its_place(
    loader: type, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.matrix.strict_yaml._LOADER", loader)
    assert message in problem(text)


def laughs(levels: int) -> str:
    lines = ["l0: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(10), "more than 100,000 values, with those behind aliases"),
        ("[" * 100_000, "more than 20 deep"),
        ("{a: " * 100_000, "more than 20 deep"),
        ("- " * 100_000, "more than 20 deep"),
        ("[" + "9" * 900_000 + "]", "cannot be read as int"),
        ("[" + "x, " * 200_000 + "]", "more than 100,000 values"),
    ],
)
def test_a_file_that_was_made_to_hang_its_reader_ends_soon(text: str, message: str) -> None:
    started = time.process_time()
    assert message in problem(text)
    assert time.process_time() - started < 5


def test_a_number_of_a_thousand_digits_with_colons_is_no_sum() -> None:
    text = ":".join(["1"] * 100_000)
    assert parse_yaml(f"[{text}]", "m.yaml")[0] == [text]


def test_a_file_that_is_no_text_is_refused_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(UsageError, match=r"m.yaml, line 2: not UTF-8 text"):
        read_yaml(path)


def test_a_byte_order_mark_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(path)[0] == {"a": 1, "b": 2}


def test_a_file_that_is_missing_a_folder_or_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot read .*m.yaml: No such file or directory$"):
        read_yaml(tmp_path / "m.yaml")
    with pytest.raises(UsageError, match=r"^cannot read .*: Is a directory$"):
        read_yaml(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="is larger than 1024 KiB"):
        read_yaml(tmp_path / "large.yaml")
