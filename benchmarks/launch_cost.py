"""What the launcher costs: CPU time of its own, seconds a cell, and what two cells at once save.

    python -m benchmarks.launch_cost --cells 6 --epochs 60

The same small cells of digits are run as bare children one after the other, by the launcher with
`--jobs 1`, and with `--jobs 2`; each child computes on one core, so that all three do the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.settings import Settings
from launch.command import child_command
from launch.job import Job
from launch.matrix.files import load_preset
from launch.matrix.matrix import expand_matrix, with_overrides
from results.store import load_runs

START_S, END_S = 6.0, 3.0
"""Left out of the launcher's own CPU time: the start of Python and the plan, the leaderboard."""


@dataclass(frozen=True)
class Cost:
    """Of one way to run the cells."""

    wall_s: float
    own_share: float | None
    """CPU time of the launcher itself over the time, between its start and its end; None: there is none."""

    accuracies: dict[str, float]
    """In percent, by cell id."""


def main() -> None:
    """Run the cells in the three ways, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    costs = {
        "bare children": _bare(args.cells, args.epochs),
        "--jobs 1": _launched(args.cells, args.epochs, jobs=1),
        "--jobs 2": _launched(args.cells, args.epochs, jobs=2),
    }
    for name, cost in costs.items():
        print(f"{name:14} {cost.wall_s:7.1f} s, {cost.wall_s / args.cells:6.2f} s a cell", end="")
        print("" if cost.own_share is None else f"; the launcher itself {cost.own_share:.2%} of a core")
    bare, one, two = costs.values()
    print(f"the launcher adds {(one.wall_s - bare.wall_s) / args.cells:+.2f} s a cell")
    print(f"--jobs 2 takes {two.wall_s / one.wall_s:.2f} of the time of --jobs 1")
    same = bare.accuracies == one.accuracies == two.accuracies
    print(f"accuracies are {'the same' if same else f'not the same: {costs}'}")


def _axes(cells: int, epochs: int) -> dict[str, str]:
    seeds = ",".join(map(str, range(cells)))
    return {"--model": "simple_cnn", "--augment": "flip_crop", "--seed": seeds, "--epochs": str(epochs)}


def _launched(cells: int, epochs: int, jobs: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "launch", "run", "demo", "--out", folder, "--cpu", "--threads", "1"]
        words += ["--jobs", str(jobs), *(word for pair in _axes(cells, epochs).items() for word in pair)]
        begun = time.monotonic()
        launcher = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        samples = []
        while launcher.poll() is None:
            with suppress(psutil.Error):
                times = psutil.Process(launcher.pid).cpu_times()
                samples.append((time.monotonic() - begun, times.user + times.system))
            time.sleep(0.2)
        assert launcher.wait() == 0, "the launcher failed"
        wall_s = time.monotonic() - begun
        waiting = [sample for sample in samples if START_S <= sample[0] <= wall_s - END_S]
        (first_s, first_cpu_s), (last_s, last_cpu_s) = waiting[0], waiting[-1]
        share = (last_cpu_s - first_cpu_s) / (last_s - first_s)
        return Cost(wall_s, share, _accuracies(Path(folder)))


def _bare(cells: int, epochs: int) -> Cost:
    seeds = tuple(range(cells))
    axes = {"models": ("simple_cnn",), "augmentations": ("flip_crop",), "seeds": seeds}
    matrix = with_overrides(load_preset("demo"), axes, {"epochs": epochs})
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        settings = Settings(out=out, cpu=True, threads=1)
        begun = time.monotonic()
        for cell in expand_matrix(matrix).cells:
            job = Job(cell, out / cell.cell_id)
            job.run_dir.mkdir()
            (job.run_dir / "cell.json").write_text(json.dumps(cell.model_dump()), encoding="utf-8")
            words = ["taskset", "-c", str(core), *child_command(job, settings)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        wall_s = time.monotonic() - begun
        return Cost(wall_s, None, _accuracies(out))


def _accuracies(out: Path) -> dict[str, float]:
    runs = load_runs(out).runs
    return {run.record.cell_id: run.scores.test_accuracy_percent for run in runs if run.scores is not None}


if __name__ == "__main__":
    main()
