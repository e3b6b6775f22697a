"""What is kept of a run for plans and status: light, flat values. No torch here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from harness.cell import CellSpec

Status = Literal["finished", "failed", "paused", "unfinished", "unreadable"]


class RunFacts(NamedTuple):
    """What a finished run says about the time and compute of others, as its record has it."""

    dataset: str
    data_fingerprint: str | None
    """As the cell names it; null for a data set with one published content."""

    image_size: int
    model: str
    small_stem: bool
    league: str
    augmentation: str
    precision: str
    strategy: str
    num_processes: int
    compile: str
    mirror_tta: bool
    epochs: int
    batch_size: int
    tuning: str
    shape: str
    """See `recipe_shape`."""

    hostname: str
    device: str
    device_type: str
    threads: int
    """Of each process."""

    kind: str
    """Kind of data set."""

    fingerprint: str
    """Of the data that were used."""

    num_train: int
    """Training images before the validation images are taken out."""

    num_test: int
    num_classes: int
    num_fit: int
    num_val: int
    forward_flops_per_image: int
    train_flops_per_image: int
    total_train_flops: int
    wall_time_s: float
    train_time_s: float
    evaluate_time_s: float
    checkpoint_time_s: float

    @property
    def num_units(self) -> int:
        """What computes: GPUs, or threads of all processes."""
        return self.num_processes * (self.threads if self.device_type == "cpu" else 1)

    @property
    def num_trained(self) -> int:
        """Images trained on, each as often as it was."""
        return self.epochs * (self.num_fit // self.batch_size) * self.batch_size

    @property
    def num_scored(self) -> int:
        """Images scored during and after the training."""
        return self.num_val * self.epochs + self.num_test * (1 + self.mirror_tta)

    def count_keys(self) -> list[str]:
        """The keys, see `count_key`, of the cells whose compute this run tells."""
        per_image = [self.model, self.small_stem, self.image_size, self.num_classes]
        of_shape = [*per_image, self.shape, self.epochs, self.batch_size, self.num_fit]
        return [json.dumps(per_image), *([json.dumps(of_shape)] if self.shape else [])]


class CellState(NamedTuple):
    """What became of one cell."""

    cell_id: str
    status: Status
    """`paused`: no record, but a checkpoint to go on from; `unfinished`: neither, but its folder is there;
    `unreadable`: a record that this version does not know or that is damaged, see `reason`."""

    kind: str | None = None
    """Of a failure."""

    reason: str = ""
    """Message of a failure; why a record is unreadable."""

    ended_at: str = ""
    """ISO 8601, UTC; empty where there is no record."""

    burnt_s: float | None = None
    """Seconds spent on an attempt that failed."""

    val_accuracy: float | None = None
    """Share of the validation images that a finished run got right."""

    checkpoint_step: int | None = None
    """Optimizer steps up to the checkpoint of a paused cell."""

    label: str = ""
    """A name for people; empty where there is no record."""

    facts: RunFacts | None = None
    """Of a finished run, and of no other."""


def recipe_shape(recipe: dict[str, Any]) -> str:
    """What of a recipe changes the compute of an image during the training; empty for most recipes.

    Two cells of one model with the same shape, epochs, batch size and images take the same compute.
    """
    names = ("start_scale", "full_scale_at", "keep_hardest", "tuning")
    start_scale, full_scale_at, keep_hardest, tuning = (recipe[name] for name in names)
    if start_scale == 1 and keep_hardest == 1 and tuning == "all":
        return ""
    return json.dumps([start_scale, full_scale_at if start_scale != 1 else None, keep_hardest, tuning])


def count_key(cell: CellSpec, num_classes: int, num_fit: int) -> str:
    """Equal for cells of equal compute per image; for most recipes that is a matter of the model alone.

    Args:
        cell: the cell.
        num_classes: of its data.
        num_fit: training images that gradients come from.
    """
    shape = recipe_shape(dict(cell.recipe))
    key: list[Any] = [cell.model, cell.small_stem, cell.image_size, num_classes]
    if shape:
        key += [shape, cell.recipe.epochs, cell.recipe.batch_size, num_fit]
    return json.dumps(key)
