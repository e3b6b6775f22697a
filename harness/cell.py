"""A cell: one point of the matrix, as a frozen and validated value. No torch here.

    cell = make_cell(model="fast_cnn", augmentation="flip_crop", precision="bf16", ...)
    cell.cell_id      # '5b0c4e0f9a12': a hash of what the cell is, not of where it runs

Validation looks at the values only; whether this machine can run the cell is checked when it starts.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.augment.names import AUGMENTATIONS
from harness.datasets.names import split_dataset_name
from harness.errors import UsageError, unknown_name
from models.registry import MODELS

Precision = Literal["fp32", "bf16", "fp16"]
Strategy = Literal["single", "ddp"]


class Recipe(BaseModel):
    """How a model is trained: everything an optimizer and a schedule need."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """Global: images per optimizer step, over all processes and accumulated micro-batches."""

    optimizer: Literal["sgd", "adamw"]
    """`sgd` is SGD with Nesterov momentum."""

    lr: float = Field(gt=0)
    """Peak learning rate, for the loss averaged over the global batch."""

    weight_decay: float = Field(ge=0)
    """Not applied to biases and normalisation weights."""

    schedule: Literal["cosine", "triangular"]
    """Decay after the warm-up, to `final_lr_fraction` of the peak: half a cosine, or a line."""

    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD, beta1 of AdamW."""

    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps in which the learning rate rises linearly to its peak."""

    final_lr_fraction: float = Field(default=0.0, ge=0, le=1)

    norm_bias_lr_scale: float = Field(default=1.0, gt=0)
    """Factor on the learning rate of normalisation biases (64 in airbench94, arXiv 2404.00498)."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    crop_padding: int = Field(default=4, ge=1, le=16)
    """Pixels by which `crop` shifts an image at most, at 32x32; larger images in proportion."""

    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of the moving average of the weights that is evaluated; null: no average."""


class CellSpec(BaseModel):
    """One point of the matrix."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    """History: 1, the first (2026-11)."""

    dataset: str
    """`cifar10`, `digits` or `imagefolder:PATH`."""

    data_fingerprint: str | None = None
    """sha256 of the data this cell is about; null for a data set with one published content."""

    image_size: int = Field(default=32, ge=8, le=1024)
    """Height and width, in pixels, of the images that the model sees."""

    val_fraction: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the training images held out for selection; 0: no selection, the last epoch counts."""

    model: str
    augmentation: str
    recipe: Recipe
    precision: Precision
    strategy: Strategy = "single"
    num_processes: int = Field(default=1, ge=1)
    accumulation_steps: int = Field(default=1, ge=1)
    """Micro-batches whose gradients are added up for one optimizer step."""

    mirror_tta: bool = False
    """Also score the test set on the mean of each image's logits and its mirror image's."""

    seed: int = Field(default=0, ge=0, lt=2**31)

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, value: str) -> str:
        split_dataset_name(value)
        return value

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        if value not in MODELS:
            raise unknown_name("model", value, MODELS)
        return value

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, value: str) -> str:
        if value not in AUGMENTATIONS:
            raise unknown_name("augmentation", value, AUGMENTATIONS)
        return value

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if (self.strategy == "single") != (self.num_processes == 1):
            raise UsageError(
                f"strategy '{self.strategy}' does not fit {self.num_processes} process(es): "
                "'single' is one process, 'ddp' two or more"
            )
        smallest = MODELS[self.model].min_image_size
        if self.image_size < smallest:
            raise UsageError(
                f"model '{self.model}' needs images of {smallest} pixels or more, not {self.image_size}: "
                f"try --image-size {smallest}"
            )
        parts = self.num_processes * self.accumulation_steps
        if self.recipe.batch_size % parts:
            raise UsageError(
                f"batch size {self.recipe.batch_size} is not divisible by {parts} "
                f"({self.num_processes} process(es) x {self.accumulation_steps} accumulation step(s)): "
                f"try --batch-size {max(1, round(self.recipe.batch_size / parts)) * parts}"
            )
        return self

    @property
    def cell_id(self) -> str:
        """Twelve hex digits, equal on every machine for the same cell.

        Fields at their default are left out of the hash, so a later version of the code can add a
        field without renaming old cells. Where the fingerprint says which data is meant, the path
        to it does not count.
        """
        content = self.model_dump(exclude_defaults=True)
        content["schema_version"] = self.schema_version
        if self.data_fingerprint is not None:
            content["dataset"] = split_dataset_name(self.dataset)[0]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def micro_batch_size(self) -> int:
        """Images that one process takes through the model at once."""
        return self.recipe.batch_size // (self.num_processes * self.accumulation_steps)

    def label(self) -> str:
        """A short name for people: `fast_cnn flip_crop bf16 seed 0`."""
        processes = f" x{self.num_processes}" if self.num_processes > 1 else ""
        return f"{self.model} {self.augmentation} {self.precision}{processes} seed {self.seed}"


def make_cell(**values: Any) -> CellSpec:
    """Build a `CellSpec`.

    Raises:
        UsageError: a value is unknown, out of range or does not fit another; one line says which.
    """
    try:
        return CellSpec.model_validate(values)
    except ValidationError as error:
        raise UsageError(first_problem(error, "cell")) from None


def make_recipe(values: dict[str, Any]) -> Recipe:
    """Build a `Recipe`.

    Raises:
        UsageError: a value is missing, unknown or out of range; one line says which.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise UsageError(first_problem(error, "recipe")) from None


def first_problem(error: ValidationError, what: str) -> str:
    """The first problem of a pydantic error as one line: which key, what is wrong, what was given."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{what}: '{key}' is missing"
    if problem["type"] == "extra_forbidden":
        return f"{what}: there is no '{key}'"
    if problem["type"] == "json_invalid":
        return f"{what}: {problem['msg']}"
    return f"{what}: {key}: {problem['msg']}, not {textwrap.shorten(repr(problem['input']), 80)}"
