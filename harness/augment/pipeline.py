"""An augmentation by name: its operations, one after the other, on a batch that is on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.augment.geometry import Crop, Cutout, Flip, Operation
from harness.augment.names import AUGMENTATIONS
from harness.cell import CellSpec
from harness.seeding import derive_seed


class Augmentation:
    """The operations of a cell; the draws follow from the cell's seed, the epoch and the step."""

    def __init__(self, cell: CellSpec, mean_colour: tuple[int, int, int], device: torch.device) -> None:
        operations: dict[str, Operation] = {
            "flip": Flip(),
            "crop": Crop(round(cell.recipe.crop_padding * cell.image_size / 32)),
            "cutout": Cutout(torch.tensor(mean_colour, dtype=torch.uint8, device=device)),
        }
        self._operations = [operations[operation] for operation in AUGMENTATIONS[cell.augmentation]]
        self._seed = cell.seed
        self._image_size = cell.image_size
        self._generator = torch.Generator(device)

    def draw(self, epoch: int, step: int, batch_size: int) -> list[Tensor]:
        """The random parameters of one global batch: for each operation, one row an image."""
        self._generator.manual_seed(derive_seed(self._seed, "augment", epoch, step))
        return [
            operation.draw(batch_size, self._image_size, self._generator) for operation in self._operations
        ]

    def apply(self, images_BCHW: Tensor, parameters: list[Tensor], rows: slice) -> Tensor:
        """Augment uint8 images that are `rows` of the global batch that `parameters` were drawn for."""
        for operation, drawn in zip(self._operations, parameters, strict=True):
            images_BCHW = operation.apply(images_BCHW, drawn[rows])
        return images_BCHW
