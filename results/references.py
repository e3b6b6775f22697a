"""The systems that we did not train, read from `references.yaml`: claims, each with its source.

load_references()["gpipe"].accuracy_percent    # 99.0
load_references()["gpipe"].counted.forward_flops_per_image    # counted from the architecture
leaderboard_references()                       # the rows at the foot of a leaderboard
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is thirty times as fast, where it was built."""

REFERENCES_PATH = Path(__file__).with_name("references.yaml")


class Counted(BaseModel):
    """What the architecture of a system says of its compute: neither measured nor a claim of its makers.

    1 multiply-add = 2 FLOPs, by the counter of our own models; `command` counts it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: Literal["counted from the architecture"]
    """What stands beside the figures wherever they are shown."""

    num_params: int = Field(gt=0)
    image_size: int = Field(gt=0)
    """Height and width in pixels."""

    forward_flops_per_image: int = Field(gt=0)
    train_flops_per_image: int = Field(gt=0)
    """Forward and backward; what is computed again to save memory is not in it."""

    source: str = Field(min_length=1)
    command: str = Field(min_length=1)
    least_train_images: int = Field(gt=0)
    """Images that were trained on at the very least, over all phases."""

    least_train_images_source: str = Field(min_length=1)

    @property
    def least_train_pflop(self) -> float:
        """Training compute that cannot have been undercut, 1e15 FLOPs."""
        return self.least_train_images * self.train_flops_per_image / 1e15


class Reference(BaseModel):
    """One system that we did not train; a null was not disclosed, or the source does not state it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str = Field(pattern=r"^[a-z0-9_]+$")
    name: str = Field(min_length=1)
    kind: Literal["vendor claim", "published", "human"]
    dataset: Literal["cifar10"]
    """The data set that the accuracy is about."""

    num_test_images: int | None = Field(gt=0)
    accuracy_percent: float = Field(ge=0, le=100)
    num_params: int | None = Field(gt=0)
    total_train_pflop: float | None = Field(gt=0)
    """As the source counts it."""

    trained_on: str | None
    source: str = Field(min_length=1)
    on_leaderboard: bool
    """Whether the leaderboard shows it without being asked."""

    counted: Counted | None = None


@cache
def load_references() -> dict[str, Reference]:
    """Every reference by its key, in the order of the file."""
    content = yaml.load(REFERENCES_PATH.read_text(encoding="utf-8"), _LOADER)  # a safe one
    return {entry.key: entry for entry in TypeAdapter(list[Reference]).validate_python(content)}


def leaderboard_references() -> list[Reference]:
    """The references that stand at the foot of a leaderboard."""
    return [entry for entry in load_references().values() if entry.on_leaderboard]
