"""What sampling energy and memory costs: training steps with the sampler beside them and without, in turns.

    python -m benchmarks.sampling --model simple_cnn --batch-size 16 --steps 24 --rounds 60
    python -m benchmarks.sampling --gpu GPU-f8ad...     # ask NVML, though this machine trains on its CPU

The median over many short turns is told, with the middle half, of the time on the clock and, which other
programs disturb less, of the processor time of the whole process. Then comes the processor time of the
sampling thread alone over a longer training. To start a sampler is paid once in a cell, and not in a turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.side_by_side import in_turns
from harness.host_memory import keep_freed_memory
from harness.meters import GpuSource, Source
from harness.optimizer import make_optimizer
from harness.precision import make_autocast
from harness.process import Process, start_process, use_threads
from harness.recipes import recipe_for
from harness.sampler import INTERVAL_S, Sampler, source_of
from models.registry import build_model

STEADY_S = 30.0


def main() -> None:
    """Take the turns, then sample one longer training, and print both costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="of a turn (5)")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, help="CPU threads that train (all cores)")
    parser.add_argument("--interval", type=float, default=INTERVAL_S, help=f"seconds ({INTERVAL_S})")
    parser.add_argument("--gpu", metavar="UUID", help="(the device that trains)")
    args = parser.parse_args()

    use_threads(args.threads)
    process = start_process(use_cpu=not torch.cuda.is_available())
    source = GpuSource(args.gpu) if args.gpu else source_of(process.device)
    if process.device.type == "cpu":
        keep_freed_memory()
    step = _make_step(args.model, args.batch_size, process)

    processor_s: dict[str, list[float]] = {"sampled": [], "alone": []}

    def turn(name: str) -> float:
        with Sampler(source, args.interval) as sampler:
            sampler.read()  # it has started, in the turns without it as well: caches and clocks remember
            if name == "sampled":
                return timed(name)
        return timed(name)

    def timed(name: str) -> float:
        start, start_processor = time.perf_counter(), time.process_time()
        for _ in range(args.steps):
            step()
        process.synchronize()
        processor_s[name].append(time.process_time() - start_processor)
        return time.perf_counter() - start

    seconds = in_turns({name: partial(turn, name) for name in processor_s}, args.rounds)
    print(f"{median(seconds['alone']):.3f} s a turn alone; sampling every {args.interval} s adds")
    _print_added("on the clock", seconds)
    _print_added("of processor time", {name: each[1:] for name, each in processor_s.items()})  # as in_turns
    _print_thread(source, args.interval, step)


def _print_added(what: str, seconds: dict[str, list[float]]) -> None:
    ratios = np.array(seconds["sampled"]) / np.array(seconds["alone"])
    lower, upper = np.quantile(ratios, (0.25, 0.75)) - 1
    print(
        f"{median(ratios) - 1:+.2%} {what} (middle half of {len(ratios)} turns: {lower:+.2%} to {upper:+.2%})"
    )


def _print_thread(source: Source, interval_s: float, step: Callable[[], None]) -> None:
    with Sampler(source, interval_s) as sampler:
        start = time.perf_counter()
        while time.perf_counter() - start < STEADY_S:
            step()
    seconds = sampler.read().measured_s
    share = sampler.cpu_s / seconds
    print(
        f"processor time of the sampling thread: {sampler.cpu_s:.3f} s in {seconds:.0f} s, "
        f"{share:.2%} of one core, {share / torch.get_num_threads():.2%} of those that train"
    )


def _make_step(name: str, batch_size: int, process: Process) -> Callable[[], None]:
    device = process.device
    recipe = recipe_for(name, "fast", {"batch_size": batch_size, "lr": 1e-4})
    model = build_model(name, 10, 32).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe, device)
    autocast = make_autocast("bf16", device)
    images = torch.randn(batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,), device=device)

    def step() -> None:
        with autocast.context():
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main()
