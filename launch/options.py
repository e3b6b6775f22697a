"""From the words of a command line to the cells they mean. No torch here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from harness.cell import CellSpec, make_cell
from harness.errors import UsageError
from launch.matrix.files import load_preset
from launch.matrix.matrix import expand, expand_matrix, make_matrix, with_overrides

DEMO_PRESET = "demo"
_WHAT_TO_TRAIN = {"dataset", "models", "augmentations"}


def split_list(text: str | None) -> tuple[str, ...] | None:
    """The parts of a comma-separated list; None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def recipe_fields(settings: list[str]) -> dict[str, Any]:
    """Recipe fields from `KEY=VALUE` words, the values read as YAML.

    Raises:
        UsageError: a word is not of that form.
    """
    fields = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            fields[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise UsageError(f"--set {setting}: expected KEY=VALUE, such as lr=0.2")
    return fields


def matrix_cells(
    preset: str | None, axes: dict[str, Any], settings: dict[str, Any], num_processes: int
) -> list[CellSpec]:
    """The cells of a preset whose axes and recipe fields are replaced by those given.

    The demo preset is meant where nothing says what to train. The precision that `accelerate launch`
    was told counts where no other is given.

    Raises:
        UsageError: a value is unknown, out of range or does not fit another, or the preset has cells
            that cannot share one process group.
    """
    if preset is None and not axes.keys() & _WHAT_TO_TRAIN:
        preset = DEMO_PRESET
    told = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if told != "no" and "precisions" not in axes:
        axes = axes | {"precisions": (told,)}
    if preset is None:
        return expand(make_matrix(axes | {"set": settings}), num_processes)
    matrix = with_overrides(load_preset(preset), axes | {"processes": num_processes}, settings)
    cells = expand_matrix(matrix).cells
    _check_alike(cells, preset)
    return cells


def _check_alike(cells: list[CellSpec], preset: str) -> None:
    """One command loads one data set at one size; cells in processes of their own may differ."""
    kinds = {
        "data sets": {cell.dataset for cell in cells},
        "image sizes": {str(cell.image_size) for cell in cells},
    }
    for what, values in kinds.items():
        if len(values) > 1:
            several = ", ".join(sorted(values))
            raise UsageError(
                f"preset '{preset}' has cells of several {what} ({several}): run them with "
                f"python -m launch run {preset}"
            )


def read_cell(path: Path) -> CellSpec:
    """The one cell in a JSON file, such as `runs/<cell_id>/cell.json`.

    Raises:
        UsageError: the file cannot be read, or is not a cell.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read a cell from {path}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"cannot read a cell from {path}: expected a JSON object")
    return make_cell(**values)
