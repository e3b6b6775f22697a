"""Image classifiers of timm and torchvision, by name.

    model, notes = build_external("timm:resnet18d", num_classes=10, image_size=32, small_stem=True)

Each model is tried first on shapes alone (the meta device), in training and in evaluation, so that an
image size which it cannot take is one clear error before anything is trained. torch and both libraries
are loaded only when they are needed.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from models.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    Built = tuple[nn.Module, tuple[str, ...]]
    """A model, and notes on what of it was adapted."""

SOURCES = ("timm", "torchvision")

WITH_AUX_HEADS = ("googlenet", "inception_v3")
"""The models of torchvision that give several outputs, and shift their input, unless told not to."""

LARGER_SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 512)
"""Image sizes among which a model that refuses a smaller one is offered the first that works."""

MISFITS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What the libraries raise for an image that a model cannot take."""


def split_name(name: str) -> tuple[str, str]:
    """Source and bare name: ("timm", "resnet18d") of "timm:resnet18d", ("", "resnet20") of "resnet20".

    Raises:
        ModelError: the source is not one of `SOURCES`, or no name follows it.
    """
    source, colon, bare = name.partition(":")
    if not colon:
        return "", name
    if source not in SOURCES or not bare:
        raise ModelError(f"unknown model '{name}': write timm:NAME or torchvision:NAME")
    return source, bare


def check_external(name: str) -> None:
    """Refuse a name that is no image classifier of timm or torchvision, or whose library is missing.

    Raises:
        ModelError: near names and how to list them, or what to install.
    """
    source, bare = split_name(name)
    if source == "timm":
        timm = _import_timm()
        known = {*timm.list_models(), *timm.list_pretrained()}
        if bare not in known:
            raise _unknown(name, bare, known, "import timm; print(timm.list_models())")
    elif source == "torchvision":
        from torchvision import models

        known = set(models.list_models(models))
        if bare in models.list_models() and bare not in known:
            kind = models.get_model_builder(bare).__module__.split(".")[2]
            raise ModelError(f"{name} belongs to torchvision.models.{kind}: only classifiers can be used")
        if bare not in known:
            listing = "from torchvision import models; print(models.list_models(models))"
            raise _unknown(name, bare, known, listing)
    else:
        raise ModelError(f"'{name}' is no model of a library: write timm:NAME or torchvision:NAME")


def build_external(name: str, num_classes: int, image_size: int, small_stem: bool) -> Built:
    """Build a model of timm or torchvision with fresh weights, in training mode.

    It maps float [B, 3, image_size, image_size] to logits [B, num_classes], in training and in
    evaluation. Weights are drawn from torch's global generator, as the library draws them; where the
    default device is the meta device, there are none.

    Returns:
        The model, and notes on what was adapted: with `small_stem`, what `use_small_stem` did.

    Raises:
        ModelError: the name is unknown, the library is missing, the model cannot take images of this
            size or has no small stem.
    """
    import torch

    check_external(name)
    misfit = _misfit(name, num_classes, image_size, small_stem)
    if misfit:
        raise _size_error(name, num_classes, image_size, small_stem, misfit)
    if torch.get_default_device().type == "meta":
        return _build_bare(name, num_classes, image_size, small_stem)
    return _build(name, num_classes, image_size, small_stem)


def create(name: str, num_classes: int, image_size: int, pretrained: bool = False) -> nn.Module:
    """The model as its library builds it for this image size; `pretrained` is for timm alone."""
    source, bare = split_name(name)
    options: dict[str, Any] = {"num_classes": num_classes}
    if source == "timm":
        timm = _import_timm()
        if getattr(timm.get_pretrained_cfg(bare), "fixed_input_size", False):
            options["img_size"] = image_size
        model: nn.Module = timm.create_model(bare, pretrained=pretrained, **options)
        return model
    from torchvision import models

    if bare in WITH_AUX_HEADS:
        options |= {"aux_logits": False, "transform_input": False, "init_weights": True}
    elif bare.startswith("vit_"):
        options["image_size"] = image_size
    elif bare.startswith("maxvit_"):
        options["input_size"] = (image_size, image_size)
    return models.get_model(bare, weights=None, **options)  # type: ignore[no-any-return]


def _import_timm() -> ModuleType:
    if importlib.util.find_spec("timm") is None:
        raise ModelError("models named timm:NAME need timm: pip install 'verdict-bench[timm]'")
    return importlib.import_module("timm")


def _unknown(name: str, bare: str, known: Iterable[str], listing: str) -> ModelError:
    near = difflib.get_close_matches(bare, sorted(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return ModelError(f"unknown model '{name}': {hint}list them with: python -c '{listing}'")


def _build(name: str, num_classes: int, image_size: int, small_stem: bool) -> Built:
    from models.stem import use_small_stem

    model = create(name, num_classes, image_size)
    return model, (use_small_stem(model),) if small_stem else ()


def _build_bare(name: str, num_classes: int, image_size: int, small_stem: bool) -> Built:
    """The model without data, on the meta device; draws no random numbers."""
    import torch

    try:
        with torch.device("meta"):
            return _build(name, num_classes, image_size, small_stem)
    except NotImplementedError:  # torchvision's RegNet computes its widths with tensors and reads them
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model, notes = _build(name, num_classes, image_size, small_stem)
        return model.to("meta"), notes


def _misfit(name: str, num_classes: int, image_size: int, small_stem: bool) -> str:
    """Why the model cannot map such images to logits; empty where it can."""
    import torch

    try:
        model, _ = _build_bare(name, num_classes, image_size, small_stem)
        images = torch.empty(2, 3, image_size, image_size, device="meta")
        with torch.no_grad():
            outputs = [model.train(training)(images) for training in (True, False)]
    except ModelError:
        raise
    except MISFITS as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    if any(getattr(output, "shape", None) != (2, num_classes) for output in outputs):
        raise ModelError(f"{name} does not give {num_classes} logits for each image: use another model")
    return ""


def _size_error(name: str, num_classes: int, image_size: int, small_stem: bool, misfit: str) -> ModelError:
    larger = (size for size in LARGER_SIZES if size > image_size)
    works = next((size for size in larger if not _misfit(name, num_classes, size, small_stem)), None)
    what = f"{name}{' with a small stem' if small_stem else ''} cannot take {image_size}x{image_size} images"
    if works is not None:
        return ModelError(f"{what}: try {works}x{works}")
    cure = "leave the small stem out" if small_stem else "use another model"
    return ModelError(f"{what} nor larger ones ({misfit}): {cure}")
