"""Images per second of training with our gradients of depthwise convolutions against torch's own.

    python -m benchmarks.depthwise --model mobilenet_v2 --precision bf16
    python -m benchmarks.depthwise --model timm:tf_efficientnet_lite0 --image-size 96

One process, forward and backward on random images, the two in turns (`harness/depthwise.py`).
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from statistics import median

import torch

from benchmarks.side_by_side import in_turns, speedup
from harness.cell import make_cell
from harness.depthwise import FastDepthwise
from harness.model import make_model
from harness.precision import make_autocast
from harness.process import use_threads
from harness.recipes import recipe_for

CPU = torch.device("cpu")


def main() -> None:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    use_threads(None)
    cell = make_cell(
        dataset="digits",
        model=args.model,
        image_size=args.image_size,
        augmentation="none",
        recipe=recipe_for(args.model, "fast", {}),
        precision=args.precision,
    )
    model = make_model(cell, 10, CPU).module
    autocast = make_autocast(args.precision, CPU)
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size)
    images = images.to(memory_format=torch.channels_last)

    def step(fast: bool) -> float:
        start = time.perf_counter()
        with autocast.context(), FastDepthwise() if fast else nullcontext():
            logits = model(images)
        logits.float().logsumexp(dim=1).sum().backward()
        model.zero_grad()
        return time.perf_counter() - start

    seconds = in_turns({"ours": lambda: step(True), "torch": lambda: step(False)}, args.rounds)
    for name in seconds:
        print(f"{name:5}  {args.batch_size / median(seconds[name]):8.1f} images/s")
    print(f"ours is {speedup(seconds['torch'], seconds['ours'])} times as fast")


if __name__ == "__main__":
    main()
