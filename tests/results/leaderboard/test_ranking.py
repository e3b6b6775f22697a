from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from harness.errors import UsageError
from results.index.load import load_table
from results.index.run_table import RunTable
from results.leaderboard.filter import filtered, parse_condition
from results.leaderboard.ranking import grouped, order_of, pareto_marks
from results.leaderboard.seeds import VARIES, pooled
from results.leaderboard.ties import tie_letters
from results.score import ranked
from results.store import load_runs

RunFactory = Callable[..., Path]

PFLOP = 10**15


def _group(runs: Path) -> RunTable:
    (group,) = grouped(load_table(runs))
    return group


def _ordered(group: RunTable, sorts: Sequence[str]) -> RunTable:
    return group.select(order_of(group, sorts))


def _make_various_runs(make_run: RunFactory, num: int = 12) -> None:
    random = np.random.default_rng(0)
    for seed in range(num):
        flops = int(random.integers(1, 4)) * PFLOP
        make_run(int(random.integers(120, 190)), cell={"seed": seed}, model={"total_train_flops": flops})


def test_the_order_is_that_of_the_score(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    _make_various_runs(make_run)
    make_failed_run(seed=99)

    order = _ordered(_group(runs), []).texts("cell_id").tolist()

    assert order == [run.record.cell_id for run, _ in ranked(load_runs(runs).runs)]


def test_runs_are_sorted_by_columns_with_what_is_missing_last(make_run: RunFactory, runs: Path) -> None:
    for seed, (model, speed) in enumerate([("mlp", 5.0), ("mlp", None), ("fast_cnn", 5.0), ("mlp", 7.0)]):
        make_run(cell={"seed": seed, "model": model}, measurements={"images_per_s": speed})
    group = _group(runs)

    def seeds(*sorts: str) -> list[float]:
        found: list[float] = _ordered(group, sorts).numbers("seed").tolist()
        return found

    assert seeds("images_per_s", "-model") == [0, 2, 3, 1]
    assert seeds("-images_per_s", "seed") == [3, 0, 2, 1]
    assert seeds("model", "-seed") == [2, 3, 1, 0]


def test_a_run_is_on_the_front_unless_another_has_less_error_and_less_compute(
    make_run: RunFactory, runs: Path
) -> None:
    for seed, (correct, flops) in enumerate([(150, 1), (160, 2), (155, 3), (190, 9)]):
        make_run(correct, cell={"seed": seed}, model={"total_train_flops": flops * PFLOP})
    group = _group(runs)

    assert set(group.numbers("seed")[pareto_marks(group)]) == {0, 1, 3}


@pytest.mark.parametrize(
    ("condition", "seeds"),
    [
        ("seed=2", {2}),
        ("seed != 2", {0, 1, 3}),
        ("seed<2", {0, 1}),
        ("seed<=2", {0, 1, 2}),
        ("seed>2", {3}),
        ("seed>=2", {2, 3}),
        ("model=mlp", {0, 1}),
        ("model!=mlp", {2, 3}),
        ("images_per_s>0", {0, 1, 2}),
        ("images_per_s!=5", set()),
        ("images_per_s=", {3}),
        ("images_per_s!=", {0, 1, 2}),
        ("git_commit=", {0, 1, 2, 3}),
        ("official=true", {0, 1, 2, 3}),
        ("official=False", set()),
        ("started_at>=2026-11-20T10", {0, 1, 2, 3}),
    ],
)
def test_conditions_choose_runs(make_run: RunFactory, runs: Path, condition: str, seeds: set[int]) -> None:
    for seed, model in enumerate(["mlp", "mlp", "fast_cnn", "fast_cnn"]):
        speed = {"images_per_s": None if seed == 3 else 5.0}
        make_run(cell={"seed": seed, "model": model}, measurements=speed)

    chosen = filtered(load_table(runs), [parse_condition(condition)])

    assert set(chosen.numbers("seed")) == seeds


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("modle=mlp", "did you mean model"),
        ("seedless_id=x", "unknown column"),
        ("seed=many", "seed is a number"),
        ("seed<nan", "seed is a number"),
        ("official=1", "true or false"),
        ("seed", "expected COLUMN=VALUE"),
        ("=3", "expected COLUMN=VALUE"),
        ("seed<", "a value is missing"),
    ],
)
def test_conditions_that_cannot_be_are_refused(condition: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_condition(condition)


def test_seeds_of_a_cell_are_one_row(make_run: RunFactory, runs: Path) -> None:
    for seed, correct in enumerate([150, 160, 176]):
        make_run(correct, cell={"seed": seed}, measurements={"train_time_s": 10.0 + seed})
    make_run(180, cell={"model": "mlp"}, measurements={"images_per_s": None})

    rows = _ordered(pooled(_group(runs)), [])

    accuracies = [75, 80, 88]
    assert rows.texts("model").tolist() == ["mlp", "fast_cnn"]
    assert rows.numbers("num_seeds").tolist() == [1, 3]
    assert rows.numbers("test_accuracy_percent")[1] == pytest.approx(np.mean(accuracies))
    deviation = rows.numbers("test_accuracy_sd_percent")
    assert np.isnan(deviation[0])
    assert deviation[1] == pytest.approx(np.std(accuracies, ddof=1))
    assert rows.numbers("test_accuracy_min_percent")[1] == 75
    assert rows.numbers("test_accuracy_max_percent")[1] == 88
    assert rows.numbers("train_time_s")[1] == 11
    assert rows.numbers("lr").tolist() == [0.5, 0.5]
    assert rows.texts("cell_id")[1] == VARIES
    assert rows.numbers("clears_vendor_bar").tolist() == [1, 0]  # 75% of 200 images is not clearly above 70%


def test_what_was_measured_on_different_devices_has_no_mean(make_run: RunFactory, runs: Path) -> None:
    record = load_runs(make_run().parent).runs[0].record
    assert record.environment is not None
    other = record.environment.model_copy(update={"device": "another"})
    make_run(cell={"seed": 1}, record={"environment": other})

    rows = pooled(_group(runs))

    assert rows.texts("device").tolist() == [VARIES]
    assert np.isnan(rows.numbers("train_time_s")).all()
    assert rows.numbers("test_accuracy_percent").tolist() == [90]


def test_ties_are_those_of_exact_tests_with_holm_over_all_pairs(make_run: RunFactory, runs: Path) -> None:
    random = np.random.default_rng(1)
    right = {}
    for seed, share in enumerate([0.95, 0.93, 0.85, 0.8, 0.6]):
        is_right = random.random(200) < share
        labels = np.arange(200) % 3
        logits = np.eye(3, dtype=np.float32)[(labels + ~is_right) % 3]
        right[make_run(cell={"seed": seed}, arrays={"test_logits": logits}).name] = is_right
    rows = _ordered(_group(runs), ["-test_accuracy_percent"])
    cell_ids = rows.texts("cell_id").tolist()

    letters = tie_letters(rows)

    pairs = list(combinations(range(5), 2))
    p_values = []
    for i, j in pairs:
        a, b = right[cell_ids[i]], right[cell_ids[j]]
        p_values.append(binomtest(int((a & ~b).sum()), int((a != b).sum())).pvalue)
    resolved = multipletests(p_values, method="holm")[0]
    assert {pair for pair, found in zip(pairs, resolved, strict=True) if found} == {
        (i, j) for i, j in pairs if not set(letters[i]) & set(letters[j])
    }
    assert letters[0][0] == "a"


def test_a_run_whose_predictions_have_changed_since_has_no_letter(make_run: RunFactory, runs: Path) -> None:
    changed, missing, *_ = [make_run(cell={"seed": seed}) for seed in range(4)]
    rows = _ordered(_group(runs), ["seed"])
    (changed / "predictions.npz").write_bytes(b"")
    (missing / "predictions.npz").unlink()

    assert tie_letters(rows) == ["", "", "a", "a"]
