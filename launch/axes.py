"""The options that describe cells, the same for every command that takes them. No torch here.

    @app.command()
    @takes_axes
    def plan(axes: Axes, out: Path = ...) -> None: ...

The command gets what was typed as one value; `--help` shows every option.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from harness.recipes import DEFAULT_RECIPE, RECIPES
from launch.options import recipe_fields, split_list

MATRIX, TRAINING, DATA = "The matrix", "Training", "Data"

_Text = str | None
_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "dataset": (_Text, MATRIX, "cifar10, digits or imagefolder:PATH"),
    "model": (_Text, MATRIX, "see --list; or timm:NAME, torchvision:NAME (fast_cnn)"),
    "augment": (_Text, MATRIX, "see --list; or OPERATION+OPERATION (the recipe's)"),
    "recipe": (_Text, MATRIX, f"{', '.join(RECIPES)} ({DEFAULT_RECIPE})"),
    "precision": (_Text, MATRIX, "fp32, tf32, bf16, fp16 (accelerate's, else bf16)"),
    "strategy": (_Text, MATRIX, "single, ddp, fsdp, zero1, zero2, zero3 (single or ddp)"),
    "processes": (_Text, MATRIX, "processes that train a cell together (1)"),
    "seed": (_Text, MATRIX, "seeds (0)"),
    "epochs": (int | None, TRAINING, "passes over the training images"),
    "batch_size": (int | None, TRAINING, "over all processes; the learning rate follows"),
    "accumulate": (int | None, TRAINING, "micro-batches for one optimizer step (1)"),
    "set": (
        list[str] | None,
        TRAINING,
        "KEY=VALUE: any other field of the recipe, such as lr=0.2; repeatable",
    ),
    "pretrained": (_Text, TRAINING, "weights to start with: hub, package or file:PATH (none)"),
    "small_stem": (bool, TRAINING, "adapt timm: and torchvision: models to small images"),
    "compile": (_Text, TRAINING, "torch.compile mode: default, reduce-overhead (none)"),
    "sync_batchnorm": (bool, TRAINING, "normalise over the batches of all processes"),
    "tta": (bool, TRAINING, "also score each image together with its mirror image"),
    "val_fraction": (float | None, DATA, "share of the training images held out (0.1)"),
    "image_size": (int | None, DATA, "height and width in pixels (32)"),
}
_LISTS = {
    "model": "models",
    "augment": "augmentations",
    "recipe": "recipes",
    "precision": "precisions",
    "strategy": "strategies",
    "processes": "processes",
    "seed": "seeds",
}
_OTHER_NAMES = {"accumulate": "accumulation_steps", "tta": "mirror_tta"}
_FIELDS = ("epochs", "batch_size")


@dataclass(frozen=True)
class Axes:
    """What was typed about the cells."""

    axes: dict[str, Any] = field(default_factory=dict)
    """Values of `launch.matrix.matrix.Matrix`, those that were given only."""

    fields: dict[str, Any] = field(default_factory=dict)
    """Fields that replace those of every recipe."""

    def __bool__(self) -> bool:
        return bool(self.axes or self.fields)


def takes_axes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command the options above that it has not itself, in place of its parameter `axes`."""
    signature = inspect.signature(command, eval_str=True)
    names = [name for name in _OPTIONS if name not in signature.parameters]
    options = [
        inspect.Parameter(
            f"axis_{name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[kind, _option(name, panel, text)],
        )
        for name, (kind, panel, text) in ((name, _OPTIONS[name]) for name in names)
    ]
    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "axes"
    ]

    parameters = [*options, *others]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        typed = {name: values.pop(f"axis_{name}") for name in names}
        command(axes=_collect(typed), **values)

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _collect(typed: dict[str, Any]) -> Axes:
    given = {name: value for name, value in typed.items() if value is not None and value is not False}
    fields = {name: given.pop(name) for name in _FIELDS if name in given}
    fields |= recipe_fields(given.pop("set", []))
    axes = {
        _LISTS.get(name) or _OTHER_NAMES.get(name, name): split_list(value) if name in _LISTS else value
        for name, value in given.items()
    }
    return Axes(axes, fields)


def _option(name: str, panel: str, text: str) -> Any:
    option = f"--{name.replace('_', '-')}"
    return typer.Option(option, help=text, rich_help_panel=panel, show_default=False)
