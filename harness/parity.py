"""Does a cell give the same losses however it is spread? The parity gate.

    python -m harness.parity                # every strategy and precision that this machine has
    python -m harness.parity --strategies ddp,fsdp --precisions fp32 --markdown

Two small nets are trained on digits by one process and, with the same global batches, by two under each
strategy: one with BatchNorm, synchronised, by SGD, and one without it by AdamW; the latter also in
micro-batches. The loss of every step and the accuracy at the end are held against those of one process.
What differs by more than is tolerated is a breach: exit code 1.

Two controls say what that is worth. One process on one CPU thread differs from one on all of them by
rounding only, which training makes grow: nothing can agree better than that. And two processes whose
BatchNorm is not synchronised must be told apart from one process, or the gate sees nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from harness.cell import SHARDED, CellSpec, make_cell
from harness.console import run_command
from harness.errors import UsageError, VerdictError
from harness.recipe import make_recipe
from harness.record import read_record

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
STRATEGIES = ("ddp", *SHARDED)
NUM_PROCESSES = 2
RUN_TIMEOUT_S = 900
EXIT_BREACH = 1

LOSS_TOLERANCES = {"fp32": 1e-4, "tf32": 2e-3, "bf16": 7e-3, "fp16": 2e-3}
"""Largest relative difference of one step's loss. tf32 and fp16 have three bits more than bf16."""

ACCURACY_TOLERANCES = {"fp32": 0.01, "tf32": 0.02, "bf16": 0.04, "fp16": 0.02}
"""Largest difference of accuracies. After one epoch they still move by points from step to step."""

_SCRIPT = Path(__file__).resolve().parent / "run.py"
_BATCH_SIZE = 64
_NORMED, _PLAIN = "fast_cnn", "simple_cnn"
# rates at which rounding errors grow slowly: those of ResNet-20 reach 1e-2 within ten steps at 0.05
_RECIPES: dict[str, dict[str, Any]] = {
    _NORMED: {"optimizer": "sgd", "lr": 0.02, "weight_decay": 5e-4},
    _PLAIN: {"optimizer": "adamw", "lr": 1.5e-3, "weight_decay": 0.01},
}


@dataclass(frozen=True)
class Outcome:
    """What one cell gave, or why it gave nothing."""

    cell: CellSpec
    what: str
    """In words."""

    losses: np.ndarray[Any, np.dtype[np.float32]]
    """Of every step; none where it did not run."""

    accuracy: float
    """Share of the test images, 0 to 1."""

    refusal: str = ""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    outcome: Outcome
    against: Outcome
    loss_difference: float
    """Largest relative difference of a step's loss."""

    must_differ: bool = False

    @property
    def is_breach(self) -> bool:
        """Whether it ran and differs by more than is tolerated."""
        if self.outcome.refusal:
            return False
        precision = self.outcome.cell.precision
        accuracy = abs(self.outcome.accuracy - self.against.accuracy)
        agrees = self.loss_difference <= LOSS_TOLERANCES[precision]
        if self.must_differ:
            return agrees
        return not (agrees and accuracy <= ACCURACY_TOLERANCES[precision])


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__, no_args_is_help=False)
def command(
    strategies: Annotated[str, typer.Option(help="some of them")] = ",".join(STRATEGIES),
    precisions: Annotated[str, typer.Option(help="some of them")] = ",".join(PRECISIONS),
    epochs: Annotated[int, typer.Option(min=1, help="of each training")] = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the table as Markdown")] = False,
) -> None:
    """Run the gate and end with an exit code."""
    chosen = _split("strategies", strategies, STRATEGIES), _split("precisions", precisions, PRECISIONS)
    with tempfile.TemporaryDirectory(prefix="verdict-parity-") as folder:
        rows = compare(*chosen, epochs, Path(folder))
    print(as_table(rows) if markdown else as_table(rows).replace("|", " "))
    breaches = sum(row.is_breach for row in rows)
    refused = sum(bool(row.outcome.refusal) for row in rows)
    print(f"\n{len(rows) - refused} comparisons, {breaches} breach(es); {refused} not possible here")
    raise typer.Exit(EXIT_BREACH if breaches else 0)


def compare(strategies: list[str], precisions: list[str], epochs: int, folder: Path) -> list[Row]:
    """Train every cell in a process of its own, and hold it against the one of a single process."""
    rows = []
    for precision in precisions:
        whole = {name: _run(_cell(name, precision, epochs), folder) for name in (_NORMED, _PLAIN)}
        if whole[_NORMED].refusal:
            rows.append(_row(whole[_NORMED], whole[_NORMED]))
            continue
        for one in whole.values():
            rows.append(_row(_run(one.cell, folder / "control", "control: 1 thread", threads=1), one))
        parts = _cell(_PLAIN, precision, epochs, accumulation_steps=4)
        rows.append(_row(_run(parts, folder, "4 micro-batches"), whole[_PLAIN]))
        for strategy in strategies:
            spread = {"strategy": strategy, "num_processes": NUM_PROCESSES}
            synced = _cell(_NORMED, precision, epochs, sync_batchnorm=True, **spread)
            rows.append(_row(_run(synced, folder, "synchronised BatchNorm"), whole[_NORMED]))
            rows.append(_row(_run(_cell(_PLAIN, precision, epochs, **spread), folder), whole[_PLAIN]))
        apart = _cell(_NORMED, precision, epochs, strategy="ddp", num_processes=NUM_PROCESSES)
        control = _run(apart, folder, "control: not synchronised")
        rows.append(_row(control, whole[_NORMED], must_differ=True))
    return rows


def as_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| strategy | processes | precision | model | | largest loss difference | tolerated | accuracy | "
        "of one process | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cell = row.outcome.cell
        start = f"| {cell.strategy} | {cell.num_processes} | {cell.precision} | {cell.model} "
        if row.outcome.refusal:
            lines.append(f"{start}| | | | | | not here: {row.outcome.refusal} |")
            continue
        verdict = "**BREACH**" if row.is_breach else "differs, as it must" if row.must_differ else "ok"
        tolerated = f"{LOSS_TOLERANCES[cell.precision]:.0e}"
        lines.append(
            f"{start}| {row.outcome.what} | {row.loss_difference:.1e} | {tolerated} | "
            f"{row.outcome.accuracy:.2%} | {row.against.accuracy:.2%} | {verdict} |"
        )
    return "\n".join(lines)


def _row(outcome: Outcome, against: Outcome, must_differ: bool = False) -> Row:
    if outcome.refusal:
        return Row(outcome, against, 0.0)
    ours, theirs = outcome.losses.astype(np.float64), against.losses.astype(np.float64)
    return Row(outcome, against, float(np.max(np.abs(ours - theirs) / np.abs(theirs))), must_differ)


def _cell(model: str, precision: str, epochs: int, **changes: Any) -> CellSpec:
    recipe = make_recipe(
        {"epochs": epochs, "batch_size": _BATCH_SIZE, "schedule": "cosine"} | _RECIPES[model]
    )
    return make_cell(
        dataset="digits",
        model=model,
        augmentation="flip_crop",
        recipe=recipe,
        precision=precision,
        **changes,
    )


def _run(cell: CellSpec, folder: Path, what: str = "", threads: int | None = None) -> Outcome:
    """Run the cell as a user would.

    Raises:
        VerdictError: it failed, other than for a reason that the user is told in one line.
    """
    path, runs = folder / f"{cell.cell_id}.json", folder / "runs"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(cell.model_dump()), encoding="utf-8")
    print(f"{cell.label()} {cell.strategy} {what}", file=sys.stderr)
    command = [sys.executable]
    if cell.num_processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={cell.num_processes}"]
    command += [str(_SCRIPT), "--cell", str(path), "--out", str(runs)]
    command += [] if threads is None else ["--threads", str(threads)]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    run_dirs = [run_dir for run_dir in runs.glob("*/") if _is_of(cell, run_dir)]
    record = read_record(run_dirs[0]) if run_dirs else None
    if record is not None and record.status == "finished":
        predictions, steps = np.load(run_dirs[0] / "predictions.npz"), np.load(run_dirs[0] / "steps.npz")
        correct = predictions["test_logits"].argmax(axis=1) == predictions["test_labels"]
        return Outcome(cell, what, steps["loss"], float(correct.mean()))
    refusals = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if record is not None or not refusals:
        raise VerdictError(f"{cell.label()} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Outcome(cell, what, np.zeros(0, np.float32), 0.0, refusals[0].removeprefix("error: "))


def _is_of(cell: CellSpec, run_dir: Path) -> bool:
    """Whether a folder is of this cell; its id may have changed with the fingerprint of the data."""
    found = make_cell(**json.loads((run_dir / "cell.json").read_text(encoding="utf-8")))
    return found.model_copy(update={"data_fingerprint": None}) == cell


def child_environment() -> dict[str, str]:
    """The environment of a child: on the CPU where there are fewer GPUs than processes."""
    import torch

    environment = dict(os.environ)
    if torch.cuda.device_count() < NUM_PROCESSES:
        environment["ACCELERATE_USE_CPU"] = "true"
    return environment


def _split(what: str, text: str, valid: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in valid:
            raise UsageError(f"--{what} {name}: expected some of {', '.join(valid)}")
    return names


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m harness.parity"))
