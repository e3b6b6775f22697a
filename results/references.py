"""The systems that we did not train, read from `references.yaml`: claims, each with its source.

load_references()["gpipe"].accuracy_percent    # 99.0
leaderboard_references()                       # the rows at the foot of a leaderboard
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

REFERENCES_PATH = Path(__file__).with_name("references.yaml")


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


@cache
def load_references() -> dict[str, Reference]:
    """Every reference by its key, in the order of the file."""
    content = yaml.safe_load(REFERENCES_PATH.read_text(encoding="utf-8"))
    return {entry.key: entry for entry in TypeAdapter(list[Reference]).validate_python(content)}


def leaderboard_references() -> list[Reference]:
    """The references that stand at the foot of a leaderboard."""
    return [entry for entry in load_references().values() if entry.on_leaderboard]
