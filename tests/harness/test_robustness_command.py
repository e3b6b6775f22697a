"""The command, on a small cell of digits that was really trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from harness import robustness
from harness.asking import Answers, Ledger
from harness.datasets.base import Dataset
from harness.datasets.digits import load_digits
from harness.record import ROBUSTNESS_FILE, read_record
from harness.robustness import LEVELS, Level
from harness.robustness_command import PARTIAL_NAME, FileLedger
from results.robustness import read_robustness
from tests.harness.run_helpers import run_in


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(32)


def trained(data: Dataset, run_dir: Path) -> Path:
    """The folder of a finished run."""
    assert run_in(data, run_dir, model="mlp", recipe={"epochs": 1, "batch_size": 100}) is not None
    return run_dir


@pytest.fixture(scope="module")
def finished(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(digits, tmp_path_factory.mktemp("robust") / "run")


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels that take no time, and a process that stays as it is."""
    monkeypatch.setitem(LEVELS, "quick", Level((1, 5), ("contrast", "spatter"), 10, 4))
    monkeypatch.setitem(LEVELS, "full", Level((1, 5), ("contrast", "spatter"), None, 6))
    monkeypatch.setattr("harness.robustness_command.use_deterministic_kernels", lambda: None)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["robustness", *map(str, arguments)])
    return robustness.main()


def test_a_run_is_measured_and_read_again(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, run_dir, "--device", "cpu") == 0
    record = read_record(run_dir)
    assert record is not None
    found = read_robustness(run_dir, record)
    assert found is not None
    assert found.scores.robustness_level == "quick"
    assert found.scores.robustness_images == 10
    assert found.scores.attacked_images == 4
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["spatter"] == [f"{100 * share:.2f}%" for share in found.accuracy[1]]
    assert not (run_dir / PARTIAL_NAME).exists()


def test_an_interrupted_command_goes_on_where_it_stopped(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, calls = Ledger.piece, []

    def piece(self: Ledger, name: str, labels: Any, ask: Any) -> Answers:
        calls.append(name)
        if name == "flip":
            raise KeyboardInterrupt
        return measure(self, name, labels, ask)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "piece", piece)
        assert run(monkeypatch, run_dir) == 130
    assert not (run_dir / ROBUSTNESS_FILE).exists()
    assert run(monkeypatch, run_dir) == 0
    assert f"going on: {len(calls) - 1} pieces are done already" in capsys.readouterr().out
    assert (run_dir / ROBUSTNESS_FILE).exists()


@pytest.mark.parametrize("content", [b"nothing", None])
def test_a_partial_file_that_is_no_good_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / PARTIAL_NAME
    if content is None:
        other = FileLedger(path, {"level": "full"}, Progress())
        answers = Answers(np.zeros(3, np.uint8), np.ones(3, np.float16))
        other.done["clean"] = answers
        other.keep()
        assert FileLedger(path, {"level": "full"}, Progress()).done.keys() == {"clean"}
    else:
        path.write_bytes(content)
    assert FileLedger(path, {"level": "quick"}, Progress()).done == {}
    assert "starting again" in capsys.readouterr().out


def test_other_test_images_than_those_of_the_record_are_refused(
    striped_images: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = trained(striped_images, tmp_path / "run")
    assert run(monkeypatch, run_dir) == 2
    assert "are not those that the run was trained and tested on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--level", "fulll"], "unknown robustness level 'fulll': did you mean full?"),
        (["--level", "none"], "unknown robustness level 'none'"),
        (["--device", "tpu"], "--device tpu: expected cpu or cuda"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run(monkeypatch, run_dir, *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "nowhere") == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_a_full_measurement_is_not_replaced_by_a_quick_one(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(run_dir / ROBUSTNESS_FILE, level=np.array("full"))
    assert run(monkeypatch, run_dir) == 2
    assert "was measured at level full" in capsys.readouterr().err
