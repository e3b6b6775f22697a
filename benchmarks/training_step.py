"""Images per second of our training step against the plain PyTorch loop that one would write first.

    python -m benchmarks.training_step --model resnet18 --rounds 5 --threads 1

Ours is `harness/train.py` in bfloat16, as a cell runs it. The plain loop has the same model and SGD in
float32, and torchvision transforms of PIL images in a DataLoader with two workers. The loop "in bf16" is
what one writes next: bfloat16 autocast, channels-last, images in memory, crops and flips of whole batches.
Each has a process of its own; they take turns. The pixels are random: the speed does not depend on them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.side_by_side import in_turns, speedup
from harness.augment.pipeline import Augmentation
from harness.batches import Inputs
from harness.cell import make_cell
from harness.clock import Clock
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.host_memory import keep_freed_memory
from harness.precision import make_autocast
from harness.process import start_process, use_threads
from harness.progress import CellProgress
from harness.recipes import recipe_for
from harness.strategy import make_strategy
from harness.train import train
from models.complexity import measure_complexity
from models.registry import build_model

STEPS = 4  # of each loop in a round
LR = 1e-4  # the labels are random: a usual one could diverge
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
NUM_CLASSES, IMAGE_SIZE = 10, 32
PRODUCT_SIZE = 2048
PRODUCT_FLOPS = 2 * PRODUCT_SIZE**3

Loop = Callable[[argparse.Namespace], Callable[[], float]]
"""Makes a function that trains for a round and returns the seconds it took."""


def main() -> None:
    """Time both loops and a matrix product in turns, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=["resnet18", "resnet20", "fast_cnn"], default="resnet18")
    parser.add_argument("--batch-size", type=int, help="(that of the model's recipe)")
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS} steps each")
    parser.add_argument("--threads", type=int, help="CPU threads of each loop (all cores)")
    args = parser.parse_args()
    if args.batch_size is None:
        args.batch_size = recipe_for(args.model, "fast", {}).batch_size
    if args.batch_size < 2 or args.rounds < 1 or (args.threads is not None and args.threads < 1):
        parser.error("--batch-size must be 2 or more, --rounds and --threads 1 or more")

    use_threads(args.threads)
    with (
        _in_process(_our_loop, args) as ours,
        _in_process(_plain_loop, args) as plain,
        _in_process(_bf16_loop, args) as in_bf16,
    ):
        timed: dict[str, Callable[[], float]] = {
            "our step": ours,
            "plain loop": plain,
            "in bf16": in_bf16,
            "bfloat16": partial(_matrix_product, torch.bfloat16),
            "float32": partial(_matrix_product, torch.float32),
        }
        seconds = in_turns(timed, args.rounds)
    with torch.device("meta"):
        complexity = measure_complexity(build_model(args.model, NUM_CLASSES, IMAGE_SIZE), IMAGE_SIZE)
    for name, precision in (("our step", "bfloat16"), ("plain loop", "float32"), ("in bf16", "bfloat16")):
        speed = STEPS * args.batch_size / median(seconds[name])
        flops = speed * complexity.train_flops_per_image
        share = flops * min(seconds[precision]) / PRODUCT_FLOPS
        print(f"{name:10}  {speed:8.1f} images/s  {flops / 1e12:.3f} TFLOP/s", end=", ")
        print(f"{share:.0%} of a {precision} matrix product's")
    for name in ("plain loop", "in bf16"):
        print(f"ours is {speedup(seconds[name], seconds['our step'])} times as fast as the {name}")


def _our_loop(args: argparse.Namespace) -> Callable[[], float]:
    """Train for an epoch of `STEPS` steps with the loop of the harness."""
    process = start_process(use_cpu=not torch.cuda.is_available())
    device = process.device
    if device.type == "cpu":
        keep_freed_memory()
    changes = {"epochs": 1, "batch_size": args.batch_size, "lr": LR, "start_scale": 1.0}
    recipe = recipe_for(args.model, "fast", changes)
    cell = make_cell(
        dataset="cifar10", model=args.model, augmentation="flip_crop", recipe=recipe, precision="bf16"
    )
    model = build_model(args.model, NUM_CLASSES, IMAGE_SIZE).to(device)
    model = model.to(memory_format=torch.channels_last)
    images_NHWC, labels = _random_images(args.batch_size)
    images = DeviceImages(ImageSet(images_NHWC.transpose(0, 3, 1, 2), labels), None, device)
    inputs = Inputs(
        fit=images,
        val=None,
        test=images,
        augmentation=Augmentation(cell, len(labels), (125, 123, 115), device),
        normalize=Normalizer(MEAN, STD, IMAGE_SIZE, device),
        num_classes=NUM_CLASSES,
    )
    autocast = make_autocast("bf16", device)
    silent = CellProgress(cell, "", Path(), None)

    def run() -> float:
        strategy = make_strategy(cell, model, autocast.scaler, process)
        return sum(train(strategy, inputs, autocast, Clock(process), silent).step_times_s)

    return run


def _plain_loop(args: argparse.Namespace) -> Callable[[], float]:
    """Train for an epoch of `STEPS` steps as a tutorial does."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(args.model, NUM_CLASSES, IMAGE_SIZE).to(device)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=LR, momentum=0.9, weight_decay=5e-4)
    dataset = _PilImages(*_random_images(args.batch_size))
    loader = DataLoader(dataset, args.batch_size, shuffle=True, num_workers=2, persistent_workers=True)

    def run() -> float:
        model.train()
        start = time.perf_counter()
        for images, labels in loader:
            _plain_step(model, optimizer, images.to(device), labels.to(device))
        _synchronize()
        return time.perf_counter() - start

    return run


def _bf16_loop(args: argparse.Namespace) -> Callable[[], float]:
    """Train for an epoch of `STEPS` steps on images in memory, in bfloat16."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(args.model, NUM_CLASSES, IMAGE_SIZE).to(device)
    model = model.to(memory_format=torch.channels_last)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=LR, momentum=0.9, weight_decay=5e-4, nesterov=True)
    pixels, classes = _random_images(args.batch_size)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device).float().div(255)
    images = transforms.functional.normalize(images, MEAN, STD).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(classes).to(device)
    augment = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])

    def run() -> float:
        model.train()
        start = time.perf_counter()
        for batch in torch.randperm(len(labels), device=device).view(STEPS, args.batch_size):
            with torch.autocast(device.type, torch.bfloat16):
                _plain_step(model, optimizer, augment(images[batch]), labels[batch])
        _synchronize()
        return time.perf_counter() - start

    return run


def _plain_step(model: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    optimizer.step()


class _PilImages(Dataset[tuple[Tensor, int]]):
    def __init__(self, images_NHWC: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        self._images_NHWC = images_NHWC
        self._labels = labels
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        self._transform = transforms.Compose(
            [*augment, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images_NHWC[index])), int(self._labels[index])


def _random_images(batch_size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    count = STEPS * batch_size
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    return random.integers(0, 256, shape, dtype=np.uint8), random.integers(0, NUM_CLASSES, count)


def _matrix_product(dtype: torch.dtype) -> float:
    """Seconds of the fastest of a few products of square matrices."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    left, right = torch.randn(2, PRODUCT_SIZE, PRODUCT_SIZE, device=device).to(dtype)
    seconds = []
    for _ in range(5):
        _synchronize()
        start = time.perf_counter()
        left @ right
        _synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _in_process(make_loop: Loop, args: argparse.Namespace) -> Iterator[Callable[[], float]]:
    """A function that runs the loop once, in a process that waits in between."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(make_loop, args, theirs))
    process.start()
    theirs.close()

    def run() -> float:
        ours.send("run")
        seconds: float = ours.recv()
        return seconds

    try:
        yield run
    finally:
        ours.close()
        process.join()


def _serve(make_loop: Loop, args: argparse.Namespace, connection: Connection) -> None:
    use_threads(args.threads)
    run = make_loop(args)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(run())


if __name__ == "__main__":
    main()
