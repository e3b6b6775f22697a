from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from harness.console import run_command
from results.leaderboard.board import BoardOptions, make_board
from results.leaderboard.command import leaderboard
from results.leaderboard.formats import FORMATS
from results.leaderboard.table import print_board

RunFactory = Callable[..., Path]

PFLOP = 10**15


@pytest.fixture
def folder(make_run: RunFactory, make_failed_run: RunFactory, runs: Path) -> Path:
    """Two models with two seeds each, one pre-trained run, one failed and one damaged one."""
    for seed in range(2):
        make_run(180 + seed, cell={"seed": seed})
        make_run(90, cell={"seed": seed, "model": "mlp"}, model={"total_train_flops": PFLOP // 1000})
    make_run(190, cell={"model": "resnet18", "pretrained": "file:/weights.pt"})
    make_failed_run(seed=7)
    (make_run(cell={"seed": 8}) / "predictions.npz").write_bytes(b"")
    return runs


def _text(folder: Path, form: str, **options: Any) -> str:
    return "".join(FORMATS[form](make_board(folder, BoardOptions(**options))))


def _run(*words: str) -> int:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(leaderboard)

    def command(prog_name: str | None = None, standalone_mode: bool = True) -> Any:
        return typer.main.get_command(app)(list(words), prog_name, standalone_mode=standalone_mode)

    return run_command(command)  # type: ignore[arg-type]  # the same as an app that was given these words


def _csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_the_values_of_the_table_and_marks_claims(folder: Path) -> None:
    rows = _csv(_text(folder, "csv", top=None))

    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "1", "claim", "claim", "claim"]
    assert [row["model"] for row in rows[:5]] == ["fast_cnn", "fast_cnn", "mlp", "mlp", "resnet18"]
    assert rows[0]["test_accuracy_percent"] == "90.5"
    assert rows[0]["tie"] == "a"
    assert rows[0]["pareto"] == "true"
    assert (rows[0]["energy_j"], rows[0]["clears_vendor_bar"]) == ("", "true")
    assert (rows[5]["model"], rows[5]["test_accuracy_percent"], rows[5]["cell_id"]) == ("GPipe", "99.0", "")


def test_csv_has_no_claims_that_it_cannot_name(folder: Path) -> None:
    rows = _csv(_text(folder, "csv", columns=("seed", "test_accuracy_percent"), top=None))

    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "1"]


def test_csv_cells_are_no_formulas(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"dataset": "imagefolder:/x"}, data={"class_names": ("=1+1", "b", "c")}, arrays=None)

    (row, *_) = _csv(_text(runs, "csv", columns=("worst_class", "lr")))

    assert row["worst_class"] in ("'=1+1", "b", "c")
    assert row["lr"] == "0.5"


def test_json_has_null_for_what_is_missing(folder: Path) -> None:
    found = json.loads(_text(folder, "json", top=1))

    first, second = found["tables"]
    assert "from scratch" in first["title"]
    assert "pre-trained" in second["title"]
    assert first["num_more"] == 3
    (row,) = first["rows"]
    assert row["rank"] == 1
    assert row["pareto"] is True
    assert row["tie"] is None
    assert row["energy_j"] is None
    assert row["clears_vendor_bar"] is True
    assert row["num_test_images"] == 200
    assert isinstance(row["num_test_images"], int)
    assert [claim["model"] for claim in found["claims"]][:2] == ["GPipe", "Detectocorp"]
    assert (found["num_failed"], len(found["warnings"])) == (1, 1)


def test_json_of_nothing_is_json(make_failed_run: RunFactory, runs: Path) -> None:
    make_failed_run()

    assert json.loads(_text(runs, "json"))["tables"] == []


def test_seeds_are_pooled_in_every_format(folder: Path) -> None:
    rows = _csv(_text(folder, "csv", by="cell"))
    assert [row["num_seeds"] for row in rows[:3]] == ["2", "2", "1"]
    assert rows[0]["test_accuracy_percent"] == "90.25"
    assert rows[0]["test_accuracy_min_percent"] == "90.0"
    assert "seed" not in rows[0]
    assert json.loads(_text(folder, "json", by="cell"))["tables"][1]["rows"][0]["num_seeds"] == 1
    assert "90.25 ±0.35 \\[90.0, 90.5\\]" in _text(folder, "markdown", by="cell")
    assert r"90.25 $\pm$0.35 [90.0, 90.5]" in _text(folder, "latex", by="cell")


def test_markdown_is_escaped(make_run: RunFactory, runs: Path) -> None:
    make_run(
        cell={"dataset": "imagefolder:/data/a|b<script>_*"},
        data={"dataset": "imagefolder", "notes": ("[x](javascript:1)",)},
    )

    text = _text(runs, "markdown", columns=("dataset", "seed"))

    (row,) = [line for line in text.splitlines() if line.startswith("| 1 ")]
    assert r"imagefolder:/data/a\|b\<script\>\_\*" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", "| rank | dataset | seed | marks |"))
    assert r"\[x\](javascript:1)" in text


def test_latex_is_escaped(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"dataset": r"imagefolder:/\input{x}_$50%&#~^"}, data={"dataset": "imagefolder"})

    text = _text(runs, "latex", columns=("dataset", "seed"))

    escaped = r"imagefolder:/\textbackslash{}input\{x\}\_\$50\%\&\#\textasciitilde{}\textasciicircum{}"
    (row,) = [line for line in text.splitlines() if line.startswith("1 &")]
    assert row.startswith(rf"1 & {escaped} & 0 &")
    assert row.endswith(r"\\")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_the_screen_and_papers_show_the_first_rows_and_how_many_more(folder: Path) -> None:
    for form in ("table", "markdown", "latex"):
        text = _text(folder, form, top=1)
        assert "and 3 more" in text
        assert "mlp" not in text


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("by", ["seed", "cell"])
def test_pooled_rows_and_named_columns_fit_into_the_width(folder: Path, width: int, by: Any) -> None:
    names = ("model", "test_accuracy_percent", "accuracy_per_pflop", "unavailable", "data_fingerprint")
    for columns in ((), names):
        file = io.StringIO()
        board = make_board(folder, BoardOptions(by=by, columns=columns))
        print_board(board, Console(file=file, width=width))
        tables = file.getvalue().split("Failed runs")[0]
        assert max(len(line) for line in tables.splitlines()) <= width
        assert "…" not in tables


def test_a_league_and_filters_leave_runs_out(folder: Path) -> None:
    only = _csv(_text(folder, "csv", league="pre-trained"))
    assert [row["model"] for row in only][:1] == ["resnet18"]
    board = make_board(folder, BoardOptions(filters=("model=mlp", "seed=1")))
    assert (len(board.sections), len(board.sections[0].rows), board.num_filtered) == (1, 1, 4)
    assert "No run meets the filters." in _text(folder, "table", filters=("seed=5",))


def test_in_another_order_there_is_no_word_of_value(folder: Path) -> None:
    text = _text(folder, "table", sorts=("seed", "test_accuracy_percent"))

    assert "Best value" not in text
    assert "come first" not in text
    first = next(line for line in text.splitlines() if line.strip().startswith("1"))
    assert "mlp" in first
    assert "1*" in first


def test_the_command_writes_to_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "board.json"

    options = ["--sort", "-test_accuracy_percent", "--format", "json", "--output", str(output)]
    assert _run(str(folder), "--league", "from-scratch", *options) == 0

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "left out:" in shown.err
    accuracies = [row["test_accuracy_percent"] for row in json.loads(output.read_text())["tables"][0]["rows"]]
    assert accuracies == [90.5, 90, 45, 45]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "-accuracy"], "unknown column 'accuracy'"),
        (["--columns", "model,sed"], "unknown column 'sed': did you mean seed"),
        (["--columns", "num_seeds"], "unknown column 'num_seeds'"),
        (["--filter", "model~x"], "expected COLUMN=VALUE"),
        (["--league", "scratch"], "unknown league 'scratch': did you mean from scratch"),
        (["--top", "-1"], "--top"),
        (["--by", "model"], "--by"),
        (["--output", "/proc/nothing/x"], "cannot write"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert _run(str(folder), *words) == 2

    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""
