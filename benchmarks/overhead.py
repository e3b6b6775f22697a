"""What the harness adds to a bare training loop: seconds of `run_cell` against those of the loop alone.

    python -m benchmarks.overhead --model resnet20 --steps 40 --rounds 3

The bare loop has the same model, data on the device, augmentation, precision and optimizer, and
nothing else: no record, no timing of steps, no progress, no check for a loss that is not finite. Both
take turns. Two figures come out: of the training alone, and of the whole cell but for scoring the
images, which is work and not overhead. The second one is paid once a cell, so it falls with its length.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.side_by_side import in_turns, speedup
from harness.augment.pipeline import Augmentation
from harness.cell import CellSpec, make_cell
from harness.datasets.base import Dataset, ImageSet, make_dataset
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.depthwise import fast_gradients
from harness.environment import describe_environment
from harness.optimizer import lr_at, make_optimizer, set_lr
from harness.precision import make_autocast
from harness.process import Process, start_process, use_threads
from harness.progress import Reporter
from harness.recipes import recipe_for
from harness.run_cell import Run, run_cell
from models.registry import build_model


def main() -> None:
    """Run both in turns and print what the harness adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    use_threads(None)
    process = start_process(use_cpu=not torch.cuda.is_available())
    recipe = recipe_for(args.model, "fast", {"epochs": 2, "batch_size": args.batch_size, "lr": 1e-4})
    cell = make_cell(
        dataset="cifar10",
        model=args.model,
        augmentation="flip_crop",
        recipe=recipe,
        precision="bf16",
        val_fraction=0,
    )
    dataset = _random_dataset(args.batch_size * args.steps // 2)
    training: list[float] = []
    whole: list[float] = []

    def harness() -> float:
        train_s, whole_s = _run_cell(cell, dataset, process)
        training.append(train_s)
        whole.append(whole_s)
        return whole_s

    bare = in_turns({"harness": harness, "bare": lambda: _bare_loop(cell, dataset, process)}, args.rounds)[
        "bare"
    ]
    for name, seconds in (("training", training[1:]), ("whole cell", whole[1:])):  # the first is a warm-up
        added = speedup(seconds, bare)
        print(
            f"{name:10}  {median(seconds):6.2f} s, bare {median(bare):6.2f} s: {added.median - 1:+.1%} "
            f"({added.lowest - 1:+.1%} to {added.highest - 1:+.1%})"
        )


def _run_cell(cell: CellSpec, dataset: Dataset, process: Process) -> tuple[float, float]:
    """Seconds of training, and of the whole cell without scoring."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(cell, dataset, process, describe_environment(process), Path(folder) / "run", "benchmark")
        start = time.perf_counter()
        record = run_cell(run, Reporter(None), "cell")
        seconds = time.perf_counter() - start
    assert record.measurements is not None
    return record.measurements.train_time_s, seconds - record.measurements.evaluate_time_s


def _bare_loop(cell: CellSpec, dataset: Dataset, process: Process) -> float:
    recipe, device = cell.recipe, process.device
    images = DeviceImages(dataset.train, None, device)
    augmentation = Augmentation(cell, len(images), (125, 123, 114), device)
    normalize = Normalizer((0.5,) * 3, (0.25,) * 3, cell.image_size, device)
    model = build_model(cell.model, 10, cell.image_size).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe, device)
    autocast = make_autocast(cell.precision, device)
    steps = len(images) // recipe.batch_size
    model.train()
    process.synchronize()
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images)).to(device)
        for step in range(steps):
            batch = order[step * recipe.batch_size :][: recipe.batch_size]
            drawn = augmentation.draw(epoch, step, batch)
            set_lr(optimizer, lr_at(recipe, epoch * steps + step, recipe.epochs * steps))
            inputs = normalize(augmentation.apply(images.gather(batch), drawn))
            with autocast.context(), fast_gradients(cell, device):
                logits = model(inputs)
            F.cross_entropy(logits.float(), images.labels_of(batch)).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    process.synchronize()
    return time.perf_counter() - start


def _random_dataset(num_images: int) -> Dataset:
    random = np.random.default_rng(0)

    def images(count: int) -> ImageSet:
        pixels = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        return ImageSet(pixels, np.arange(count, dtype=np.int64) % 10)

    names = tuple(str(label) for label in range(10))
    return make_dataset("random", "numpy", images(num_images), images(1000), names, official=False)


if __name__ == "__main__":
    main()
