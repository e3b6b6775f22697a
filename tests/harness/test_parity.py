from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.parity import NUM_PROCESSES, Outcome, Row, as_table, compare
from tests.harness.run_helpers import small_cell

ONE = small_cell()
TWO = small_cell(strategy="fsdp", num_processes=NUM_PROCESSES)


def outcome(*losses: float, accuracy: float = 0.5, refusal: str = "") -> Outcome:
    return Outcome(TWO, "in words", np.array(losses, np.float32), accuracy, refusal)


@pytest.mark.parametrize(
    ("difference", "accuracy", "must_differ", "expected"),
    [
        (1e-5, 0.5, False, False),
        (1e-2, 0.5, False, True),
        (1e-5, 0.6, False, True),
        (float("nan"), 0.5, False, True),
        (1e-5, 0.5, True, True),
        (1e-2, 0.5, True, False),
    ],
)
def test_a_breach_is_what_differs_or_does_not_as_it_should_not(
    difference: float, accuracy: float, must_differ: bool, expected: bool
) -> None:
    row = Row(outcome(1.0, accuracy=accuracy), outcome(1.0), difference, must_differ)
    assert row.is_breach is expected


def test_the_table_says_what_is_a_breach_and_what_is_not_possible() -> None:
    rows = [
        Row(outcome(1.0), outcome(1.0), 1e-6),
        Row(outcome(1.0), outcome(1.0), 0.5),
        Row(outcome(1.0), outcome(1.0), 0.5, must_differ=True),
        Row(outcome(refusal="no GPU"), outcome(1.0), 0.0),
    ]
    lines = as_table(rows).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.rsplit("|", 2)[1].strip() for line in lines[2:]] == [
        "ok",
        "**BREACH**",
        "differs, as it must",
        "not here: no GPU",
    ]
    assert "| fsdp | 2 | fp32 | simple_cnn | in words | 1.0e-06 | 1e-04 | 50.00% | 50.00% |" in lines[2]


def test_an_unknown_strategy_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "harness.parity", "--strategies", "dpd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: --strategies dpd: expected some of ddp, fsdp, zero1, zero2, zero3\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_strategy_gives_the_losses_of_one_process(tmp_path: Path) -> None:
    strategies = ["ddp", "fsdp", "zero1", "zero2", "zero3"]
    rows = compare(strategies, ["fp32", "fp16"], 1, tmp_path)
    assert not [row for row in rows if row.is_breach], as_table(rows)
    ran = {row.outcome.cell.strategy for row in rows if not row.outcome.refusal}
    assert ran == {"single", *strategies}
    assert "fp16 is not available on the CPU" in rows[-1].outcome.refusal
