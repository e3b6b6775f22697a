import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cell import make_cell
from harness.record import read_record
from launch.command import child_command, child_environment, reproducing_command
from tests.launch.jobs import make_job

ROOT = Path(__file__).parents[2]
SMALL = ["demo", "--model", "mlp", "--augment", "none", "--precision", "fp32", "--epochs", "1", "--cpu"]

Launch = Callable[..., subprocess.CompletedProcess[str]]


def launch(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python -m launch` with these words says and does."""
    variables = os.environ | {"COLUMNS": "120"} | environment
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A matrix of two cells that has been run, one of them to a user's error."""
    out = tmp_path_factory.mktemp("launch") / "runs"
    matrix = out.with_name("two.yaml")
    matrix.write_text(
        "dataset: digits\nmodels: [mlp]\naugmentations: [none]\nrecipes: [demo]\nprecisions: [fp32]\n"
        "set: {epochs: 1}\nseeds: [0, 1]\noverrides: [{match: {seed: 1}, set: {batch_size: 5000}}]\n"
    )
    hook = "echo $VERDICT_FINISHED $VERDICT_FAILED $VERDICT_UNFINISHED > $VERDICT_RUNS/hook.txt"
    return out, launch("run", str(matrix), "--cpu", "--out", str(out), "--then", hook)


def by_seed(out: Path) -> dict[int, Path]:
    found = {}
    for path in out.glob("*/cell.json"):
        found[make_cell(**json.loads(path.read_text())).seed] = path.parent
    return found


def test_a_matrix_runs_and_each_cell_leaves_its_record(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = finished
    assert done.returncode == 1, done.stderr  # one has failed
    assert "1 finished, 1 failed" in done.stdout
    good, bad = read_record(by_seed(out)[0]), read_record(by_seed(out)[1])
    assert good is not None
    assert good.status == "finished"
    assert good.environment is not None
    assert bad is not None
    assert bad.failure is not None
    assert bad.failure.kind == "usage"
    assert bad.failure.message.startswith("batch size 5000 is larger than the 1294 training images")
    assert (out / "hook.txt").read_text() == "1 1 0\n"
    assert len((out / "results.csv").read_text().splitlines()) == 3


def test_the_same_command_again_runs_only_what_is_missing(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, _ = finished
    before = (by_seed(out)[0] / "record.json").read_bytes()
    again = launch("run", *SMALL, "--seed", "0", "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert "start" not in again.stdout
    assert "1 finished before" in again.stdout
    assert (by_seed(out)[0] / "record.json").read_bytes() == before
    failed = launch(
        "run", *SMALL, "--seed", "0,1", "--batch-size", "5000", "--only-failed", "--out", str(out)
    )
    assert failed.returncode == 1
    assert (
        failed.stdout.count("start mlp") == 1
    )  # seed 0 with that batch size was never tried, and is not now
    assert len(list((by_seed(out)[1] / "attempts").glob("*.json"))) == 1


def test_the_command_of_a_record_runs_the_cell_alone(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, _ = finished
    record = read_record(by_seed(out)[1])
    assert record is not None
    words = record.command.split()
    assert words[0] == "python"
    alone = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 2
    assert alone.stderr.startswith("error: batch size 5000 is larger")


def test_plan_and_status_say_what_there_is(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, _ = finished
    planned = launch("plan", *SMALL, "--seed", "0,7", "--no-estimate", "--json", "--out", str(out))
    assert planned.returncode == 0, planned.stderr
    states = [cell["state"] for cell in json.loads(planned.stdout)["cells"]]
    assert states == ["finished", "new"]
    assert launch("status", str(out)).stdout.startswith("1 of 2 finished")
    assert launch("status", str(out), "--json").returncode == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["run", "cifar-quick"], "unknown preset 'cifar-quick': did you mean cifar10-quick"),
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["run", "demo", "--model", "resnet21"], "unknown model 'resnet21': did you mean"),
        (["run", "demo", "--jobs", "10000"], "--jobs 10000: this machine has"),
        (["run", "demo", "--gpus", "0", "--cpu"], "--gpus 0: --cpu says to leave them alone"),
        (["run", "demo", "--timeout", "soon"], "--timeout soon: expected a time"),
        (["run", "demo", "--memory", "much"], "--memory much: expected an amount of memory"),
        (["run", "demo", "--budget", "5 EUR"], "5 EUR"),
        (["run", "demo", "--budget", "1h", "--val-fraction", "0"], "val_fraction 0 leaves none"),
        (["run", "demo", "--executor", "cloud"], "--executor cloud: expected local, slurm or ray"),
        (["run", "demo", "--retries", "-1"], "--retries -1: expected 0 or more"),
        (["run", "demo", "--dataset", "cifar10", "--data-dir", "/dev/null"], "/dev/null"),
        (["plan", "demo", "--epochs", "many"], "'--epochs': Input should be a valid integer"),
        (["status", "nowhere"], "nowhere"),
        (["walk"], "walk"),
    ],
)
def test_bad_words_are_one_line_exit_code_2_and_nothing_written(
    words: list[str], problem: str, tmp_path: Path
) -> None:
    options = ["--out", str(tmp_path / "runs")] if words[0] in ("run", "plan") else []
    done = launch(*words, *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert problem in done.stderr
    assert not (tmp_path / "runs").exists()


def test_presets_and_the_schema_are_shown() -> None:
    assert "cifar10-standard" in launch("presets").stdout
    assert json.loads(launch("schema").stdout)["title"] == "Verdict matrix"


def test_several_processes_are_started_by_accelerate(tmp_path: Path) -> None:
    from harness.settings import Settings

    settings = Settings(out=tmp_path, cpu=True)
    two = make_job(tmp_path, num_processes=2, strategy="ddp")
    words = child_command(two, settings)
    assert words[1:3] == ["-m", "accelerate.commands.launch"]
    assert words[words.index("--num_processes") + 1] == "2"
    assert words[words.index("--main_process_port") + 1] == "0"
    assert child_environment(two, settings, {})["ACCELERATE_USE_CPU"] == "true"
    assert reproducing_command(two, settings).startswith("ACCELERATE_USE_CPU=true python -m accelerate")
    one = make_job(tmp_path)
    assert "accelerate.commands.launch" not in child_command(one, settings)


@pytest.mark.slow
def test_a_cell_of_two_processes_runs(tmp_path: Path) -> None:
    done = launch("run", *SMALL, "--processes", "2", "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "runs").glob("*/record.json")
    record = read_record(path.parent)
    assert record is not None
    assert record.environment is not None
    assert record.environment.num_processes == 2


def test_two_launchers_on_one_folder_run_every_cell_once(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = [sys.executable, "-m", "launch", "run", *SMALL, "--seed", "0,1,2", "--out", str(out)]
    both = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [launcher.communicate(timeout=200)[0] for launcher in both]
    assert [launcher.returncode for launcher in both] == [0, 0], said
    starts = [line.split("seed ")[1][0] for text in said for line in text.splitlines() if " start " in line]
    assert sorted(starts) == ["0", "1", "2"]
    assert all(" start " in text for text in said)  # each had a part
    assert all("3 of 3" in text or "finished by other launchers" in text for text in said)
    assert len(list(out.glob("*/record.json"))) == 3
    assert not list(out.glob("*/attempts/*"))
