"""The entry script as its users start it: real processes, real files, faults caused for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.record import Record, read_record
from models.registry import MODELS, build_model

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "harness" / "run.py")
PYTHON = [sys.executable, SCRIPT]
QUICK = ["--model", "mlp", "--augment", "none", "--epochs", "2", "--batch-size", "64", "--precision", "fp32"]


def start(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=280
    )


def records(runs: Path) -> dict[str, Record]:
    found = {}
    for run_dir in runs.iterdir():
        record = read_record(run_dir) if run_dir.is_dir() else None
        if record is not None:
            found[run_dir.name] = record
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "fast_cn"],
            "unknown model 'fast_cn': did you mean fast_cnn or fast_cnn_large? valid: convmixer",
        ),
        (["--augment", "flipcrop"], "unknown augmentation 'flipcrop': did you mean flip_crop"),
        (["--dataset", "cifar11"], "unknown dataset 'cifar11': did you mean cifar10"),
        (["--epochs", "0"], "epochs: Input should be greater than or equal to 1, not 0"),
        (["--precision", "fp8"], "Input should be 'fp32', 'tf32', 'bf16' or 'fp16', not 'fp8'"),
        (["--batch-size", "7", "--accumulate", "2"], "not divisible by 2"),
        (["--processes", "3", "--batch-size", "64"], "batch size 64 is not divisible by 3"),
        (["--set", "learning_rate=1"], "there is no 'learning_rate'"),
        (["--set", "lr"], "expected KEY=VALUE"),
        (["--preset", "dem"], "unknown preset 'dem': did you mean demo"),
        (["--cell", "missing.json"], "cannot read a cell from missing.json"),
        (["--data-dir", "data"], "are for cifar10, not for digits"),
        (["--epochs", "three"], "Invalid value for '--epochs'"),
        (["--epoch", "3"], "No such option: --epoch"),
        (["--processes", "0"], "num_processes: Input should be greater than or equal to 1, not 0"),
        (["--cell", "cell.json", "--processes", "2"], "--cell says all about the cell"),
        (["--threads", "0"], "--threads 0: expected 1 or more"),
        (["--until-epoch", "0"], "--until-epoch 0: expected 1 or more"),
        (["--track", "tensorbord"], "unknown tracker 'tensorbord': did you mean tensorboard?"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = start([*PYTHON, *arguments], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp16", "--cpu"], "precision fp16 is not available on the CPU"),
        (["--processes", "2"], "the cell asks for 2 process(es), but 1 run(s) together"),
        (["--batch-size", "2000", "--model", "mlp"], "larger than the 1294 training images"),
        (["--dataset", "imagefolder:nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_what_this_machine_cannot_do_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = start([*PYTHON, *arguments], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_comes_before_the_compiler_of_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules, 'torch._dynamo' in sys.modules))\n"
        f"sys.argv = [{SCRIPT!r}, '--precision', 'fp16', '--cpu']\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = start([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 2
    assert done.stdout == "True False\n"


def test_a_matrix_is_trained_ranked_and_not_trained_again(tmp_path: Path) -> None:
    command = [*PYTHON, *QUICK, "--seed", "0,1"]
    first = start(command, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "2 cell(s), 0 finished already" in first.stdout
    assert "GPipe" in first.stdout
    assert "Detectocorp" in first.stdout
    assert len((tmp_path / "runs" / "results.csv").read_text().splitlines()) == 3
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert len(before) == 2

    (tmp_path / "runs" / "results.csv").unlink()  # as if killed between the last record and the table
    again = start(command, tmp_path, PYTHONIOENCODING="ascii")
    assert again.returncode == 0, again.stderr
    assert "2 cell(s), 2 finished already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == before
    assert len((tmp_path / "runs" / "results.csv").read_text().splitlines()) == 3

    one = start([*PYTHON, "--cell", f"runs/{next(iter(records(tmp_path / 'runs')))}/cell.json"], tmp_path)
    assert "1 cell(s), 1 finished already" in one.stdout


def test_a_diverging_cell_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    command = [
        *PYTHON,
        "--model",
        "simple_cnn,mlp",
        "--precision",
        "fp32",
        "--augment",
        "none",
        "--epochs",
        "1",
        "--batch-size",
        "64",
    ]
    done = start([*command, "--set", "optimizer=sgd", "--set", "lr=1e6"], tmp_path)
    assert done.returncode == 1, done.stderr
    kinds = {record.cell.model: record.failure for record in records(tmp_path / "runs").values()}
    assert len(kinds) == 2
    assert all(failure is not None and failure.kind == "diverged" for failure in kinds.values())
    assert "diverged" in done.stdout
    assert (tmp_path / "runs" / "results.csv").read_text().count("diverged") == 2


LAUNCHERS = {
    "accelerate": ["-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"],
    "accelerate with our file": [
        "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_config.yaml"),
    ],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"],
}  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_works_from_any_folder(tmp_path: Path, launcher: str) -> None:
    done = start([sys.executable, *LAUNCHERS[launcher], SCRIPT, *QUICK, "--epochs", "1"], tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path / "runs").values()
    assert record.status == "finished"


def test_two_processes_agree_with_one_and_score_every_image_once(tmp_path: Path) -> None:
    """fp32 without BatchNorm: gradients of two halves average to those of the whole batch."""
    model = ["--model", "simple_cnn", "--augment", "flip_crop", "--epochs", "2", "--batch-size", "64"]
    options = [*model, "--precision", "fp32", "--set", "optimizer=sgd", "--set", "lr=0.05", "--tta"]
    single = start([*PYTHON, *options, "--out", "one", "--cpu"], tmp_path)
    assert single.returncode == 0, single.stderr
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    pair = start([*two, SCRIPT, *options, "--out", "two"], tmp_path, ACCELERATE_USE_CPU="true")
    assert pair.returncode == 0, pair.stderr
    (one_id, one), (two_id, two_record) = (
        next(iter(records(tmp_path / name).items())) for name in ("one", "two")
    )
    assert two_record.environment is not None
    assert two_record.environment.num_processes == 2
    assert two_record.environment.backend == "gloo"
    steps = [
        np.load(path)
        for path in (tmp_path / "one" / one_id / "steps.npz", tmp_path / "two" / two_id / "steps.npz")
    ]
    np.testing.assert_allclose(steps[1]["loss"], steps[0]["loss"], rtol=1e-4)
    logits = [
        np.load(tmp_path / name / cell_id / "predictions.npz")["test_logits"]
        for name, cell_id in (("one", one_id), ("two", two_id))
    ]
    assert logits[0].shape == logits[1].shape == (359, 10)  # odd: one process has an image more
    np.testing.assert_allclose(logits[1], logits[0], atol=1e-2)
    assert one.history[-1].val_accuracy == pytest.approx(two_record.history[-1].val_accuracy, abs=0.01)


@pytest.mark.slow
def test_layers_that_thaw_on_two_processes_train_as_on_one(tmp_path: Path) -> None:
    """DDP is set up anew whenever more layers get gradients."""
    weights = tmp_path / "weights.pt"
    torch.manual_seed(1)
    torch.save(build_model("simple_cnn", num_classes=10, image_size=32).state_dict(), weights)
    model = [
        "--model",
        "simple_cnn",
        "--pretrained",
        f"file:{weights}",
        "--recipe",
        "gradual",
        "--epochs",
        "4",
    ]
    options = [*model, "--precision", "fp32", "--set", "optimizer=sgd", "--set", "lr=0.02"]
    single = start([*PYTHON, *options, "--out", "one", "--cpu"], tmp_path)
    assert single.returncode == 0, single.stderr
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    pair = start([*two, SCRIPT, *options, "--out", "two"], tmp_path, ACCELERATE_USE_CPU="true")
    assert pair.returncode == 0, pair.stderr
    one, both = (np.load(next((tmp_path / name).glob("*/steps.npz")))["loss"] for name in ("one", "two"))
    np.testing.assert_allclose(both, one, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_model_trains_an_epoch_on_two_processes(tmp_path: Path) -> None:
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--model", ",".join(MODELS), "--recipe", "demo", "--epochs", "1", "--precision", "bf16"]
    done = subprocess.run(
        [*two, SCRIPT, *options],
        cwd=tmp_path,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=3500,
    )
    assert done.returncode == 0, done.stderr
    finished = records(tmp_path / "runs").values()
    assert {record.cell.model for record in finished} == set(MODELS)
    assert {record.status for record in finished} == {"finished"}
    assert {record.environment and record.environment.num_processes for record in finished} == {2}


def start_and_kill(command: list[str], folder: Path, when: Callable[[], bool]) -> None:
    """Start a command and kill it, with all its children, as soon as `when()` is true."""
    child = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not when() and child.poll() is None:
        time.sleep(0.005)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def assert_whole(runs: Path) -> None:
    """Every file that has its final name can be read to the end."""
    for path in runs.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in runs.rglob("*.npz"):
        with np.load(path) as arrays:
            for name in arrays.files:
                assert arrays[name] is not None


def matrix_of(num_cells: int) -> list[str]:
    return [*PYTHON, *QUICK, "--seed", ",".join(str(seed) for seed in range(num_cells))]


EIGHT_CELLS = matrix_of(8)


def check_kills(tmp_path: Path, kills: list[Callable[[], bool]], num_cells: int) -> None:
    """Kill a matrix again and again, then let it finish: nothing is lost, run twice or half there."""
    runs, command = tmp_path / "runs", matrix_of(num_cells)
    finished: dict[str, int] = {}
    for when in kills:
        start_and_kill(command, tmp_path, when)
        if not runs.exists():
            continue
        assert_whole(runs)
        times = {name: (runs / name / "record.json").stat().st_mtime_ns for name in records(runs)}
        assert finished.items() <= times.items(), "a finished cell was lost or run again"
        finished = times
    assert finished, "no cell was finished before a kill"
    done = start(command, tmp_path)
    assert done.returncode == 0, done.stderr
    times = {name: (runs / name / "record.json").stat().st_mtime_ns for name in records(runs)}
    assert finished.items() <= times.items()
    assert len(times) == num_cells
    assert len((runs / "results.csv").read_text().splitlines()) == num_cells + 1
    left = [path.name for path in runs.glob("*/*") if path.name.endswith((".tmp", ".reserved"))]
    assert left == []


def test_killed_runs_lose_no_finished_cell_and_leave_no_half_file(tmp_path: Path) -> None:
    def number_of(pattern: str, enough: int) -> Callable[[], bool]:
        return lambda: len(list((tmp_path / "runs").glob(pattern))) >= enough

    kills = [number_of("*/cell.json", 1), number_of("*/record.json", 2), number_of("*/predictions.npz", 5)]
    check_kills(tmp_path, kills, num_cells=8)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_thirty_moments_loses_nothing(tmp_path: Path) -> None:
    """Moments that are spread over the work itself: 0 to 2 seconds after the first cell was opened."""

    def moment(pause_s: float) -> Callable[[], bool]:
        started: list[float] = []

        def when() -> bool:
            started.append(time.time())
            opened = [path.stat().st_mtime for path in (tmp_path / "runs").glob("*/cell.json")]
            first = min((at for at in opened if at >= started[0]), default=float("inf"))
            return time.time() - first > pause_s

        return when

    moments = np.random.default_rng(0).uniform(0, 2, 30).tolist()
    check_kills(tmp_path, [moment(pause_s) for pause_s in moments], num_cells=150)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        done = start([*PYTHON, *QUICK, "--out", str(disk / "runs")], tmp_path)
        left = [path.name for path in disk.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no space left to write" in done.stderr
    assert set(left) <= {"cell.json", "log.txt", ".claim"}


def test_interrupting_keeps_what_is_finished(tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    child = subprocess.Popen(
        EIGHT_CELLS,
        cwd=tmp_path,
        env=os.environ | {"VERDICT_OUTCOME_FILE": str(outcome)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("cell 2/8"):
            break
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert errors.startswith("interrupted: what is finished is kept")
    assert errors.count("\n") == 1
    assert json.loads(outcome.read_text())["kind"] == "interrupted"
    assert "finished" in [record.status for record in records(tmp_path / "runs").values()]


@pytest.mark.slow
def test_two_matrices_on_one_folder_keep_what_the_other_finished(tmp_path: Path) -> None:
    first = subprocess.Popen(EIGHT_CELLS, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    second = start(EIGHT_CELLS, tmp_path)
    first.communicate(timeout=280)
    assert first.returncode == second.returncode == 0, second.stderr
    assert len(records(tmp_path / "runs")) == 8
    moved = [path for path in (tmp_path / "runs").glob("*/attempts/*") if "finished" in path.read_text()]
    assert moved == []


def test_cifar10_in_the_official_layout_trains_when_the_flag_accepts_it(
    tmp_path: Path, shared_data: Path
) -> None:
    subprocess.run([sys.executable, shared_data / "make_cifar10.py", tmp_path / "mini", "--mini"], check=True)
    options = [*QUICK, "--dataset", "cifar10", "--data-dir", str(tmp_path / "mini")]
    refused = start([*PYTHON, *options], tmp_path)
    assert refused.returncode == 2
    assert "--allow-unofficial-data" in refused.stderr
    done = start([*PYTHON, *options, "--allow-unofficial-data"], tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path / "runs").values()
    assert record.data is not None
    assert not record.data.official
    assert record.cell.data_fingerprint == record.data.fingerprint
    assert "not official" in done.stdout
