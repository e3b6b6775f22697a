"""What the harness adds to a bare training loop: `run_cell` against the loop alone, in turns.

    python -m benchmarks.overhead --model resnet20 --steps 10 --rounds 20

The bare loop has the same model, data on the device, augmentation, precision and optimizer, and
nothing else: no record, no timing of steps, no progress, no check for a loss that is not finite. Two
figures come out: what is added to each second of training, and the seconds that every cell pays once,
however long it trains, for its folder, model, counts and record. Scoring images is work, and in neither.
Turns are short, so that both meet the same drift of the machine's speed.
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

from benchmarks.side_by_side import in_turns
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
    parser.add_argument("--steps", type=int, default=10, help="of a turn, in two epochs (10)")
    parser.add_argument("--rounds", type=int, default=20)
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
    once: list[float] = []

    def harness() -> float:
        train_s, once_s = _run_cell(cell, dataset, process)
        once.append(once_s)
        return train_s

    timed = {"harness": harness, "bare": lambda: _bare_loop(cell, dataset, process)}
    seconds = in_turns(timed, args.rounds)
    ratios = np.array(seconds["harness"]) / np.array(seconds["bare"])
    lower, upper = np.quantile(ratios, (0.25, 0.75)) - 1
    print(
        f"training: {median(seconds['harness']):.2f} s a turn, bare {median(seconds['bare']):.2f} s; "
        f"added {median(ratios) - 1:+.1%} (middle half of {args.rounds} turns: {lower:+.1%} to {upper:+.1%})"
    )
    print(f"once a cell: {median(once[1:]):.2f} s")  # the first is a warm-up


def _run_cell(cell: CellSpec, dataset: Dataset, process: Process) -> tuple[float, float]:
    """Seconds of training, and of everything else but scoring and measuring the latency."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(cell, dataset, process, describe_environment(process), Path(folder) / "run", "benchmark")
        start = time.perf_counter()
        record = run_cell(run, Reporter(None), "cell")
        seconds = time.perf_counter() - start
    assert record is not None
    assert record.measurements is not None
    spent = record.measurements
    train_s = spent.training_time_s
    return train_s, seconds - train_s - spent.evaluate_time_s - spent.latency_time_s


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
