"""From a record to the light value that plans and status use, without validating all of it. No torch here.

Its sections must have exactly the fields that this version knows, and what is taken from them must be of
the right type: a record of another schema is not taken for what it seems to say. Of the history only the
selected epoch is read, since a long one takes ten times as long to parse as all the rest.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from pydantic import BaseModel

from harness.cell import CellSpec
from harness.datasets.base import DataProvenance
from harness.measurements import Measurements
from harness.recipe import Recipe
from harness.record import Environment, Failure, ModelFacts, Record
from launch.plan.facts import CellState, RunFacts, recipe_shape

RECORD_SCHEMA, CELL_SCHEMA = 1, 1

_SECTIONS: tuple[type[BaseModel], ...] = (
    Record,
    CellSpec,
    Recipe,
    Environment,
    DataProvenance,
    ModelFacts,
    Measurements,
    Failure,
)
_FIELDS = {section: section.model_fields.keys() for section in _SECTIONS}
_DEFAULTS = {
    section: {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in section.model_fields.items()
        if not field.is_required()
    }
    for section in _SECTIONS
}
"""Of fields that records made before there was the field do not have."""

KNOWN_SCHEMA = [RECORD_SCHEMA, CELL_SCHEMA, *(sorted(fields) for fields in _FIELDS.values())]
"""Changes when another record could be read."""

_HISTORY, _END_OF_HISTORY = b'\n "history": [', b"\n ],"
"""As `write_record` indents them; a line break inside of a string would be escaped."""

_T = TypeVar("_T")


class UnreadableError(Exception):
    """Why a record is not taken for what it says."""


def state_of_record(cell_id: str, content: bytes) -> CellState:
    """What the content of a record's file says.

    Raises:
        UnreadableError: it is not a record of this cell in the schema that this version knows.
    """
    try:
        values, history = _parse(content)
    except (ValueError, RecursionError):
        raise UnreadableError("is not JSON") from None
    record = _section(values, Record, "record")
    if record["schema_version"] != RECORD_SCHEMA:
        raise UnreadableError(f"has schema version {record['schema_version']!r}, not {RECORD_SCHEMA}")
    cell = _section(record["cell"], CellSpec, "cell")
    if cell["schema_version"] != CELL_SCHEMA:
        raise UnreadableError(
            f"has a cell of schema version {cell.get('schema_version')!r}, not {CELL_SCHEMA}"
        )
    if record["cell_id"] != cell_id:
        raise UnreadableError("is the record of another cell")
    ended_at = _value(record, "ended_at", str)
    status = record["status"]
    if status == "failed":
        failure = _section(record.get("failure"), Failure, "failure")
        return CellState(
            cell_id,
            "failed",
            kind=_value(failure, "kind", str),
            reason=_value(failure, "message", str),
            ended_at=ended_at,
            burnt_s=_number(failure, "burnt_s"),
            label=_label(cell),
        )
    if status != "finished":
        raise UnreadableError("has a status that is neither finished nor failed")
    return CellState(
        cell_id,
        "finished",
        ended_at=ended_at,
        val_accuracy=_val_accuracy(record, history),
        label=_label(cell),
        facts=_facts(record, cell),
    )


def _section(values: object, section: type[BaseModel], name: str) -> dict[str, Any]:
    """`values` as a dict with the fields of that section and no others, absent ones at their default."""
    if not isinstance(values, dict):
        raise UnreadableError(f"has no {name}" if values is None else f"has a {name} that is no JSON object")
    if values.keys() == _FIELDS[section]:
        return values
    unknown = values.keys() - _FIELDS[section]
    if unknown:
        raise UnreadableError(f"has a {name} with '{min(unknown)}', which this version does not know")
    missing = _FIELDS[section] - _DEFAULTS[section].keys() - values.keys()
    if missing:
        raise UnreadableError(f"has a {name} without '{min(missing)}'")
    return _DEFAULTS[section] | values


def _value(section: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = section.get(name)
    if type(value) is not kind:
        raise UnreadableError(f"has a '{name}' that is not of type {kind.__name__}")
    return value


def _number(section: dict[str, Any], name: str) -> float:
    value = section.get(name)
    if (type(value) is not float and type(value) is not int) or not math.isfinite(value):
        raise UnreadableError(f"has a '{name}' that is no finite number")
    return float(value)


def _parse(content: bytes) -> tuple[Any, bytes]:
    """The values of a record without its history, and the rows of that as they are written.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    start = content.find(_HISTORY)
    end = content.find(_END_OF_HISTORY, start)
    if start < 0 or end < 0:
        return json.loads(content), b""
    start += len(_HISTORY)
    return json.loads(content[:start] + content[end:]), content[start:end]


def _val_accuracy(record: dict[str, Any], history: bytes) -> float | None:
    """On the validation images, of the epoch that was selected."""
    selected = record.get("selected_epoch")
    rows = record.get("history")
    if history and isinstance(selected, int):
        start = history.find(b'\n   "epoch": %d,' % selected)
        end = history.find(b"\n  }", start)
        rows = _row(history[start:end]) if 0 <= start < end else []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("epoch") == selected:
            value = row.get("val_accuracy")
            return float(value) if isinstance(value, float | int) else None
    return None


def _row(text: bytes) -> list[Any]:
    try:
        return [json.loads(b"{%b}" % text)]
    except ValueError:
        raise UnreadableError("has a history that is not JSON") from None


def _label(cell: dict[str, Any]) -> str:
    """A name for people, where the whole cell is not at hand."""
    words = [_value(cell, name, str) for name in ("model", "augmentation", "precision")]
    return f"{' '.join(words)} seed {cell.get('seed', 0)}"


def _facts(record: dict[str, Any], cell: dict[str, Any]) -> RunFacts:
    recipe = _section(cell["recipe"], Recipe, "recipe")
    environment = _section(record["environment"], Environment, "environment")
    data = _section(record.get("data"), DataProvenance, "data section")
    model = _section(record.get("model"), ModelFacts, "model section")
    measured = _section(record.get("measurements"), Measurements, "measurements section")
    fingerprint = cell.get("data_fingerprint")
    return RunFacts(
        dataset=_value(cell, "dataset", str),
        data_fingerprint=None if fingerprint is None else str(fingerprint),
        image_size=_value(cell, "image_size", int),
        model=_value(cell, "model", str),
        small_stem=_value(cell, "small_stem", bool),
        league="from scratch" if cell.get("pretrained") is None else "pre-trained",
        augmentation=_value(cell, "augmentation", str),
        precision=_value(cell, "precision", str),
        strategy=_value(cell, "strategy", str),
        num_processes=_value(cell, "num_processes", int),
        compile=_value(cell, "compile", str),
        mirror_tta=_value(cell, "mirror_tta", bool),
        epochs=_value(recipe, "epochs", int),
        batch_size=_value(recipe, "batch_size", int),
        tuning=_value(recipe, "tuning", str),
        shape=recipe_shape(recipe),
        hostname=_value(environment, "hostname", str),
        device=_value(environment, "device", str),
        device_type=_value(environment, "device_type", str),
        threads=_value(environment, "threads_per_process", int),
        kind=_value(data, "dataset", str),
        fingerprint=_value(data, "fingerprint", str),
        num_train=_value(data, "num_train_images", int),
        num_test=_value(data, "num_test_images", int),
        num_classes=len(_value(data, "class_names", list)),
        num_fit=_value(record, "num_fit_images", int),
        num_val=_value(record, "num_val_images", int),
        forward_flops_per_image=_value(model, "forward_flops_per_image", int),
        train_flops_per_image=_value(model, "train_flops_per_image", int),
        total_train_flops=_value(model, "total_train_flops", int),
        wall_time_s=_number(measured, "wall_time_s"),
        train_time_s=_number(measured, "train_time_s") + _number(measured, "first_step_time_s"),
        evaluate_time_s=_number(measured, "evaluate_time_s"),
        checkpoint_time_s=_number(measured, "checkpoint_time_s"),
    )
