"""Images per second of each augmentation on whole batches, against torchvision in a DataLoader.

    python -m benchmarks.augmentation --rounds 5
    python -m benchmarks.augmentation trivialaugment augmix --batch-size 1024

Each name is a whole augmentation, as a cell names it: flip and crop belong to most. Ours is what a
training step runs: draw for the batch, apply to it. torchvision's are its `v2` transforms of each image,
a uint8 tensor, in a DataLoader with two workers that live on. They take turns. The last column is what
ours takes of a training step of resnet18 that runs at the speed given by `--step-speed`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.side_by_side import in_turns, speedup
from harness.augment.names import AUGMENTATIONS, operations_of
from harness.augment.pipeline import Augmentation
from harness.cell import make_cell
from harness.recipes import recipe_for

IMAGE_SIZE = 32
NUM_WORKERS = 2
OUR_BATCHES, THEIR_BATCHES = 20, 4  # of a round

THEIRS: dict[str, Callable[[], v2.Transform]] = {
    "flip": v2.RandomHorizontalFlip,
    "crop": lambda: v2.RandomCrop(IMAGE_SIZE, padding=4, padding_mode="reflect"),
    "cutout": lambda: v2.RandomErasing(p=1, scale=(0.25, 0.25), ratio=(1, 1)),
    "erasing": v2.RandomErasing,
    "color_jitter": lambda: v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "grayscale": lambda: v2.RandomGrayscale(p=0.2),
    "randaugment": v2.RandAugment,
    "trivialaugment": v2.TrivialAugmentWide,
    "autoaugment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "augmix": v2.AugMix,
}
NAMES = [name for name, operations in AUGMENTATIONS.items() if operations and set(operations) <= set(THEIRS)]


def main() -> None:
    """Time each augmentation and its counterpart in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)} (all)")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--step-speed", type=float, default=50, help="images/s of the step compared with (50)"
    )
    args = parser.parse_args()
    unknown = set(args.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; valid: {', '.join(NAMES)}")

    print(f"{'':15} {'ours':>10} {'torchvision':>12}   times as fast         of a step")
    for name in args.names or NAMES:
        loader = DataLoader(
            _Images(_images(THEIR_BATCHES * args.batch_size), name),
            args.batch_size,
            num_workers=NUM_WORKERS,
            persistent_workers=True,
        )
        seconds = in_turns(
            {"ours": partial(_ours, name, args.batch_size), "theirs": partial(_theirs, loader)}, args.rounds
        )
        ours, theirs = (args.batch_size / median(seconds[key]) for key in ("ours", "theirs"))
        faster = speedup(seconds["theirs"], seconds["ours"])
        print(f"{name:15} {ours:8,.0f}/s {theirs:10,.0f}/s   {faster!s:21} {args.step_speed / ours:.2%}")


def _ours(name: str, batch_size: int) -> float:
    """Seconds a batch, over several."""
    recipe = recipe_for("resnet18", "fast", {})
    cell = make_cell(dataset="cifar10", model="resnet18", augmentation=name, recipe=recipe, precision="bf16")
    augmentation = Augmentation(cell, batch_size, (125, 123, 114), torch.device("cpu"))
    images = _images(batch_size).to(memory_format=torch.channels_last)
    rows = torch.arange(batch_size)
    start = time.perf_counter()
    for step in range(OUR_BATCHES):
        augmentation.apply(images, augmentation.draw(0, step, rows))
    return (time.perf_counter() - start) / OUR_BATCHES


def _theirs(loader: DataLoader[Tensor]) -> float:
    """Seconds a batch, over all batches of an epoch; the workers have nothing to do afterwards."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return (time.perf_counter() - start) / THEIR_BATCHES


class _Images(Dataset[Tensor]):
    def __init__(self, images: Tensor, name: str) -> None:
        self._images = images
        self._transform = v2.Compose([THEIRS[operation]() for operation in operations_of(name)])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self._transform(self._images[index])
        return image


def _images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=IMAGE_SIZE, mode="bilinear")
    return (255 * smooth).to(torch.uint8)


if __name__ == "__main__":
    main()
