"""The parts that the page is made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.index.load import load_table
from results.report import charts, leaderboard, leaders, pareto_charts
from results.report.boards import boards_of
from results.report.build import Report, Request, build_report
from results.report.labels import choose_sides, spread
from results.report.leaders import read_leaders
from results.report.mistakes import worst_mistakes
from results.report.palette import LIGHT, OTHERS, in_light, make_palette
from results.report.text import duration, fixed, significant
from results.report.values import Chart, Missing, cell_anchor
from results.value.views import value_views

RunFactory = Callable[..., Path]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (None, "—"),
        (float("nan"), "—"),
        (0.0708, "0.0708"),
        (12.345, "12.3"),
        (999.4, "999"),
        (999.7, "1.00k"),
        (1_972_792, "1.97M"),
        (5.57e8, "557M"),
        (2.17e-4, "2.17e-04"),
    ],
)
def test_three_significant_digits(value: float | None, text: str) -> None:
    assert significant(value) == text


def test_missing_figures_are_dashes_and_never_zero() -> None:
    assert fixed(None) == fixed(float("nan")) == duration(None) == "—"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12))
def test_names_at_the_ends_of_curves_keep_apart_and_in_order(values: list[float]) -> None:
    placed = spread(values, gap=2.0)
    assert all(later - earlier >= 2 - 1e-9 for earlier, later in itertools.pairwise(sorted(placed)))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 0).all()
    assert np.mean(placed) == pytest.approx(np.mean(values), abs=1e-6)


def test_names_of_points_cover_no_other_name() -> None:
    assert choose_sides([(100, 100), (104, 100)], ["first", "second"], (400, 300)) == ["left", "below"]
    sides = choose_sides([(200, 150)] * 6, ["a name"] * 6, (400, 300))
    assert sorted(sides) == ["", "", "above", "below", "left", "right"]
    assert choose_sides([(3, 3)], ["a very long name for a corner"], (100, 10)) == [""]


def test_two_cell_ids_never_share_an_anchor() -> None:
    ids = ["be8502089858", "a b", "a-b", "a/b", 'a"b', "ä"]
    anchors = [cell_anchor(each) for each in ids]
    assert len(set(anchors)) == len(ids)
    assert anchors[0] == "cell-be8502089858"
    assert all(each.replace("-", "").isalnum() and each.isascii() for each in anchors)


def test_a_model_looks_the_same_everywhere_and_the_rest_share_a_look() -> None:
    palette = make_palette(f"m{index}" for index in range(20))
    assert len(palette.models) == 7
    assert palette.group("m3") == "m3"
    assert palette.group("m13") == OTHERS
    assert len(set(zip(palette.colours, palette.shapes, strict=True))) == 8


def test_light_colours_are_those_of_the_style_sheet() -> None:
    path = Path(charts.__file__).with_name("templates") / "style.css"
    style = path.read_text(encoding="utf-8")
    for name, colour in LIGHT.items():
        assert f"--{name}: light-dark({colour}," in style
    assert in_light({"a": ["var(--ink)", "var(--unknown)"]}) == {"a": [LIGHT["ink"], "var(--unknown)"]}


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_and_marks_have_enough_contrast_in_both_themes() -> None:
    # WCAG 2.2: 4.5 for text, 3 for graphics.
    style = (Path(charts.__file__).with_name("templates") / "style.css").read_text(encoding="utf-8")
    pairs = {
        line.split(":")[0].strip()[2:]: line.split("(")[1].rstrip(");").split(", ")
        for line in style.splitlines()
        if line.strip().startswith("--") and "light-dark(" in line
    }
    for theme in (0, 1):
        paper, ground = (_luminance(pairs[name][theme]) for name in ("paper", "ground"))
        for name, colours in pairs.items():
            if name in ("paper", "ground", "rule", "heat", "heat-bad"):
                continue
            own = _luminance(colours[theme])
            wanted = 3.0 if name.startswith("m") and name[1:].isdigit() else 4.5
            for behind in (paper, ground) if name in ("ink", "muted", "accent") else (paper,):
                light, dark = max(own, behind), min(own, behind)
                assert (light + 0.05) / (dark + 0.05) >= wanted, (name, theme)
        for name in ("heat", "heat-bad"):
            light, dark = sorted((_luminance(pairs[name][theme]), _luminance(pairs["ink"][theme])))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, theme)


def test_leaders_are_the_best_value_the_most_accurate_and_other_models(
    runs: Path, make_run: RunFactory
) -> None:
    for model, right, flops in (
        ("mlp", 150, 1e12),
        ("mlp", 151, 2e12),
        ("resnet20", 170, 3e14),
        ("fast_cnn", 199, 9e15),
        ("fast_cnn", 190, 8e15),
    ):
        make_run(right, cell={"model": model, "seed": right}, model={"total_train_flops": int(flops)})
    boards = boards_of(load_table(runs))
    (board,) = boards
    accuracy = board.table.numbers("test_accuracy_percent")
    order = [accuracy[index] for index in leaders.leading_indices(board)]
    assert order[:3] == [85.0, 99.5, 75.5]  # mlp lies below the vendor's bar
    assert len(order) == len(board.table)
    chosen, problems = read_leaders(boards, wanted=None)
    assert not problems
    assert len({leader.label for leader in chosen}) == len(chosen) == 5
    assert "mlp · seed 150" in {leader.label for leader in chosen}


def test_runs_on_other_data_stand_in_tables_of_their_own(runs: Path, make_run: RunFactory) -> None:
    make_run(190)
    make_run(150, cell={"model": "mlp"}, data={"fingerprint": "9" * 64, "test_fingerprint": "8" * 64})
    boards = boards_of(load_table(runs))
    assert [len(board.table) for board in boards] == [1, 1]
    chosen, _ = read_leaders(boards, wanted=None)
    assert {leader.board.key for leader in chosen} == {"board1", "board2"}


def test_a_run_that_cannot_be_read_is_named_and_the_others_stay(runs: Path, make_run: RunFactory) -> None:
    make_run(190)
    broken = make_run(180, cell={"model": "mlp"})
    boards = boards_of(load_table(runs))
    (broken / "predictions.npz").write_bytes(b"nothing")
    chosen, problems = read_leaders(boards, wanted=None)
    assert [leader.model for leader in chosen] == ["fast_cnn"]
    assert len(problems) == 1
    assert broken.name in problems[0]


def test_a_large_board_is_sampled_but_its_front_is_whole(
    runs: Path, make_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        make_run(
            150 + number,
            cell={"augmentation": "none" if number % 2 else "flip_crop", "val_fraction": 0.01 * number},
        )
    monkeypatch.setattr(pareto_charts, "MAX_OTHERS", 0)
    monkeypatch.setattr(leaderboard, "MAX_ROWS", 4)
    table = load_table(runs)
    view = value_views(table)[0]
    drawn = pareto_charts.pareto_chart("x", table, view, make_palette(["mlp"]))
    assert isinstance(drawn, Chart)
    rows = drawn.spec["datasets"]["rows"]
    assert sum(row["kind"] == "front" for row in rows) == int(view.front.sum())
    assert not any(row["kind"] == "other" for row in rows)
    assert "a random sample of 0 of" in drawn.note
    (board,) = boards_of(table)
    shown = leaderboard.leaderboard_table(board)
    assert len(shown.rows) == 4
    assert "The first 4 of 9 runs" in shown.note


def test_folders_without_a_finished_run_give_a_report_that_says_so(
    runs: Path, make_failed_run: RunFactory
) -> None:
    make_failed_run()
    report = build_report(Request(runs))
    assert isinstance(report.summary, Missing)
    assert report.main is None
    assert report.failures is not None
    assert len(report.failures.rows) == 1


def test_what_a_budget_stopped_is_listed_after_what_failed(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    make_failed_run("stopped after epoch 1 of 9", kind="pruned", seed=1)
    make_failed_run(seed=2)
    make_run()
    table = leaderboard.failure_table(load_table(runs))
    assert table is not None
    assert table.caption == "Runs that failed: 1; stopped early by a budget: 1"
    assert [row[2].text for row in table.rows] == ["diverged", "pruned"]


def test_mistakes_are_shown_only_of_the_very_images_of_the_run(
    small: tuple[Report, str, Path], shared_data: Path, tmp_path: Path
) -> None:
    report, _, runs = small
    chosen, _ = read_leaders(boards_of(load_table(runs)), wanted=None)
    empty = worst_mistakes(chosen[0], tmp_path)
    assert isinstance(empty, Missing)
    assert "no data set cifar10" in empty.reason
    assert not any(tmp_path.iterdir())  # nothing is downloaded
    assert isinstance(report.mistakes, Missing)
