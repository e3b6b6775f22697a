"""What a matrix says beside its axes: settings, and rules that change, add and leave out cells. No torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.cell import Precision, StrategyName
from launch.matrix.names import (
    AugmentationName,
    DatasetName,
    ModelName,
    NumProcesses,
    OneOrMore,
    RecipeFields,
    RecipeName,
    Seed,
    Text,
    Weights,
    refuse,
)

AXES = {
    "dataset": "dataset",
    "model": "models",
    "recipe": "recipes",
    "augmentation": "augmentations",
    "precision": "precisions",
    "processes": "processes",
    "strategy": "strategies",
    "seed": "seeds",
}
"""Each axis as a cell has it, and the key of its list of values; in the order of the product."""

MAY_FOLLOW = ("augmentation", "strategy")
"""The axes that need no value: they follow from the recipe, and from the number of processes."""

SETTINGS = (
    "image_size",
    "val_fraction",
    "accumulation_steps",
    "mirror_tta",
    "small_stem",
    "pretrained",
    "compile",
    "sync_batchnorm",
)
"""What a cell has beside its axes and its recipe."""


class Part(BaseModel):
    """Base of all parts: frozen, and no key goes unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CellValues(Part):
    """Values that cells have beside the axes."""

    set: RecipeFields = {}
    """Fields that replace those of each recipe, such as `epochs: 30`."""

    image_size: int = Field(default=32, ge=8, le=1024)
    """Height and width in pixels of the images that the model sees."""

    val_fraction: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the training images held out to choose the epoch; 0: the last epoch counts."""

    accumulation_steps: int = Field(default=1, ge=1)
    """Micro-batches whose gradients are added up for one optimizer step."""

    mirror_tta: bool = False
    """Also score each test image together with its mirror image."""

    small_stem: bool = False
    """Adapt the first layers of timm: and torchvision: models to small images."""

    pretrained: Weights | None = None
    """Weights that training starts with: hub, package or file:PATH; null: none."""

    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """Mode of torch.compile."""

    sync_batchnorm: bool = False
    """Normalise over the batches of all processes."""

    def settings(self) -> dict[str, Any]:
        """Those of `SETTINGS` that are said here."""
        return {name: getattr(self, name) for name in SETTINGS if name in self.model_fields_set}


def _rule(min_keys: int) -> ConfigDict:
    """For the JSON schema of a rule: what is not said stays as it is, but something has to be said."""

    def describe(schema: dict[str, Any]) -> None:
        schema["minProperties"] = min_keys
        for name in schema["properties"]:
            schema["properties"][name].pop("default", None)

    return ConfigDict(json_schema_extra=describe)


class Where(Part):
    """Values on axes: of the cells that are meant, or of a cell that is added."""

    dataset: OneOrMore[DatasetName] | None = None
    model: OneOrMore[ModelName] | None = None
    recipe: OneOrMore[RecipeName] | None = None
    augmentation: OneOrMore[AugmentationName] | None = None
    precision: OneOrMore[Precision] | None = None
    processes: OneOrMore[NumProcesses] | None = None
    strategy: OneOrMore[StrategyName] | None = None
    seed: OneOrMore[Seed] | None = None

    def values(self) -> dict[str, tuple[Any, ...]]:
        """The values that are said, by axis."""
        lists = {axis: getattr(self, axis) for axis in AXES}
        return {axis: values for axis, values in lists.items() if values is not None}


class Match(Where):
    """The cells that have one of the values on every axis that is named; at least one is."""

    model_config = _rule(min_keys=1)

    @model_validator(mode="after")
    def _names_an_axis(self) -> Self:
        if not self.values():
            raise refuse(f"says nothing: name at least one of {', '.join(AXES)}")
        return self


class Override(CellValues):
    """Other values for the cells that match: an axis named here takes the place of the matrix's."""

    model_config = _rule(min_keys=2)

    match: Match
    dataset: OneOrMore[DatasetName] | None = None
    models: tuple[ModelName, ...] | None = Field(default=None, min_length=1)
    recipes: tuple[RecipeName, ...] | None = Field(default=None, min_length=1)
    augmentations: tuple[AugmentationName, ...] | None = Field(default=None, min_length=1)
    precisions: tuple[Precision, ...] | None = Field(default=None, min_length=1)
    processes: OneOrMore[NumProcesses] | None = None
    strategies: tuple[StrategyName, ...] | None = Field(default=None, min_length=1)
    seeds: tuple[Seed, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.model_fields_set == {"match"}:
            raise refuse("changes nothing: give other values beside match")
        return self

    def lists(self) -> dict[str, tuple[Any, ...]]:
        """The values that replace those of an axis, by axis."""
        lists = {axis: getattr(self, key) for axis, key in AXES.items() if key in self.model_fields_set}
        return {
            axis: (None,) if values is None else values
            for axis, values in lists.items()
            if values is not None or axis in MAY_FOLLOW
        }


class Include(Where, CellValues):
    """A cell that is no part of the product; several values on an axis mean as many cells.

    An axis that is not named has the value of the matrix, which then has a single one.
    """

    model_config = _rule(min_keys=1)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise refuse(f"says nothing: name at least one of {', '.join(AXES)}")
        return self


class Exclude(Part):
    """Cells that are left out, and why."""

    match: Match
    reason: Text
    """Shown in the plan beside the cells."""
