"""Seconds that Muon takes to orthogonalize the updates of one step, with products in float32 and in bfloat16.

    python -m benchmarks.muon_products --model fast_cnn --threads 1

On a processor without instructions for bfloat16 its products are emulated (`harness/muon.py`).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from benchmarks.side_by_side import in_turns, speedup
from harness.muon import hidden_weights, orthogonalized
from harness.process import use_threads
from models.registry import build_model


def main() -> None:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="fast_cnn")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    use_threads(args.threads)
    weights = hidden_weights(build_model(args.model, num_classes=10, image_size=32))

    def step(products_in: torch.dtype) -> float:
        start = time.perf_counter()
        for weight in weights:
            orthogonalized(weight.detach(), products_in)
        return time.perf_counter() - start

    timed = {"float32": lambda: step(torch.float32), "bfloat16": lambda: step(torch.bfloat16)}
    seconds = in_turns(timed, args.rounds)
    for name in seconds:
        print(f"{name:8}  {median(seconds[name]):8.4f} s a step")
    print(f"float32 is {speedup(seconds['bfloat16'], seconds['float32'])} times as fast")


if __name__ == "__main__":
    main()
