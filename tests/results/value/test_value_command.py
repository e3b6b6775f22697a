from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.console import EXIT_BAD_INPUT, run_command
from harness.record import EpochRow
from results.value.command import value
from tests.results.conftest import RunFactory


@pytest.fixture
def run_value(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    app = typer.Typer()
    app.command()(value)

    def run(*arguments: object, width: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["value", *map(str, arguments)])
        code = run_command(app, prog_name="value")
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def matrix(make_run: RunFactory, runs: Path) -> Path:
    """Five cells of rising compute and accuracy, one with two seeds, and one pre-trained."""
    history = (EpochRow(epoch=1, train_loss=1, val_loss=1, val_accuracy=1, lr=0.1, train_time_s=1),)
    for index, epochs in enumerate((4, 8, 16, 32, 64)):
        recipe = {
            "epochs": epochs,
            "batch_size": 512,
            "optimizer": "sgd",
            "lr": 0.5,
            "weight_decay": 5e-4,
            "schedule": "triangular",
        }
        for seed in range(2 if epochs == 4 else 1):
            make_run(
                160 + 8 * index,
                cell={"recipe": recipe, "seed": seed},
                model={"total_train_flops": epochs * 10**13},
                measurements={"latency_batch1_p50_ms": 2.0 + index, "first_step_time_s": 1.0},
                record={"history": history},
            )
    make_run(199, cell={"model": "timm:resnet18", "pretrained": "hub"}, model={"total_train_flops": 10**10})
    return runs


@pytest.mark.parametrize("width", [80, 200])
def test_every_view_is_printed_within_the_width(run_value: Any, matrix: Path, width: int) -> None:
    code, out, _ = run_value(matrix, "--price-per-hour", 3, width=width)

    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    for words in (
        "Error against training compute: 5 of 5 cells on the front",
        "Error against price of training",
        "energy of the run, on a processor: —",
        "counted from the architecture",
        "NetScore",
        "error % = ",
        "Warning:",
        "Which weights decide",
        "5 cells of 6 runs",
    ):
        assert words in " ".join(out.split()), words


def test_claims_are_marked_in_every_row_they_have(run_value: Any, matrix: Path) -> None:
    _, out, _ = run_value(matrix)
    rows = [line for line in out.splitlines() if re.match(r"(GPipe|airbench|ResNet-)\S*: ", line)]
    assert len(rows) >= 6
    assert all(row.rstrip().endswith("claim") for row in rows if "price" not in row)


def test_leagues_are_printed_apart(run_value: Any, matrix: Path) -> None:
    _, out, _ = run_value(matrix)
    assert out.count("Which weights decide") == 2
    code, out, _ = run_value(matrix, "--league", "pre-trained")
    assert code == 0
    assert "from scratch" not in out
    assert "The compute that made the first weights is not counted." in out


def test_json_holds_every_figure(run_value: Any, matrix: Path) -> None:
    code, out, _ = run_value(matrix, "--json", "--league", "from scratch")
    (group,) = json.loads(out)["groups"]

    assert code == 0
    assert len(group["cells"]) == 5
    assert [cell["num_seeds"] for cell in group["cells"]].count(2) == 1
    views = {view["key"]: view for view in group["views"]}
    assert all(views["train_compute"]["front"])
    assert views["energy"]["costs"] == [None] * 5
    assert views["energy"]["reason"]
    assert views["dollars"]["reason"] == "no price was given: --price-per-hour"
    assert group["gpipe_counted"]["label"] == "counted from the architecture"
    assert group["power_law"]["warning"]
    assert group["weighing"]["winner"] in {cell["cell_id"] for cell in group["cells"]}
    crossing = group["cells"][0]["passes_bar"]
    assert crossing["epoch"] == 1
    assert crossing["val_accuracy_percent"] == 100


def test_a_candidate_without_an_error_or_a_cost_leaves_the_weighing_alive(
    run_value: Any, make_run: RunFactory, runs: Path
) -> None:
    make_run(200, model={"total_train_flops": 10**15}, measurements={"latency_batch1_p50_ms": None})
    make_run(
        190,
        cell={"model": "resnet18"},
        model={"total_train_flops": 10**14},
        measurements={"latency_batch1_p50_ms": 2.0},
    )
    code, out, _ = run_value(runs, "--json")
    (group,) = json.loads(out)["groups"]
    weighing = group["weighing"]

    assert code == 0
    assert "reason" not in weighing
    assert weighing["num_errors_counted_as_half_an_image"] == 1
    assert weighing["left_out"]["latency, one image"] == "0 or unknown for 1 of 2 candidates"
    # Of 200 test images half a one is 0.25%, against 5%: 20 times less.
    assert max(weighing["scores"]) <= 0
    _, page, _ = run_value(runs)
    text = " ".join(page.split())
    assert "An error of 0 has no logarithm: that of 1 candidates counts as half an image." in text
    assert "No criterion: latency, one image (0 or unknown for 1 of 2 candidates)." in text


def test_the_page_says_what_the_price_of_training_is_counted_from(run_value: Any, matrix: Path) -> None:
    _, out, _ = run_value(matrix, "--price-per-hour", 3)
    assert (
        "hours of training, the first step included and evaluation not, x processes x 3 dollars"
        in " ".join(out.split())
    )


def test_names_are_no_markup(run_value: Any, make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run(180)
    record = (run_dir / "record.json").read_text(encoding="utf-8")
    (run_dir / "record.json").write_text(
        record.replace("a processor", "[bold red]evil[/]\\u001b[31m"), encoding="utf-8"
    )

    code, out, _ = run_value(runs)

    assert code == 0
    assert "[bold red]evil[/]?[31m" in out


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf"])
def test_a_price_that_is_none_is_refused(run_value: Any, matrix: Path, price: str) -> None:
    code, out, err = run_value(matrix, f"--price-per-hour={price}")
    assert code == EXIT_BAD_INPUT
    assert out == ""
    assert err.startswith("error: --price-per-hour")
    assert "Traceback" not in err


def test_without_finished_runs_there_is_one_clear_line(
    run_value: Any, make_failed_run: RunFactory, runs: Path
) -> None:
    make_failed_run()
    code, _, err = run_value(runs)
    assert code == EXIT_BAD_INPUT
    assert err == f"error: no finished run in '{runs}': run cells into it first\n"


def test_a_missing_folder_is_named(run_value: Any, tmp_path: Path) -> None:
    code, _, err = run_value(tmp_path / "nowhere")
    assert code == EXIT_BAD_INPUT
    assert "nowhere" in err


def test_the_command_loads_neither_torch_nor_anything_slow_before_it_runs() -> None:
    script = "import sys, results.value.command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not {"torch", "numpy", "scipy", "rich.table"} & set(loaded)
