"""A small matrix, with whatever a test adds to it."""

from __future__ import annotations

from typing import Any

from harness.cell import CellSpec
from launch.matrix.cells import Expanded
from launch.matrix.matrix import expand_matrix, make_matrix, with_overrides

TWO = {"models": ["resnet20", "vit_tiny"], "augmentations": ["none", "cutout"], "precisions": ["fp32"]}


def expanded(*, typed: Any = None, fields: Any = None, **axes: Any) -> Expanded:
    matrix = make_matrix(TWO | axes)
    if typed is not None or fields is not None:
        matrix = with_overrides(matrix, typed or {}, fields or {})
    return expand_matrix(matrix)


def named(cells: list[CellSpec], *fields: str) -> list[Any]:
    values = [tuple(getattr(cell, field) for field in fields) for cell in cells]
    return [value[0] if len(fields) == 1 else value for value in values]
