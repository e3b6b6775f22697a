"""A cell: one point of the matrix, as a frozen and validated value. No torch here.

    cell = make_cell(model="fast_cnn", augmentation="flip_crop", precision="bf16", ...)
    cell.cell_id      # '5b0c4e0f9a12': a hash of what the cell is, not of where it runs

Validation looks at the values only; whether this machine can run the cell is checked when it starts.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.augment.names import shortest_name
from harness.datasets.names import split_dataset_name
from harness.errors import UsageError, unknown_name
from harness.recipe import Recipe, first_problem
from models.external import SOURCES
from models.registry import MODELS

PROXY_MIN_SIZE = MODELS["fast_cnn"].min_image_size
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
StrategyName = Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"]
SHARDED = ("fsdp", "zero1", "zero2", "zero3")
"""Strategies under which each process has a part of the optimizer's state."""

WEIGHTS_IN_PARTS = ("fsdp", "zero3")


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
    """A name of `models/registry.py`, `timm:NAME` or `torchvision:NAME`."""

    small_stem: bool = False
    """Adapt the first layers of a timm or torchvision model to small images; the record says how."""

    pretrained: str | None = None
    """Where the weights come from that training starts with: `hub`, `package` or `file:PATH`."""

    weights_sha256: str | None = None
    """Of that file, once it is known; then the path to it does not count."""

    augmentation: str
    """A name or operations of `harness/augment/names.py`."""

    recipe: Recipe
    precision: Precision
    """`fp32` throughout, `tf32` for its matrix products, or autocast to `bf16` or `fp16`."""

    strategy: StrategyName = "single"
    """How the processes share the work: see `harness/strategy.py`."""

    num_processes: int = Field(default=1, ge=1)
    sync_batchnorm: bool = False
    """Normalise over the batches of all processes, not over each one's own."""

    accumulation_steps: int = Field(default=1, ge=1)
    """Micro-batches whose gradients are added up for one optimizer step."""

    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """Mode of `torch.compile` for training; `reduce-overhead` uses CUDA graphs."""

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
        if value not in MODELS and value.partition(":")[0] not in SOURCES:
            raise unknown_name("model", value, [*MODELS, *(f"{source}:NAME" for source in SOURCES)])
        return value

    @field_validator("pretrained")
    @classmethod
    def _known_weights(cls, value: str | None) -> str | None:
        if value in (None, "hub", "package") or (value.startswith("file:") and value != "file:"):
            return value
        raise UsageError(f"pretrained '{value}': expected hub, package or file:PATH")

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, value: str) -> str:
        return shortest_name(value)

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if (self.strategy == "single") != (self.num_processes == 1):
            raise UsageError(
                f"strategy '{self.strategy}' does not fit {self.num_processes} process(es): "
                "'single' is one process, all others two or more"
            )
        if self.sync_batchnorm and self.num_processes == 1:
            raise UsageError("--sync-batchnorm is about two processes or more: leave it out")
        self._check_model()
        self._check_sharding()
        parts = self.num_processes * self.accumulation_steps
        if self.recipe.batch_size % parts:
            raise UsageError(
                f"batch size {self.recipe.batch_size} is not divisible by {parts} "
                f"({self.num_processes} process(es) x {self.accumulation_steps} accumulation step(s)): "
                f"try --batch-size {max(1, round(self.recipe.batch_size / parts)) * parts}"
            )
        return self

    def _check_model(self) -> None:
        is_external, tuning = self.model not in MODELS, self.recipe.tuning
        if not is_external:
            _check_image_size(self.model, self.image_size, "--image-size")
            for size in sorted({self.image_size_at(epoch) for epoch in range(self.recipe.epochs)}):
                _check_image_size(self.model, size, "a larger start_scale, such that images have")
        if self.small_stem and not is_external:
            raise UsageError(f"model '{self.model}' is made for small images already: leave out --small-stem")
        if self.pretrained in ("hub", "package") and not is_external:
            raise UsageError(f"there are no published weights for '{self.model}': try --pretrained file:PATH")
        if self.pretrained is None and tuning != "all":
            source = "hub" if is_external else "file:PATH"
            raise UsageError(f"recipe: tuning '{tuning}' needs first weights: try --pretrained {source}")
        if self.compile != "none" and (tuning != "all" or self.recipe.start_scale < 1):
            raise UsageError(
                "a compiled model is trained as a whole and at one image size: leave out --compile, or "
                "start_scale and tuning"
            )
        if self.compile == "reduce-overhead" and self.accumulation_steps > 1:
            raise UsageError("--compile reduce-overhead cannot accumulate gradients: try --compile default")
        self._check_selection()
        if tuning == "head" and self.recipe.layer_lr_decay < 1:
            raise UsageError("recipe: tuning 'head' trains one layer: leave out layer_lr_decay")
        plain = self.augmentation == "none" and not self.mirror_tta and self.recipe.start_scale == 1
        if tuning == "head" and not plain:
            raise UsageError(
                "recipe: tuning 'head' computes the features of each image once: use --augment none, and "
                "neither --tta nor start_scale"
            )

    def _check_sharding(self) -> None:
        """Refuse what needs whole weights where each process has a part of them, or of their optimizer."""
        if self.strategy not in SHARDED:
            return
        reasons = {
            "optimizer 'muon' works on whole matrices": self.recipe.optimizer == "muon",
            "--compile compiles the model as a whole": self.compile != "none",
            f"tuning '{self.recipe.tuning}' freezes layers": self.recipe.tuning != "all",
        }
        for reason, applies in reasons.items():
            if applies:
                raise UsageError(
                    f"strategy '{self.strategy}' spreads the weights or their optimizer over the "
                    f"processes, and {reason}: use --strategy ddp"
                )

    def _check_selection(self) -> None:
        if self.recipe.keep_hardest == 1:
            return
        whole = self.num_processes == self.accumulation_steps == 1 and self.compile == "none"
        if not whole or self.recipe.tuning != "all":
            raise UsageError(
                "recipe: keep_hardest chooses from whole batches: use one process, no --accumulate, no "
                "--compile, and a recipe that trains all layers"
            )
        if self.image_size_at(0) < PROXY_MIN_SIZE:
            raise UsageError(f"recipe: keep_hardest needs images of {PROXY_MIN_SIZE} pixels or more")

    @property
    def num_kept(self) -> int:
        """Images of a global batch that the model is trained on; all of them, but for `keep_hardest`."""
        return max(2, round(self.recipe.keep_hardest * self.recipe.batch_size))

    def image_size_at(self, epoch: int) -> int:
        """Height and width of the training images in an epoch, counted from 0.

        Progressive resizing: from `start_scale` of the cell's image size to all of it, in a line over
        the first `full_scale_at` of the epochs, in steps of 4 pixels at 32x32 (as in Tan & Le 2021,
        arXiv 2104.00298, section 4.2).
        """
        recipe = self.recipe
        growing = recipe.full_scale_at * recipe.epochs
        if recipe.start_scale == 1 or epoch >= growing:
            return self.image_size
        scale = recipe.start_scale + (1 - recipe.start_scale) * epoch / growing
        step = max(1, self.image_size // 8)
        return min(self.image_size, step * round(scale * self.image_size / step))

    @property
    def league(self) -> str:
        """`pre-trained` or `from scratch`: the two are never ranked together."""
        return "from scratch" if self.pretrained is None else "pre-trained"

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
        if self.weights_sha256 is not None:
            content["pretrained"] = self.pretrained.partition(":")[0] if self.pretrained else None
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def micro_batch_size(self) -> int:
        """Images that one process takes through the model at once."""
        return self.micro_batch_size_in(self.accumulation_steps)

    def micro_batch_size_in(self, accumulation_steps: int) -> int:
        """The same where a step is taken in so many micro-batches, which memory may ask for."""
        return self.recipe.batch_size // (self.num_processes * accumulation_steps)

    def label(self) -> str:
        """A short name for people: `fast_cnn flip_crop bf16 seed 0`."""
        start = f" {self.recipe.tuning}" if self.recipe.tuning != "all" else ""
        start = f" pre-trained{start}" if self.pretrained else start
        strategy = "" if self.strategy in ("single", "ddp") else f" {self.strategy}"
        processes = f"{strategy} x{self.num_processes}" if self.num_processes > 1 else ""
        return f"{self.model}{start} {self.augmentation} {self.precision}{processes} seed {self.seed}"


def _check_image_size(model: str, size: int, cure: str) -> None:
    entry = MODELS[model]
    if size < entry.min_image_size:
        raise UsageError(
            f"model '{model}' needs images of {entry.min_image_size} pixels or more, not {size}: "
            f"try {cure} {entry.min_image_size}"
        )
    if size % entry.image_size_multiple:
        near = -(-size // entry.image_size_multiple) * entry.image_size_multiple
        raise UsageError(
            f"model '{model}' cuts images into patches of {entry.image_size_multiple} pixels, which do not "
            f"fit into {size}: try {cure} {near}"
        )


def make_cell(**values: Any) -> CellSpec:
    """Build a `CellSpec`.

    Raises:
        UsageError: a value is unknown, out of range or does not fit another; one line says which.
    """
    try:
        return CellSpec.model_validate(values)
    except ValidationError as error:
        raise UsageError(first_problem(error, "cell")) from None
