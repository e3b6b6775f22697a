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

from harness.cell import CellSpec, Precision, StrategyName, make_cell
from harness.errors import UsageError, unknown_name
from harness.recipe import first_problem
from harness.recipes import DEFAULT_RECIPE, recipe_for, recipe_named

PRESETS_DIR = Path(__file__).resolve().parent / "presets"


class Matrix(BaseModel):
    """Axes of a benchmark; the cells are their product."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    models: tuple[str, ...] = Field(default=("fast_cnn",), min_length=1)
    augmentations: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Null: the one that goes with each recipe."""

    recipes: tuple[str, ...] = Field(default=(DEFAULT_RECIPE,), min_length=1)
    precisions: tuple[Precision, ...] = Field(default=("bf16",), min_length=1)
    strategies: tuple[StrategyName, ...] | None = Field(default=None, min_length=1)
    """Null: `single` for one process, `ddp` for more."""

    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    set: dict[str, Any] = {}
    """Fields that replace those of each recipe."""

    image_size: int = 32
    val_fraction: float = 0.1
    accumulation_steps: int = 1
    mirror_tta: bool = False
    small_stem: bool = False
    pretrained: str | None = None
    compile: str = "none"
    sync_batchnorm: bool = False


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
    for name in matrix.recipes:
        if recipe_named(name).needs_weights and matrix.pretrained is None:
            raise UsageError(f"recipe '{name}' is for models that start from weights: say --pretrained")
    strategies = matrix.strategies or ("single" if num_processes == 1 else "ddp",)
    cells = [
        make_cell(
            dataset=matrix.dataset,
            image_size=matrix.image_size,
            val_fraction=matrix.val_fraction,
            model=model,
            small_stem=matrix.small_stem,
            pretrained=matrix.pretrained,
            augmentation=augmentation,
            recipe=recipe_for(model, recipe, matrix.set),
            precision=precision,
            strategy=strategy,
            num_processes=num_processes,
            sync_batchnorm=matrix.sync_batchnorm,
            accumulation_steps=matrix.accumulation_steps,
            compile=matrix.compile,
            mirror_tta=matrix.mirror_tta,
            seed=seed,
        )
        for model, recipe in product(matrix.models, matrix.recipes)
        for augmentation in matrix.augmentations or (recipe_named(recipe).augmentation,)
        for precision, strategy, seed in product(matrix.precisions, strategies, matrix.seeds)
    ]
    return list({cell.cell_id: cell for cell in cells}.values())
