"""A matrix of real cells in which five go wrong, each in its own way: the others must not notice."""

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.record import read_record

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).parent / "faults"
MATRIX = """
name: faults
dataset: digits
models: [mlp, simple_cnn]
augmentations: [none]
recipes: [demo]
precisions: [fp32]
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8]
set: {epochs: 1}
include:
  - {model: mlp, seed: 97}
  - {model: mlp, seed: 98}
  - {model: mlp, seed: 10, set: {lr: 1.0e+9, optimizer: sgd, warmup_fraction: 0}}
  - {model: mlp, seed: 11, set: {batch_size: 5000}}
  - {model: wrn_28_10, seed: 12, set: {batch_size: 1024}}
  - {model: mlp, seed: 9}
"""
KINDS = {
    97: "crashed",
    98: "hung",
    10: "diverged",
    11: "usage",
    12: "out_of_memory",
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_matrix_in_which_five_cells_go_wrong_finishes_the_others(tmp_path: Path) -> None:
    matrix = tmp_path / "faults.yaml"
    matrix.write_text(MATRIX)
    out = tmp_path / "runs"
    options = "--cpu --jobs 2 --memory 4GB --on-oom fail --hang-timeout 60s --retries 1"
    command = [sys.executable, "-m", "launch", "run", str(matrix), "--out", str(out), *options.split()]
    environment = os.environ | {"PYTHONPATH": f"{FAULTS}{os.pathsep}{ROOT}", "COLUMNS": "160"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stdout + done.stderr

    found = {}
    for path in out.glob("*/record.json"):
        record = read_record(path.parent)
        assert record is not None
        found[record.cell.model, record.cell.seed] = record
    assert len(found) == 24
    kinds = {seed: record.failure.kind for (_, seed), record in found.items() if record.failure is not None}
    assert kinds == KINDS, done.stdout
    assert Counter(record.status for record in found.values()) == {"finished": 19, "failed": 5}
    for (_, seed), record in found.items():
        if record.failure is not None:
            assert record.failure.message, seed
            assert record.failure.burnt_s > 0, seed
            assert "harness/run.py --cell" in record.command, seed
            assert record.failure.log_tail, seed
            words = record.failure.kind.replace("_", " ")
            assert f"{words}: {record.cell.label()}" in done.stdout
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["status"] for row in rows) == {"finished": 19, "failed": 5}
    hung = next(path for path in out.glob("*/record.json") if '"seed": 98' in path.read_text())
    assert len(list((hung.parent / "attempts").glob("*.json"))) == 1  # it was tried twice
