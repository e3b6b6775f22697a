"""Does a cell give the same losses however it is spread? The parity gate.

    python -m harness.parity                # every strategy and precision that this machine has
    python -m harness.parity --strategies ddp,fsdp --precisions fp32 --markdown

The same small cell (ResNet-20 with synchronised BatchNorm, digits, two epochs) is trained by one process
and, with the same global batches, by two under each strategy; and a net without BatchNorm in one batch
and in micro-batches. The losses of all steps and the accuracy at the end are held against those of one
process. What differs by more than its tolerance is a breach: exit code 1.
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
from harness.recipe import Recipe
from harness.record import read_record

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
STRATEGIES = ("ddp", *SHARDED)
NUM_PROCESSES = 2
ACCURACY_TOLERANCE = 0.02
RUN_TIMEOUT_S = 900
EXIT_BREACH = 1

LOSS_TOLERANCES = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}
"""Largest relative difference of one step's loss. Sums in another order differ in the last bit, and
training makes differences grow: what is tolerated is far below what another batch would do."""

_SCRIPT = Path(__file__).resolve().parent / "run.py"
_MODELS = {"with BatchNorm": "resnet20", "without": "simple_cnn"}


@dataclass(frozen=True)
class Outcome:
    """What one cell gave, or why it gave nothing."""

    cell: CellSpec
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

    @property
    def is_breach(self) -> bool:
        """Whether it ran and differs by more than is tolerated."""
        if self.outcome.refusal:
            return False
        accuracy = abs(self.outcome.accuracy - self.against.accuracy)
        tolerated = LOSS_TOLERANCES[self.outcome.cell.precision]
        return not (self.loss_difference <= tolerated and accuracy <= ACCURACY_TOLERANCE)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__, no_args_is_help=False)
def command(
    strategies: Annotated[str, typer.Option(help="some of them")] = ",".join(STRATEGIES),
    precisions: Annotated[str, typer.Option(help="some of them")] = ",".join(PRECISIONS),
    epochs: Annotated[int, typer.Option(min=1, help="of each training")] = 2,
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
        whole = {name: _run(_cell(name, precision, epochs), folder) for name in _MODELS}
        first = whole["with BatchNorm"]
        if first.refusal:
            rows.append(Row(first, first, 0.0))
            continue
        parts = _run(_cell("without", precision, epochs, accumulation_steps=4), folder)
        rows.append(_row(parts, whole["without"]))
        for strategy in strategies:
            spread = {"strategy": strategy, "num_processes": NUM_PROCESSES}
            for name, sync in (("with BatchNorm", True), ("without", False)):
                outcome = _run(_cell(name, precision, epochs, sync_batchnorm=sync, **spread), folder)
                rows.append(_row(outcome, whole[name]))
    return rows


def as_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| strategy | processes | precision | model | micro-batches | largest loss difference | tolerated | "
        "accuracy | of one process | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cell = row.outcome.cell
        start = (
            f"| {cell.strategy} | {cell.num_processes} | {cell.precision} | {cell.model} | "
            f"{cell.accumulation_steps} |"
        )
        if row.outcome.refusal:
            lines.append(f"{start} | | | | not here: {row.outcome.refusal} |")
            continue
        lines.append(
            f"{start} {row.loss_difference:.1e} | {LOSS_TOLERANCES[cell.precision]:.0e} | "
            f"{row.outcome.accuracy:.2%} | {row.against.accuracy:.2%} | "
            f"{'**BREACH**' if row.is_breach else 'ok'} |"
        )
    return "\n".join(lines)


def _row(outcome: Outcome, against: Outcome) -> Row:
    if outcome.refusal:
        return Row(outcome, against, 0.0)
    ours, theirs = outcome.losses.astype(np.float64), against.losses.astype(np.float64)
    return Row(outcome, against, float(np.max(np.abs(ours - theirs) / np.abs(theirs))))


def _cell(model: str, precision: str, epochs: int, **changes: Any) -> CellSpec:
    recipe = Recipe(
        epochs=epochs, batch_size=64, optimizer="sgd", lr=0.02, weight_decay=5e-4, schedule="cosine"
    )
    return make_cell(
        dataset="digits",
        model=_MODELS[model],
        augmentation="flip_crop",
        recipe=recipe,
        precision=precision,
        **changes,
    )


def _run(cell: CellSpec, folder: Path) -> Outcome:
    """Run the cell as a user would.

    Raises:
        VerdictError: it failed, other than for a reason that the user is told in one line.
    """
    path = folder / f"{cell.cell_id}.json"
    path.write_text(json.dumps(cell.model_dump()), encoding="utf-8")
    print(f"{cell.label()} {cell.strategy}, {cell.accumulation_steps} micro-batch(es)", file=sys.stderr)
    command = [sys.executable]
    if cell.num_processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={cell.num_processes}"]
    command += [str(_SCRIPT), "--cell", str(path), "--out", str(folder / "runs")]
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    run_dirs = [run_dir for run_dir in (folder / "runs").glob("*/") if _is_of(cell, run_dir)]
    record = read_record(run_dirs[0]) if run_dirs else None
    if record is not None and record.status == "finished":
        predictions, steps = np.load(run_dirs[0] / "predictions.npz"), np.load(run_dirs[0] / "steps.npz")
        correct = predictions["test_logits"].argmax(axis=1) == predictions["test_labels"]
        return Outcome(cell, steps["loss"], float(correct.mean()))
    refusals = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if not refusals:
        raise VerdictError(f"{cell.label()} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Outcome(cell, np.zeros(0, np.float32), 0.0, refusals[0].removeprefix("error: "))


def _is_of(cell: CellSpec, run_dir: Path) -> bool:
    """Whether a folder is of this cell; its id may have changed with the fingerprint of the data."""
    found = make_cell(**json.loads((run_dir / "cell.json").read_text(encoding="utf-8")))
    return found.model_copy(update={"data_fingerprint": None}) == cell


def _environment() -> dict[str, str]:
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
