"""One process with all threads against two with half of them each: images per second and memory, by strategy.

    python -m benchmarks.scaling --rounds 3
    python -m benchmarks.scaling --model resnet18

Each side is `harness/run.py` on one epoch of digits; they take turns. The default model is ViT-B/16 on
images of 32 pixels, 86 million parameters in twelve equal blocks that see five tokens an image, trained
by AdamW: weights, gradients and moments take most of the memory. Memory is the peak resident set after
the first step of the process that has the most (on a GPU, what tensors took), with the interpreter,
torch and the images in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from harness.cell import SHARDED
from harness.parity import child_environment
from harness.record import Record, read_record

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run all sides in turns and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="torchvision:vit_b_16")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategies", default=",".join(("single", "ddp", *SHARDED)))
    args = parser.parse_args()
    names = args.strategies.split(",")
    records: dict[str, list[Record]] = {name: [] for name in names}
    for index in range(args.rounds):
        for name in names[:: -1 if index % 2 else 1]:
            records[name].append(_run(args, name))
    print(
        "| strategy | processes x threads | images/s | peak MiB of one | its parameters | optimizer values |"
    )
    print("|---|---|---|---|---|---|")
    for name, runs in records.items():
        print(_row(name, runs))


def _row(name: str, runs: list[Record]) -> str:
    speeds = [_speed(run) for run in runs]
    peaks = [_peak_mib(run) for run in runs]
    found = runs[0].in_effect
    assert found is not None
    environment = runs[0].environment
    assert environment is not None
    return (
        f"| {name} | {environment.num_processes} x {environment.threads_per_process} | "
        f"{median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}) | {median(peaks):,.0f} | "
        f"{max(found.params_per_process) / 1e6:.1f} M | "
        f"{max(found.optimizer_values_per_process) / 1e6:.1f} M |"
    )


def _speed(run: Record) -> float:
    assert run.measurements is not None
    assert run.measurements.images_per_s is not None
    return run.measurements.images_per_s


def _peak_mib(run: Record) -> float:
    assert run.measurements is not None
    assert run.measurements.later_peak_mib is not None
    return run.measurements.later_peak_mib


def _run(args: argparse.Namespace, strategy: str) -> Record:
    """One epoch of the cell under that strategy."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    launcher = [] if strategy == "single" else torchrun
    with tempfile.TemporaryDirectory() as folder:
        options = (
            f"--dataset digits --val-fraction 0 --epochs 1 --model {args.model} "
            f"--image-size {args.image_size} --batch-size {args.batch_size} "
            f"--precision {args.precision} --strategy {strategy}"
        )
        script = [str(ROOT / "harness" / "run.py"), "--out", folder]
        command = [sys.executable, *launcher, *script, *options.split()]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        (path,) = Path(folder).glob("*/record.json")
        record = read_record(path.parent)
    assert record is not None
    return record


if __name__ == "__main__":
    main()
