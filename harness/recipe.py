"""How a model is trained, as a frozen and validated value. No torch here."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError


class Recipe(BaseModel):
    """How a model is trained: everything an optimizer and a schedule need."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """Global: images per optimizer step, over all processes and accumulated micro-batches."""

    optimizer: Literal["sgd", "adamw", "muon"]
    """`sgd` is SGD with Nesterov momentum; `muon` is Muon for the hidden weights and `sgd` for the rest."""

    lr: float = Field(gt=0)
    """Peak learning rate, for the loss averaged over the global batch."""

    weight_decay: float = Field(ge=0)
    """Not applied to biases and normalisation weights."""

    schedule: Literal["cosine", "triangular", "step"]
    """Decay after the warm-up, to `final_lr_fraction` of the peak: half a cosine, a line, or in steps.

    `step` divides by ten at a half and at three quarters of the training, and has no final fraction.
    """

    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD and Muon, beta1 of AdamW."""

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

    muon_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of Muon; `lr` is then that of the other parameters."""

    muon_momentum: float = Field(default=0.6, ge=0, lt=1)

    start_scale: float = Field(default=1.0, ge=0.25, le=1)
    """Progressive resizing: size of the first training images as a share of the image size."""

    full_scale_at: float = Field(default=0.6, gt=0, le=1)
    """Share of the epochs after which training images have their full size."""

    keep_hardest: float = Field(default=1.0, gt=0, le=1)
    """Share of each batch that the model is trained on: the images that a small net, which is trained
    along on the same images, finds hardest (see `harness/selection.py`)."""

    tuning: Literal["all", "head", "gradual"] = "all"
    """What of a pre-trained model is trained: all of it, the head on features that are computed once,
    or more and more layers from the head down over the first half (arXiv 1801.06146, section 3.3)."""

    layer_lr_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of each group of layers over that of the group above it (the same, section 3.2)."""

    @model_validator(mode="after")
    def _muon_has_its_rate(self) -> Self:
        if (self.optimizer == "muon") != (self.muon_lr is not None):
            raise UsageError(
                "recipe: optimizer 'muon' needs muon_lr, and no other has it: try --set muon_lr=0.24"
            )
        return self


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
