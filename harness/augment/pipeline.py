"""An augmentation by name: its operations, one after the other, on a batch that is on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.augment.colour import ColorJitter, Grayscale
from harness.augment.geometry import AlternatingFlip, Crop, Cutout, Flip, RandomErasing
from harness.augment.mixing import CutMix, Mixing, MixUp
from harness.augment.names import operations_of
from harness.augment.operation import GlobalBatch, Operation
from harness.augment.policies import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from harness.cell import CellSpec
from harness.seeding import derive_seed, generator_for

MIXING: dict[str, Mixing] = {"mixup": MixUp(), "cutmix": CutMix()}


class Augmentation:
    """The operations of a cell; the draws follow from the cell's seed, the epoch and the step.

    Args:
        cell: names the augmentation.
        num_images: how many training images there are.
        mean_colour: of the training images, 0 to 255; what is cut out is painted with it.
        device: where the images are.
    """

    def __init__(
        self, cell: CellSpec, num_images: int, mean_colour: tuple[int, int, int], device: torch.device
    ) -> None:
        names = operations_of(cell.augmentation)
        fill = torch.tensor(mean_colour, dtype=torch.uint8, device=device)
        self._operations = [_make(name, cell, num_images, fill) for name in names if name not in MIXING]
        self.mixing = MIXING.get(names[-1]) if names else None
        self._seed = cell.seed
        self._generator = torch.Generator(device)

    def draw(self, epoch: int, step: int, indices: Tensor) -> list[Tensor]:
        """The random parameters of one global batch: for each operation, one row an image.

        The last ones are those of the mixing, where there is one.
        """
        self._generator.manual_seed(derive_seed(self._seed, "augment", epoch, step))
        batch = GlobalBatch(indices, epoch, self._generator)
        drawn = [operation.draw(batch) for operation in self._operations]
        return drawn if self.mixing is None else [*drawn, self.mixing.draw(batch)]

    def apply(self, images_BCHW: Tensor, drawn: list[Tensor]) -> Tensor:
        """Augment uint8 images by their rows of what was drawn; they are not mixed yet."""
        for operation, parameters in zip(self._operations, drawn, strict=False):
            images_BCHW = operation.apply(images_BCHW, parameters)
        return images_BCHW


def _make(name: str, cell: CellSpec, num_images: int, fill: Tensor) -> Operation:
    padding = cell.recipe.crop_padding
    makers: dict[str, Callable[[], Operation]] = {
        "flip": Flip,
        "alternating_flip": lambda: AlternatingFlip(_odd_flips(cell.seed, num_images, fill.device)),
        "crop": lambda: Crop(padding, reflect=True),
        "crop_zero": lambda: Crop(padding, reflect=False),
        "cutout": lambda: Cutout(fill),
        "erasing": lambda: RandomErasing(fill),
        "color_jitter": ColorJitter,
        "grayscale": Grayscale,
        "randaugment": RandAugment,
        "trivialaugment": TrivialAugmentWide,
        "autoaugment": AutoAugment,
        "augmix": AugMix,
    }
    return makers[name]()


def _odd_flips(seed: int, num_images: int, device: torch.device) -> Tensor:
    generator = generator_for(seed, "alternating flip")
    return (torch.rand(num_images, generator=generator) < 0.5).to(device)
