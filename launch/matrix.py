"""The matrix: lists of values for each axis, and the cells that they make. No torch here.

matrix = make_matrix({"dataset": "digits", "models": ["mlp"], "seeds": [0, 1]})
cells = expand(matrix, num_processes=1)
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.cell import CellSpec, Precision, first_problem, make_cell
from harness.errors import UsageError, unknown_name
from harness.recipes import recipe_for

PRESETS_DIR = Path(__file__).resolve().parent / "presets"


class Matrix(BaseModel):
    """Axes of a benchmark; the cells are their product."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    models: tuple[str, ...] = Field(default=("fast_cnn",), min_length=1)
    augmentations: tuple[str, ...] = Field(default=("flip_crop",), min_length=1)
    precisions: tuple[Precision, ...] = Field(default=("bf16",), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    recipe: dict[str, Any] = {}
    """Recipe fields that replace those of each model's default recipe."""

    image_size: int = 32
    val_fraction: float = 0.1
    accumulation_steps: int = 1
    mirror_tta: bool = False


def make_matrix(values: dict[str, Any]) -> Matrix:
    """Build a `Matrix`.

    Raises:
        UsageError: an axis is unknown, empty or of the wrong type; one line says which.
    """
    try:
        return Matrix.model_validate(values)
    except ValidationError as error:
        raise UsageError(first_problem(error, "matrix")) from None


def load_preset(name: str) -> dict[str, Any]:
    """The axes of a shipped preset.

    Raises:
        UsageError: there is no preset of that name.
    """
    path = PRESETS_DIR / f"{name}.yaml"
    names = [preset.stem for preset in PRESETS_DIR.glob("*.yaml")]
    if name not in names:
        raise unknown_name("preset", name, names)
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


def expand(matrix: Matrix, num_processes: int) -> list[CellSpec]:
    """Every cell of the matrix once, the seeds of one configuration next to each other.

    Raises:
        UsageError: a value is unknown, out of range or does not fit another.
    """
    cells = [
        make_cell(
            dataset=matrix.dataset,
            image_size=matrix.image_size,
            val_fraction=matrix.val_fraction,
            model=model,
            augmentation=augmentation,
            recipe=recipe_for(model, matrix.recipe),
            precision=precision,
            strategy="single" if num_processes == 1 else "ddp",
            num_processes=num_processes,
            accumulation_steps=matrix.accumulation_steps,
            mirror_tta=matrix.mirror_tta,
            seed=seed,
        )
        for model, augmentation, precision, seed in product(
            matrix.models, matrix.augmentations, matrix.precisions, matrix.seeds
        )
    ]
    return list({cell.cell_id: cell for cell in cells}.values())
