"""One colour and one shape for each model, the same in every chart.

The colours keep apart for people with deuteranopia and protanopia; the shapes say the same once more. In
the report they are custom properties of the style sheet, so that light, dark and print need no new chart;
a picture beside the memo gets the light ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

OTHERS = "other models"

LIGHT = {
    "ink": "#16181d",
    "muted": "#565b66",
    "rule": "#dcdcd6",
    "paper": "#ffffff",
    "claim": "#7a3b00",
    "good": "#00664a",
    "bad": "#b3400a",
    "m0": "#0069b4",
    "m1": "#d9560b",
    "m2": "#009478",
    "m3": "#a4328f",
    "m4": "#574500",
    "m5": "#2b1b7a",
    "m6": "#3a93cc",
    "m7": "#6b6f75",
}
"""The light theme of `templates/style.css`, by the names of its custom properties."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "circle")
_NUM_OWN = len(SHAPES) - 1
_PROPERTY = re.compile(r"var\(--([a-z0-9]+)\)")


def colour(name: str) -> str:
    """A colour of the style sheet, such as `ink`."""
    assert name in LIGHT
    return f"var(--{name})"


@dataclass(frozen=True)
class Palette:
    """Which model looks how."""

    models: tuple[str, ...]
    """Those with a look of their own; all others share one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models with a look of their own, and the others."""
        return (*self.models, OTHERS)

    @property
    def colours(self) -> list[str]:
        """One for each of `names`."""
        return [colour(f"m{self.slot(name)}") for name in self.names]

    @property
    def shapes(self) -> list[str]:
        """One for each of `names`."""
        return [SHAPES[self.slot(name)] for name in self.names]

    def slot(self, model: str) -> int:
        """The number of the look of a model, from 0."""
        return self.models.index(model) if model in self.models else _NUM_OWN

    def group(self, model: str) -> str:
        """The model, or the name that all without a look of their own go by."""
        return model if model in self.models else OTHERS


def make_palette(models: Iterable[str]) -> Palette:
    """Give the first of `models` looks of their own, in that order."""
    return Palette(tuple(dict.fromkeys(models))[:_NUM_OWN])


def in_light(spec: Any) -> Any:
    """A specification with the light colours themselves in place of the names of colours."""
    if isinstance(spec, dict):
        return {key: in_light(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [in_light(value) for value in spec]
    found = _PROPERTY.fullmatch(spec) if isinstance(spec, str) else None
    return LIGHT.get(found[1], spec) if found else spec
