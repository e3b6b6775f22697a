"""What building and buying are assumed to cost: shipped figures, and what a user knows better. No numpy here.

    assumptions = load_assumptions()
    assumptions = load_assumptions(Path("ours.yaml"), ["images_per_year=2000000", "label_usd.high=0.2"])
    assumptions["images_per_year"].value

A value that is given without `low` and `high` is taken to be known. Money is in real US dollars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from harness.errors import UsageError, unknown_name
from results.economics.blocks import VALUE, Block, parse_blocks, read_blocks
from results.economics.keys import KEYS

SHIPPED_PATH = Path(__file__).with_name("assumptions.yaml")

Words = Annotated[str, Field(min_length=1, max_length=2000)]


class Assumption(BaseModel):
    """One figure: what it is taken to be, between which ends it may lie, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float
    """Most likely (triangular, pert), or the median (lognormal)."""

    low: float
    high: float
    """Ends of what is plausible; 5% and 95% points where the distribution is lognormal."""

    distribution: Literal["triangular", "pert", "lognormal", "uniform"]
    unit: Words
    as_of: date | None
    """When it was valid or read; None where a user gave the figure without a date."""

    source: Words | None = None
    assumption: Words | None = None

    @property
    def is_known(self) -> bool:
        """Whether it has no range."""
        return self.low == self.high

    @model_validator(mode="after")
    def _is_sound(self) -> Assumption:
        if not self.low <= self.value <= self.high:
            problem = f"value {self.value:g} has to lie between low {self.low:g} and high {self.high:g}"
        elif self.distribution == "lognormal" and self.low <= 0 and not self.is_known:
            problem = f"low {self.low:g} has to be above 0 where the distribution is lognormal"
        elif self.source is None and self.assumption is None:
            problem = "it has neither a source nor says what is assumed"
        else:
            return self
        raise PydanticCustomError("unsound", "{problem}", {"problem": problem})


@dataclass(frozen=True)
class Assumptions(Mapping[str, Assumption]):
    """Every assumption by its key, in the order of the shipped file."""

    entries: dict[str, Assumption]
    given: frozenset[str] = frozenset()
    """Keys of which a user said something: nothing but another word of the user replaces these."""

    def __getitem__(self, key: str) -> Assumption:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def known(self, key: str, value: float, because: str) -> Assumptions:
        """The same with one figure that is known.

        Raises:
            UsageError: the figure is outside of what it can be.
        """
        block = Block({VALUE: repr(value), "source": because}, {}, 0)
        entry = _overridden(key, self.entries[key], block, because, key)
        return Assumptions(self.entries | {key: entry}, self.given)


def load_assumptions(path: Path | None = None, settings: Sequence[str] = ()) -> Assumptions:
    """The shipped assumptions, with what a file and then `settings` say instead.

    Args:
        path: a YAML file with some of the keys of the shipped one.
        settings: `key=value`, or `key.field=value`, each.

    Raises:
        UsageError: a file or setting that cannot be used; one line says where and why.
    """
    entries = dict(shipped_assumptions())
    in_file = {} if path is None else read_blocks(path)
    for key, block in in_file.items():
        place = f"{path}, line {block.line}, {key}"
        entries[key] = _overridden(key, _entry(entries, key, place), block, f"given in {path}", place)
    set_alone = _setting_blocks(settings)
    for key, block in set_alone.items():
        place = f"--set {key}"
        entries[key] = _overridden(key, _entry(entries, key, place), block, "given by --set", place)
    return Assumptions(entries, frozenset({*in_file, *set_alone}))


@cache
def shipped_assumptions() -> Assumptions:
    """The assumptions of `assumptions.yaml`."""
    name = SHIPPED_PATH.name
    blocks = parse_blocks(SHIPPED_PATH.read_text(encoding="utf-8"), name)
    assert list(blocks) == list(KEYS)
    return Assumptions(
        {
            key: _validated(key, dict(block.fields), block, f"{name}, line {block.line}, {key}")
            for key, block in blocks.items()
        }
    )


def _entry(entries: Mapping[str, Assumption], key: str, place: str) -> Assumption:
    if key not in entries:
        raise UsageError(f"{place}: {unknown_name('assumption', key, entries)}")
    return entries[key]


def _setting_blocks(settings: Sequence[str]) -> dict[str, Block]:
    fields: dict[str, dict[str, str]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        key, _, field = name.strip().partition(".")
        if not (equals and key and name.isprintable()):
            raise UsageError(f"--set {setting[:60]!r}: expected key=value, such as images_per_year=2000000")
        fields.setdefault(key, {})[field or VALUE] = value.strip()
    return {key: Block(given, {}, 0) for key, given in fields.items()}


def _overridden(key: str, entry: Assumption, block: Block, origin: str, place: str) -> Assumption:
    """`entry` with the fields of `block`; a new figure does not keep the source of the old one."""
    given: dict[str, Any] = dict(block.fields)
    if given.get("unit", entry.unit) != entry.unit:
        raise UsageError(f"{place}.unit: has to stay '{entry.unit}'")
    merged = entry.model_dump() | given
    if VALUE in given and not {"low", "high"} & given.keys():
        merged["low"] = merged["high"] = given[VALUE]
    if VALUE in given:
        merged["as_of"] = given.get("as_of")
        merged["source"] = given.get("source")
        merged["assumption"] = given.get("assumption", None if "source" in given else origin)
    elif {"low", "high"} & given.keys() and "assumption" not in given:
        merged["assumption"] = "; ".join(filter(None, (entry.assumption, f"range {origin}")))
    return _validated(key, merged, block, place)


def _validated(key: str, fields: dict[str, Any], block: Block, place: str) -> Assumption:
    try:
        entry = Assumption.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        raise UsageError(f"{_at(place, key, field, block)}: {_words(problem, field)}") from None
    minimum, maximum = KEYS[key].minimum, KEYS[key].maximum
    for field in (VALUE, "low", "high"):
        number = getattr(entry, field)
        if not minimum <= number <= maximum:
            raise UsageError(
                f"{_at(place, key, field, block)}: {number:g} is outside of {minimum:g} to {maximum:g} "
                f"({entry.unit})"
            )
    return entry


def _at(place: str, key: str, field: str, block: Block) -> str:
    """The place of one field: its own line, where it has one."""
    if field in block.lines:
        place = place.replace(f", line {block.line}, {key}", f", line {block.lines[field]}, {key}")
    alone = not field or (field == VALUE and len(block.fields) == 1)
    return place if alone else f"{place}.{field}"


def _words(problem: ErrorDetails, field: str) -> str:
    shown = repr(str(problem["input"])[:60])
    if problem["type"] == "extra_forbidden":
        return f"there is no such field: {', '.join(Assumption.model_fields)}"
    if problem["type"] == "missing":
        return f"'{field}' is missing"
    if problem["type"] in ("float_parsing", "finite_number", "float_type"):
        return f"{shown} is not a finite number"
    return problem["msg"] if problem["type"] == "unsound" else f"{problem['msg']}, not {shown}"
