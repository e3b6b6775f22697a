"""How long `plan` and `status` take on a folder of ten thousand finished cells, as commands.

    python -m benchmarks.launch_scale
    python -m benchmarks.launch_scale --cells 10000 --rounds 5 --epochs 30

One cell is really run; its record and its predictions are then copied for as many other cells (other
seeds, augmentations, learning rates), each with its own id, and a history of so many epochs. Both
commands are timed from the outside, import time included: first on a folder that no command has
looked at before, then again. CPU time is what the command needs on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from harness.cell import CellSpec
from launch.matrix.files import read_matrix
from launch.matrix.matrix import expand_matrix
from launch.plan.states import INDEX_NAME

ROOT = Path(__file__).resolve().parent.parent
MODEL = "mlp"


def main() -> None:
    """Make the folder, time the commands, print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="of each command, after the first (3)")
    parser.add_argument("--epochs", type=int, default=6, help="rows of the history of each record (6)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verdict-scale-") as folder:
        runs, matrix = Path(folder) / "runs", Path(folder) / "matrix.yaml"
        cells = write_matrix(matrix, args.cells)
        copy_runs(template(Path(folder) / "template"), cells, runs, args.epochs)
        print(f"{len(cells):,} finished cells with {args.epochs} epochs each")
        report("plan, none finished", plan(matrix, Path(folder) / "nothing"), args.rounds, None)
        report("plan, all finished", plan(matrix, runs), args.rounds, runs)
        report("plan --json", [*plan(matrix, runs), "--json"], args.rounds, runs)
        report("status", launch("status", str(runs)), args.rounds, runs)
        report("status --json", [*launch("status", str(runs)), "--json"], args.rounds, runs)


def launch(*words: str) -> list[str]:
    """A command of the launcher."""
    return [sys.executable, "-m", "launch", *words]


def plan(matrix: Path, runs: Path) -> list[str]:
    """The command that plans the matrix, without a child process that counts."""
    return launch("plan", str(matrix), "--out", str(runs), "--no-estimate")


def report(name: str, command: list[str], rounds: int, runs: Path | None) -> None:
    """Time a command on a fresh folder, then again, and print the seconds."""
    if runs is not None:
        (runs / INDEX_NAME).unlink(missing_ok=True)
    wall_s, cpu_s = zip(*(timed(command) for _ in range(rounds + 1)), strict=True)
    print(
        f"{name:20} first {wall_s[0]:5.2f} s (CPU {cpu_s[0]:5.2f} s), "
        f"then {median(wall_s[1:]):5.2f} s (CPU {median(cpu_s[1:]):5.2f} s)"
    )


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of wall and of CPU time that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_matrix(path: Path, num_cells: int) -> list[CellSpec]:
    """A matrix file of so many cells of digits, and these cells."""
    content = {
        "dataset": "digits",
        "models": [MODEL],
        "augmentations": ["none", "flip_crop"],
        "recipes": ["demo"],
        "precisions": ["fp32", "bf16"],
        "seeds": list(range(-(-num_cells // 4))),
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return list(expand_matrix(read_matrix(str(path))).cells)


def template(out: Path) -> Path:
    """The folder of a run that has really been run."""
    command = [sys.executable, str(ROOT / "harness" / "run.py"), "--dataset", "digits", "--model", MODEL]
    command += ["--recipe", "demo", "--precision", "fp32", "--cpu", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return next(path.parent for path in out.glob("*/record.json"))


def copy_runs(run_dir: Path, cells: list[CellSpec], runs: Path, epochs: int) -> None:
    """The record and the predictions of a run for each of the cells, with a history of so many epochs."""
    record: dict[str, Any] = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))
    rows = record["history"]
    record["history"] = [{**rows[place % len(rows)], "epoch": place + 1} for place in range(epochs)]
    for cell in cells:
        folder = runs / cell.cell_id
        folder.mkdir(parents=True)
        record |= {"cell_id": cell.cell_id, "cell": cell.model_dump()}
        (folder / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        (folder / "predictions.npz").hardlink_to(run_dir / "predictions.npz")


if __name__ == "__main__":
    main()
