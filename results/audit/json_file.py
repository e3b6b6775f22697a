"""A vendor's predictions in a JSON file.

| JSON                                             | one answer is                                           |
|--------------------------------------------------|---------------------------------------------------------|
| `[answer, ...]` in data set order                | a class index or name; a list of C probabilities; or an |
| `[{"image": "0.png", answer}, ...]`, any order   | object with `class`, `probabilities` (a list, or by     |
| `{"0.png": answer, ...}`, any order              | class name) or both, and perhaps its image              |
| `{"predictions": one of these}`                  |                                                         |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import DataError
from results.audit.answers import Answers, shown
from results.audit.names import CLASS_COLUMNS, IMAGE_COLUMNS, PROBABILITY_FIELDS
from results.audit.text import decode, read_bounded

MAX_BYTES = 2**26

_SHAPES = 'give a list with one answer for each image, an object by image, or {"predictions": one of these}'


def read_json_file(path: Path, answers: Answers) -> None:
    """Add every answer of a JSON file.

    Raises:
        UsageError: there is no such file.
        DataError: no JSON, another shape, or answers that are unclear or impossible.
    """
    content = parse_json(decode(read_bounded(path, MAX_BYTES), path), str(path))
    if isinstance(content, dict) and content.keys() == {"predictions"}:
        content = content["predictions"]
    if isinstance(content, dict):
        entries: Iterable[tuple[str | None, Any]] = content.items()
    elif isinstance(content, list):
        entries = ((None, answer) for answer in content)
    else:
        raise DataError(f"{path}: holds {shown(content)} alone: {_SHAPES}")
    for number, (key, answer) in enumerate(entries):
        where = f"{path}: item {number}" if key is None else f"{path}: {shown(key)}"
        add_answer(answers, where, key, answer)


def parse_json(text: str, source: str) -> Any:
    """The value of a JSON text: no name twice in an object, no NaN, no nesting that exhausts the stack.

    Raises:
        DataError: it is none; the line is named.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{source}:{error.lineno}: is no JSON: {error.msg}, at column {error.colno}"
        ) from None
    except RecursionError:
        raise DataError(f"{source}: is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{source}: {error}") from None


def add_answer(answers: Answers, where: str, key: object, answer: Any) -> None:
    """Add one answer as JSON has it.

    Args:
        answers: that it is added to.
        where: file and item, for an error.
        key: how its image is called; None: as the answer says, or the next one.
        answer: a class, a list of probabilities, or an object.

    Raises:
        DataError: the answer is unclear or impossible.
    """
    if isinstance(answer, list):
        answers.add(where, key, probs=answer)
    elif not isinstance(answer, Mapping):
        answers.add(where, key, predicted=answer)
    else:
        named = _field(answer, IMAGE_COLUMNS, where)
        if named is not None and key is not None:
            raise DataError(f"{where}: names its image a second time")
        probs = _field(answer, PROBABILITY_FIELDS, where)
        if probs is not None and not isinstance(probs, list | Mapping):
            raise DataError(f"{where}: its probabilities are {shown(probs)}, neither a list nor by class")
        predicted = _field(answer, CLASS_COLUMNS, where)
        answers.add(where, named if key is None else key, predicted=predicted, probs=probs)


def _field(answer: Mapping[str, Any], names: tuple[str, ...], where: str) -> Any:
    there = [name for name in names if answer.get(name) is not None]
    if len(there) > 1:
        raise DataError(f"{where}: has both '{there[0]}' and '{there[1]}': leave one out")
    return answer[there[0]] if there else None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(double)} is there twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"holds {name}, which is not a number")
