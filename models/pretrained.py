"""Start from weights that were trained before, and what fine-tuning needs to know of a model.

    weights = load_weights(model, "timm:tf_efficientnet_lite0", "package", image_size=224)
    weights.mean, weights.std            # how its images were normalised
    stem, *body, head = layer_groups(model)
    backbone, head = split_head(model)   # for a linear probe

A head for another number of classes is left out, and the model's own starts at zero (Kolesnikov et al.
2020, arXiv 1912.11370, section 3.3); anything else that does not fit is an error.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.stem import cut_kernel, first_conv_name
from models.weight_sources import State, Weights, read_file, read_hub, read_package

MAX_GROUPS = 6
"""Of layers: the stem, four stages, as most networks have, and the head."""

MIN_PARTS = 4
"""Where a model has fewer parts, such as a stem and a list of blocks, the largest is taken apart."""


def load_weights(model: nn.Module, model_name: str, source: str, image_size: int) -> Weights:
    """Give `model` the weights of `source`; where they do not fit, it stays as it was.

    Args:
        model: the model of that name, built for that image size. It may have a small stem, whose kernel
            is then cut from the larger one of the weights.
        model_name: a name of the registry, `timm:NAME` or `torchvision:NAME`.
        source: `file:PATH`, `package` or `hub` (`models/weight_sources.py`).
        image_size: height and width of the images, in pixels.

    Raises:
        ModelError: the source is missing, is not weights, does not fit, or cannot be reached.
    """
    head = find_head(model)
    if source == "hub":
        num_classes = model.state_dict()[f"{head}.weight"].shape[0]
        state, weights = read_hub(model_name, num_classes, image_size)
    elif source == "package":
        state, weights = read_package(model, model_name)
    elif source.startswith("file:"):
        state, weights = read_file(Path(source.removeprefix("file:")))
    else:
        raise ModelError(f"unknown source of weights '{source}': expected hub, package or file:PATH")
    own: State = model.state_dict()
    fitted, notes = _adapt(state, own, head, f"{first_conv_name(model)}.weight")
    _check_fit(fitted, own, f"the weights ({source}) do not fit {model_name}")
    model.load_state_dict(fitted)
    size = f", made for images of {weights.image_size} pixels" if weights.image_size else ""
    return replace(weights, note="; ".join([weights.note + size, *notes]))


def _adapt(state: State, own: State, head: str, stem: str) -> tuple[State, list[str]]:
    """`state` with what may differ taken from `own`, and what that was."""
    # torch counted no batches before version 0.4.1, and many files of that time are still in use.
    fitted = {key: own[key] for key in own if key.endswith("num_batches_tracked")} | state
    notes = []
    weight = f"{head}.weight"
    if weight in state and weight in own:
        theirs, ours = state[weight].shape, own[weight].shape
        if theirs[0] != ours[0] and theirs[1:] == ours[1:]:
            fitted |= {key: torch.zeros_like(own[key]) for key in (weight, f"{head}.bias") if key in own}
            notes.append(f"{head} for {theirs[0]} classes left out, the one for {ours[0]} starts at zero")
    if stem in state and stem in own:
        theirs, ours = state[stem].shape, own[stem].shape
        if len(theirs) == 4 and theirs[:2] == ours[:2] and min(theirs[2:]) > max(ours[2:]):
            fitted[stem] = cut_kernel(state[stem], ours[2])
            notes.append(f"{stem} cut from the centre of {theirs[2]}x{theirs[3]} and scaled to its norm")
    return fitted, notes


def _check_fit(state: State, own: State, what: str) -> None:
    wrong = {
        "missing": [key for key in own if key not in state],
        "unknown": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(tensor.shape)}"
            for key, tensor in own.items()
            if key in state and state[key].shape != tensor.shape
        ],
    }
    faults = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in wrong.items()
        if keys
    ]
    if faults:
        raise ModelError(f"{what}: {'; '.join(faults)}: use the model and image size they were made for")


def find_head(model: nn.Module) -> str:
    """Name of the layer that gives the logits: as timm says, or else the last linear layer.

    Raises:
        ModelError: there is none, or more than one (in distilled models, for example).
    """
    kind = type(model).__name__
    name = getattr(model, "pretrained_cfg", {}).get("classifier")
    if isinstance(name, str):
        return name
    if name is not None:
        raise ModelError(f"{kind} has several heads ({', '.join(name)}): use a model with one")
    for layer in (nn.Linear, nn.Conv2d):  # SqueezeNet ends with a convolution
        names: list[str] = [name for name, module in model.named_modules() if isinstance(module, layer)]
        if names:
            return names[-1]
    raise ModelError(f"{kind} has no linear layer that could be its head: use another model")


def layer_groups(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters from input to head: the stem, up to four groups of stages or blocks, the head.

    For learning rates that grow with the depth, and for unfreezing from the head downwards (Howard &
    Ruder 2018, arXiv 1801.06146, sections 3.2 and 3.3). Each parameter is in exactly one group.
    """
    head = list(model.get_submodule(find_head(model)).parameters())
    stem, *body = _parts_by_depth(model, head)
    num_groups = min(len(body), MAX_GROUPS - 2)
    cuts = [index * len(body) // max(1, num_groups) for index in range(num_groups + 1)]
    groups = [list(chain.from_iterable(body[start:end])) for start, end in pairwise(cuts)]
    return [stem, *groups, head]


def _parts_by_depth(model: nn.Module, head: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters without those of the head, by part of the model, in the order of its definition.

    What a module that was taken apart holds itself, such as position embeddings, counts to the stem.
    """
    modules, loose = [model], list[nn.Parameter]()
    while True:
        parts = _parameters_of(modules, head)
        openable = [module for module in modules if any(_num_params(child) for child in module.children())]
        if not openable or len(parts) >= MIN_PARTS:
            break
        largest = max(openable, key=_num_params)
        position = modules.index(largest)
        modules[position : position + 1] = largest.children()
        loose += largest.parameters(recurse=False)
    return [[*loose, *parts[0]], *parts[1:]]


def _parameters_of(modules: list[nn.Module], taken: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters of each module that are not taken yet; a normalisation belongs to what it follows."""
    parts: list[list[nn.Parameter]] = []
    seen = {id(parameter) for parameter in taken}
    for module in modules:
        parameters = [parameter for parameter in module.parameters() if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in parameters}
        if parts and all(parameter.ndim < 2 for parameter in parameters):
            parts[-1] += parameters
        elif parameters:
            parts.append(parameters)
    return parts


def _num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def split_head(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """`backbone` and `head` with `head(backbone(images)) == model(images)`; both share the parameters.

    The backbone maps images [B, 3, H, W] to features [B, D]; calling it runs the whole model.

    Raises:
        ModelError: there is no single head; and when the backbone is called, if the logits of the model
            are not those of its head.
    """
    head = model.get_submodule(find_head(model))
    return Backbone(model, head), head


class Backbone(nn.Module):
    """A model that gives what enters its head."""

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._heads = [head]  # in a list, so that it does not count as a part a second time

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features [B, D] of float images [B, 3, H, W]."""
        calls: list[tuple[Tensor, Tensor]] = []
        hook = self._heads[0].register_forward_hook(
            lambda _, inputs, logits: calls.append((inputs[0], logits))
        )
        with hook:
            logits = self.model(images_BCHW)
        if len(calls) != 1 or calls[0][1] is not logits:
            raise ModelError(f"{type(self.model).__name__} does more after its head: it cannot be split")
        return calls[0][0]
