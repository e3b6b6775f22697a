"""A YAML file as plain values, with the line on which each of them stands. No torch here.

    values, source = read_yaml(Path("matrix.yaml"))
    source.place(("overrides", 0, "set"))       # 'matrix.yaml, line 12, overrides.0.set'

Stricter than YAML: a key that stands twice in a mapping, a tag, a merge key and a key that is no text are
errors. Size, depth and number of values are bounded, so that reading ends soon whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError
from harness.files import read_small_text

MAX_BYTES = 2**20
MAX_DEPTH = 20
MAX_VALUES = 100_000
"""Values in a file, where those behind an alias count each time it is used."""

Keys = tuple[str | int, ...]
"""The way to a value: keys of mappings, and positions in lists counted from 0."""

Event = Any  # the stubs of yaml know neither anchors nor the marks that events always have

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_SCALARS = ("str", "int", "float", "bool", "null")


def dotted(keys: Keys) -> str:
    """The way to a value as one word: `overrides.0.set`."""
    return ".".join(map(str, keys))


@dataclass(frozen=True)
class Source:
    """Where the values of a matrix stand: in a file, on the command line, or in neither."""

    name: str = ""
    """Path of the file; empty: none."""

    lines: dict[Keys, int] = field(default_factory=dict, repr=False)
    replaced: frozenset[str] = frozenset()
    """What the command line gave, whatever the file says: `models`, `image_size`, `set.lr`."""

    def place(self, keys: Keys) -> str:
        """File, line and keys of the nearest value that the file has; empty where it has none of it."""
        given = {dotted(keys[:length]) for length in (1, 2)}
        if not self.name or given & self.replaced:
            return ""
        known = self._known(keys)
        return f"{self.name}, line {self.lines[known]}, {dotted(known)}" if known else self.name

    def line(self, keys: Keys) -> int:
        """Line of the nearest value that the file has, counted from 1; 0: there is none."""
        return self.lines.get(self._known(keys), 0)

    def _known(self, keys: Keys) -> Keys:
        return next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), ())

    def error(self, keys: Keys, message: str) -> UsageError:
        """The error about the value at `keys`."""
        place = self.place(keys)
        return UsageError(f"{place}: {message}" if place else message)


NO_FILE = Source()


def read_yaml(path: Path) -> tuple[Any, Source]:
    """The values of a YAML file, and where they stand.

    Raises:
        UsageError: the file cannot be read, is no YAML, or holds what is refused here; one line says
            where.
    """
    return parse_yaml(read_small_text(path, MAX_BYTES, "matrix file"), str(path))


def parse_yaml(text: str, name: str) -> tuple[Any, Source]:
    """The same of a text; `name` is what errors call it.

    Raises:
        UsageError: see `read_yaml`.
    """
    try:
        return _Parser(text, name).parse()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" {error.context}" if error.context else ""
        raise UsageError(f"{name}{where}: {error.problem or 'not YAML'}{context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{name}, line {line}: a character that cannot be in YAML") from None


class _Parser:
    """Builds the values from the events of the parser, and notes the lines."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._loader = _LOADER(text)
        self._lines: dict[Keys, int] = {}
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        """Value and number of values behind each anchor; None while it is being read."""

        self._num_values = 0

    def parse(self) -> tuple[Any, Source]:
        events = self._loader
        while not isinstance(event := events.get_event(), yaml.DocumentStartEvent):
            if isinstance(event, yaml.StreamEndEvent):
                raise UsageError(f"{self._name} is empty: expected keys such as 'models: [mlp]'")
        value = self._value(events.get_event(), ())
        events.get_event()  # the end of the document
        if not isinstance(event := events.get_event(), yaml.StreamEndEvent):
            raise self._error(event, "a second document begins here: one file is one matrix")
        return value, Source(self._name, self._lines)

    def _value(self, event: Event, keys: Keys) -> Any:
        if keys:
            self._lines.setdefault(keys, event.start_mark.line + 1)
        if len(keys) > MAX_DEPTH:
            raise self._error(event, f"lists and mappings in each other, more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(event, 1)
        anchor, first = event.anchor, self._num_values
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif event.tag is not None:
            raise self._error(event, f"the tag '{_as_written(event.tag)}' is not allowed: plain values only")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [
                self._value(item, (*keys, position))
                for position, item in enumerate(self._until(yaml.SequenceEndEvent))
            ]
        else:
            value = self._mapping(keys)
        if anchor is not None:
            self._anchors[anchor] = (value, self._num_values - first + 1)
        return value

    def _until(self, end: type[yaml.Event]) -> Iterable[Event]:
        while not isinstance(event := self._loader.get_event(), end):
            yield event

    def _mapping(self, keys: Keys) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event)
            if key in values:
                line = self._lines[(*keys, key)]
                raise self._error(event, f"the key '{key}' stands twice: already on line {line}")
            self._lines[(*keys, key)] = event.start_mark.line + 1
            values[key] = None  # taken
            values[key] = self._value(self._loader.get_event(), (*keys, key))
        return values

    def _key(self, event: Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, "a key has to be a word, not a list, a mapping or an alias")
        if event.value == "<<" and event.implicit[0]:
            raise self._error(event, "merge keys (<<) are not supported: write the keys out")
        self._count(event, 1)
        key = self._scalar(event)
        if not isinstance(key, str):
            raise self._error(event, f"the key '{event.value[:40]}' is not read as text: put it in quotes")
        return key

    def _alias(self, event: Event) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(event, f"there is no anchor '&{event.anchor}' before this alias")
        known = self._anchors[event.anchor]
        if known is None:
            raise self._error(event, f"the alias '*{event.anchor}' is a part of itself")
        value, num_values = known
        self._count(event, num_values)
        return value

    def _scalar(self, event: Event) -> Any:
        """The value of a scalar: a date, and a number with colons in it, stay text."""
        tag = event.tag
        if tag in (None, "!"):
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            if tag.removeprefix(_CORE) not in _SCALARS or (tag != f"{_CORE}str" and ":" in event.value):
                tag = f"{_CORE}str"
        elif tag.removeprefix(_CORE) not in _SCALARS:
            raise self._error(event, f"the tag '{_as_written(tag)}' is not allowed: plain values only")
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            return self._loader.construct_object(node)
        except (ValueError, LookupError):
            kind = tag.removeprefix(_CORE)
            raise self._error(event, f"'{event.value[:40]}' cannot be read as {kind}") from None

    def _count(self, event: Event, num_values: int) -> None:
        self._num_values += num_values
        if self._num_values > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES:,} values, with those behind aliases")

    def _error(self, event: Event, message: str) -> UsageError:
        mark = event.start_mark
        return UsageError(f"{self._name}, line {mark.line + 1}, column {mark.column + 1}: {message}")


def _as_written(tag: str) -> str:
    return tag.replace(_CORE, "!!", 1)
