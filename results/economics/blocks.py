"""Files of assumptions: blocks of plain values by key, with the line of each. No numpy here.

    images_per_year: 2000000          # a value alone
    label_usd: {value: 0.05, low: 0.02, high: 0.1}

Stricter than YAML: two levels, no lists, no aliases, no tags, and no key twice. Scalars stay text, so that
YAML's own ideas of numbers (`1:30`, `1e6` as a word) do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError
from harness.files import read_small_text

MAX_BYTES = 2**18
MAX_DEPTH = 2
VALUE = "value"
"""The field that stands for a block which is a single value."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REFUSED = {
    yaml.AnchorToken: "anchors and aliases are not supported: write the values out",
    yaml.AliasToken: "anchors and aliases are not supported: write the values out",
    yaml.TagToken: "tags are not allowed: plain values only",
    yaml.DirectiveToken: "YAML directives are not supported",
    yaml.BlockSequenceStartToken: "a list cannot stand here",
    yaml.BlockEntryToken: "a list cannot stand here",
    yaml.FlowSequenceStartToken: "a list cannot stand here",
}
_OPENING = (yaml.BlockMappingStartToken, yaml.FlowMappingStartToken)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken)


@dataclass(frozen=True)
class Block:
    """What is given about one key."""

    fields: dict[str, str]
    lines: dict[str, int]
    """Line of each field, counted from 1."""

    line: int


def read_blocks(path: Path) -> dict[str, Block]:
    """The blocks of a YAML file, by key.

    Raises:
        UsageError: the file cannot be read, is no YAML, or holds what is refused here; one line says where.
    """
    return parse_blocks(read_small_text(path, MAX_BYTES, "file of assumptions"), str(path))


def parse_blocks(text: str, name: str) -> dict[str, Block]:
    """The same of a text; `name` is what errors call it.

    Raises:
        UsageError: see `read_blocks`.
    """
    try:
        _check_tokens(text, name)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{name}{where}: {error.problem or 'not YAML'}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{name}, line {line}: a character that cannot be in YAML") from None
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{name}: expected keys with values, such as 'images_per_year: 2000000'")
    return {key: _block(value, key, line, name) for key, line, value in _items(root, name, "")}


def _check_tokens(text: str, name: str) -> None:
    """Refuse what could grow, nest or name types before anything is built from it."""
    depth = num_scalars = 0
    for token in yaml.scan(text, Loader=_LOADER):
        reason = _REFUSED.get(type(token))
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        num_scalars += isinstance(token, yaml.ScalarToken)
        if depth > MAX_DEPTH:
            reason = f"mappings in each other, more than {MAX_DEPTH} deep"
        elif num_scalars and isinstance(token, yaml.DocumentStartToken):
            reason = "a second document begins here"
        if reason:
            raise UsageError(f"{name}, line {token.start_mark.line + 1}: {reason}")


def _block(node: Any, key: str, line: int, name: str) -> Block:
    if isinstance(node, yaml.ScalarNode):
        return Block({VALUE: node.value}, {VALUE: line}, line)
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    for field, field_line, value in _items(node, name, f"{key}."):
        fields[field], lines[field] = value.value, field_line
    return Block(fields, lines, line)


def _items(node: Any, name: str, prefix: str) -> Iterator[tuple[str, int, Any]]:
    """Key, line and value of each entry of a mapping, where no key stands twice."""
    seen: dict[str, int] = {}
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(f"{name}, line {line}: a key has to be a word")
        key = key_node.value
        if not key.isprintable():
            raise UsageError(f"{name}, line {line}: a key has to be a word")
        if key in seen:
            raise UsageError(
                f"{name}, line {line}: the key '{prefix}{key}' stands twice: already on line {seen[key]}"
            )
        seen[key] = line
        yield key, line, value
