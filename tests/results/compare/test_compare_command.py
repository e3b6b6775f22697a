from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

from harness.errors import DataError, UsageError
from results.compare.command import compare

RunFactory = Callable[..., Path]

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command()(compare)


def _run(*arguments: object, width: int = 100) -> str:
    result = CliRunner().invoke(APP, [str(each) for each in arguments], env={"COLUMNS": str(width)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def two_runs(make_run: RunFactory) -> tuple[Path, Path]:
    """180 and 150 of the same 200 images right."""
    return make_run(180), make_run(150, cell={"seed": 1})


@pytest.fixture
def published(shared_data: Path) -> dict[str, Path]:
    """Predictions and labels by name."""
    return {path.stem: path for path in (shared_data / "predictions").iterdir()}


def test_the_page_of_two_published_models(published: dict[str, Path]) -> None:
    shown = _run(
        published["wrn_28_10"],
        published["densenet_BC_100_12"],
        "--labels",
        published["cifar10_test_labels"],
        width=200,
    )

    assert shown.startswith("wrn_28_10.json is ahead of densenet_BC_100_12.json by 0.39 points [0.01, 0.77]")
    for part in (
        "not resolved on these 10,000 images (p = 0.051)",
        "[95.52, 96.30]   9,593           209",
        "209 against 170 of the 379 images",
        "0.41 points or more",
        "about 19,600 for a chance of 80%",
        "no class differs significantly (Holm over 10 classes)",
        "only A          47, 165, 178",
        "exact test decides",
    ):
        assert part in shown


def test_the_page_of_eight_published_models(published: dict[str, Path]) -> None:
    paths = [path for path in published.values() if path.suffix in (".json", ".npz")]

    shown = _run(*paths, "--labels", published["cifar10_test_labels"], width=80)

    assert "wrn_28_10.json leads, but on these 10,000 images that is not resolved from" in shown
    assert "27 of 28 pairs are resolved" in shown
    assert "1 (0.39)   1.87   2.75" in shown
    assert "…" not in shown


def test_the_page_of_two_runs(two_runs: tuple[Path, Path]) -> None:
    shown = _run(*two_runs, width=200)

    assert "is better than" in shown
    assert "15.00 points" in shown
    assert "[bold]ship[/bold]" in shown


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(
    two_runs: tuple[Path, Path], make_run: RunFactory, width: int
) -> None:
    third = make_run(182, cell={"seed": 2})

    for shown in (_run(*two_runs, width=width), _run(*two_runs, third, width=width)):
        assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_images_are_listed_with_answers_and_confidences(two_runs: tuple[Path, Path]) -> None:
    shown = _run(*two_runs, "--images", 3)

    assert "3 of 30 images that one alone got right, surest mistakes first" in shown
    assert "150     cat                 cat 57.6%                 dog 57.6%                 A" in shown


def test_json_has_every_figure(two_runs: tuple[Path, Path]) -> None:
    content = json.loads(_run(*reversed(two_runs), "--json"))

    assert content["num_images"] == 200
    assert [system["accuracy"]["count"] for system in content["systems"]] == [180, 150]
    assert content["pairs"][0]["difference_points"] == 15
    assert content["details"]["comparison"]["difference_points"] == -15
    assert len(content["details"]["classes"]) == 3
    assert [image["index"] for image in content["details"]["images"]] == list(range(150, 180))
    assert content["tie_groups"] == [[system["name"]] for system in content["systems"]]


def test_json_of_many_has_pairs_and_no_details(two_runs: tuple[Path, Path], make_run: RunFactory) -> None:
    content = json.loads(_run(*two_runs, make_run(181, cell={"seed": 2}), "--json"))

    assert len(content["pairs"]) == 3
    assert "details" not in content
    assert [system["tied"] for system in content["systems"]] == ["a", "a", "b"]


def test_markdown_escapes_names(tmp_path: Path) -> None:
    paths = []
    for name in ("a|b<script>.json", "[x](javascript:y).json"):
        paths.append(tmp_path / name)
        paths[-1].write_text("[0, 0, 1, 1]")
    np.save(tmp_path / "labels.npy", np.array([0, 1, 0, 1]))

    shown = _run(*paths, "--labels", tmp_path / "labels.npy", "--markdown")

    assert r"a\|b\<script\>.json" in shown
    assert r"\[x\](javascript:y).json" in shown
    assert "are level: each got 2 of 4 images right" in shown


def test_names_are_neither_markup_nor_a_terminal_command(tmp_path: Path) -> None:
    paths: list[Path] = []
    for name in ("[red]x[red]\x1b[2J.json", "[link=a]y.json"):
        paths.append(tmp_path / name)
        paths[-1].write_text("[0, 1, 1, 1]")
    np.save(tmp_path / "labels.npy", np.array([0, 1, 0, 1]))

    for arguments in ([], ["--json"], ["--markdown"]):
        assert "\x1b" not in _run(*paths, "--labels", tmp_path / "labels.npy", *arguments)
    assert "[red]x[red]?[2J.json" in _run(*paths, "--labels", tmp_path / "labels.npy")


def test_systems_that_agree_everywhere(make_run: RunFactory) -> None:
    shown = _run(make_run(180), make_run(180, cell={"seed": 1}), width=200)

    assert "are level: each got 180 of 200 images right (p = 1)" in shown
    assert "at least six images must differ, all to one side" in shown
    assert "images needed" not in shown


def test_fewer_than_six_images_resolve_nothing(tmp_path: Path) -> None:
    for name, content in (("a", "[0, 1, 1]"), ("b", "[0, 0, 0]")):
        (tmp_path / f"{name}.json").write_text(content)
    np.save(tmp_path / "labels.npy", np.array([0, 1, 1]))

    shown = _run(tmp_path / "a.json", tmp_path / "b.json", "--labels", tmp_path / "labels.npy", width=200)

    assert "nothing: fewer than six images never resolve a difference" in shown


def test_many_systems_and_classes_are_cut_to_a_page(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 30, size=400)
    np.save(tmp_path / "labels.npy", labels)
    paths = []
    for index in range(15):
        paths.append(tmp_path / f"m{index}.npy")
        np.save(paths[-1], np.where(random.random(400) < 0.95 - index / 20, labels, 0))

    assert "and 75 pairs of smaller p (--json has all)" in _run(*paths, "--labels", tmp_path / "labels.npy")
    assert "and 10 classes of larger p (--json has all)" in _run(
        *paths[:2], "--labels", tmp_path / "labels.npy"
    )
    assert "Row minus column" not in _run(*paths, "--labels", tmp_path / "labels.npy", width=80)


def test_no_number_is_cut_where_the_page_is_narrow(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, size=10_000)
    np.save(tmp_path / "labels.npy", labels)
    paths = []
    for index in range(9):
        paths.append(tmp_path / f"m{index}.npy")
        np.save(paths[-1], np.where(random.random(10_000) < 0.95 - index / 150, labels, 0))

    for width in (60, 70, 80):
        shown = _run(*paths, "--labels", tmp_path / "labels.npy", width=width)
        assert "…" not in shown
        assert max(cell_len(line.rstrip()) for line in shown.splitlines()) <= width
        assert "p Holm" in shown
        assert "9.5e-06" in shown or "< 1e-9" in shown
        assert ("too narrow for 'resolvable'" in shown) == (width < 77)


def test_long_names_of_classes_cut_no_number(tmp_path: Path) -> None:
    labels = np.arange(400) % 2
    names = np.array(["a class of a long name of 30", "another class with a long name"])
    for index, classes in enumerate((labels, np.where(np.arange(400) < 120, 1 - labels, labels))):
        np.savez(tmp_path / f"{index}.npz", classes=classes, labels=labels, class_names=names)

    shown = _run(tmp_path / "0.npz", tmp_path / "1.npz", width=72)

    assert "< 1e-9" in shown
    assert "too narrow for 'p', 'only B', 'only A' (--json has all)" in shown
    assert max(cell_len(line.rstrip()) for line in shown.splitlines()) <= 72


def test_runs_on_other_images_are_refused(make_run: RunFactory) -> None:
    other = make_run(
        150, cell={"seed": 1}, data={"test_fingerprint": "9" * 64}, record={"started_at": "2026-11-20"}
    )

    with pytest.raises(DataError, match="cannot be compared: their test images differ"):
        _run(make_run(), other)


@pytest.mark.parametrize(
    "arguments", [["--json", "--markdown"], ["--images", "3", "--json"], ["--images", "3", "--markdown"]]
)
def test_options_that_contradict_are_refused(two_runs: tuple[Path, Path], arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        _run(*two_runs, *arguments)


def test_a_failed_run_has_nothing_to_compare(make_run: RunFactory, make_failed_run: RunFactory) -> None:
    with pytest.raises(UsageError, match="failed and left no predictions"):
        _run(make_run(), make_failed_run(seed=3))
