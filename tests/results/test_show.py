from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from harness.errors import DataError, UsageError
from results import page
from results.figures import figures_of
from results.page import print_page
from results.predictions import read_prediction_set
from results.show import show

RunFactory = Callable[..., Path]

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command()(show)


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def _page(path: Path, width: int = 100, colour: bool = False, labels: Path | None = None) -> str:
    file = io.StringIO()
    found = read_prediction_set(path, labels)
    print_page(figures_of(found), found.run_dir, Console(file=file, width=width, force_terminal=colour))
    return file.getvalue()


@pytest.fixture
def classes_file(tmp_path: Path) -> tuple[Path, Path]:
    """Predicted classes, 8 of 10 right, and their labels."""
    (tmp_path / "theirs.json").write_text(json.dumps([0, 0, 0, 0, 0, 1, 1, 1, 0, 0]))
    np.save(tmp_path / "labels.npy", np.array([0] * 5 + [1] * 5))
    return tmp_path / "theirs.json", tmp_path / "labels.npy"


def test_a_run_is_shown_with_every_section(make_run: RunFactory) -> None:
    shown = _run(make_run())

    for part in (
        "90.00% [85.06, 93.43], 180 of 200 images",
        "NLL",
        "Brier score",
        "bins of equal width",
        "fitted on the validation images",
        "AURC",
        "99% right",
        "Classes",
        "Confusions",
        "Most frequent confusions",
        "Reliability",
        "Answering only what the model is sure of",
    ):
        assert part in shown


def test_the_class_table_and_the_confusions_are_those_of_the_run(make_run: RunFactory) -> None:
    lines = [" ".join(line.split()) for line in _page(make_run()).splitlines()]

    # The last 20 of 200 images are each taken for the next class: 7 cats, 7 dogs, 6 ships.
    assert any(line.startswith("cat 67 ") for line in lines)
    assert sum(bool(re.fullmatch(r"\d [a-z\[\]/]+ [\d·]+ [\d·]+ [\d·]+", line)) for line in lines) == 3
    assert sum("taken for" in line for line in lines) == 2


@pytest.mark.parametrize("width", [80, 200])
def test_the_page_fits_the_width(make_run: RunFactory, width: int) -> None:
    names = ("cat", "a class with a name far too long to be shown whole", "船" * 30)

    shown = _page(make_run(data={"class_names": names}), width)

    assert max(cell_len(line) for line in shown.splitlines()) <= width


@pytest.mark.parametrize("colour", [False, True])
def test_names_are_not_read_as_markup(make_run: RunFactory, colour: bool) -> None:
    assert "[bold]ship[/bold]" in _page(make_run(), colour=colour)


def test_control_characters_of_a_name_do_not_reach_the_terminal(make_run: RunFactory) -> None:
    shown = _page(make_run(data={"class_names": ("cat", "dog\x1b[31m\x07", "ship")}))

    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_classes_alone_show_what_can_be_known(classes_file: tuple[Path, Path]) -> None:
    path, labels = classes_file

    shown = _run(path, "--labels", labels)

    assert "80.00% [49.02, 94.33], 8 of 10 images" in shown
    assert "only the predicted classes are known" in " ".join(shown.split())
    assert "Reliability" not in shown
    assert "Answering only" not in shown


def test_a_class_that_is_never_predicted_has_no_precision(tmp_path: Path) -> None:
    (tmp_path / "zeros.json").write_text("[0, 0, 0]")
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1]))

    shown = _page(tmp_path / "zeros.json", labels=tmp_path / "labels.npy")

    assert re.search(r"^1 +1 +0\.0 +— +0\.0", shown, flags=re.MULTILINE)


def test_only_the_worst_of_many_classes_are_shown(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(100), 2)
    classes = np.where(labels == 37, 38, labels)
    np.savez(tmp_path / "many.npz", classes=classes, labels=labels)

    shown = _page(tmp_path / "many.npz")

    assert "The 20 classes of lowest recall, of 100" in shown
    assert re.search(r"^37 +2 +0\.0", shown, flags=re.MULTILINE)
    assert "the true class in rows" not in shown


def test_people_are_shown_beside_the_model(classes_file: tuple[Path, Path], tmp_path: Path) -> None:
    path, labels = classes_file
    np.save(tmp_path / "counts.npy", np.array([[50, 0]] * 5 + [[0, 50]] * 4 + [[30, 20]]))

    shown = _run(path, "--labels", labels, "--human", tmp_path / "counts.npy")

    assert "94.00% [91.56, 95.77] right" in shown
    assert re.search(r"majority +90\.00%", shown)
    assert re.search(r"errors disputed +50\.00%", shown)


def test_json_holds_every_figure(make_run: RunFactory) -> None:
    content = json.loads(_run(make_run(), "--json"))

    assert content["accuracy"]["count"] == 180
    assert np.sum(content["confusion"]) == 200
    assert content["class_names"][2] == "[bold]ship[/bold]"
    assert sum(entry["num_images"] for entry in content["calibration"]["reliability"]) == 200
    assert content["top5"] is None
    assert content["reasons"]["top5"] == "there are only 3 classes"


def test_json_has_null_where_a_probability_of_0_makes_a_figure_infinite(tmp_path: Path) -> None:
    np.savez(tmp_path / "sure.npz", probs=np.array([[1.0, 0.0], [1.0, 0.0]]), labels=np.array([0, 1]))

    content = json.loads(_run(tmp_path / "sure.npz", "--json"))

    assert content["calibration"]["nll"] is None
    assert content["reasons"]["nll"] == "the true class of an image got probability 0"
    assert "got probability 0" in _page(tmp_path / "sure.npz")


def test_other_files_of_a_run_may_have_sections_of_their_own(
    make_run: RunFactory, classes_file: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, asked = make_run(), []
    monkeypatch.setattr(page, "_RUN_SECTIONS", (lambda found, _: asked.append(found),))

    _page(run_dir)
    _page(classes_file[0], labels=classes_file[1])

    assert asked == [run_dir]


def test_errors_of_the_user_are_raised_for_the_command_to_report(
    tmp_path: Path, make_run: RunFactory
) -> None:
    (tmp_path / "bad.json").write_text("[")
    for arguments, error in (
        ([tmp_path / "nowhere.npz"], UsageError),
        ([tmp_path / "bad.json"], DataError),
        ([make_run(), "--human", tmp_path / "none.npy"], UsageError),
    ):
        with pytest.raises(error):
            _run(*arguments)


def test_a_published_model_is_shown_at_80_columns(shared_data: Path) -> None:
    shown = _page(shared_data / "predictions" / "resnet_basic_110.npz", width=80)

    assert "94.06% [93.58, 94.51], 9,406 of 10,000 images" in shown
    assert re.search(r"at best +threshold picked on the test images themselves", shown)
