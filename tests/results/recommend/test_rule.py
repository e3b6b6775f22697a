"""BUILD, BUY or NOT YET DECIDED, from stored runs, an audit and assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from results.economics.assumptions import load_assumptions
from results.economics.choose import CHOICE_COLUMNS
from results.index.load import load_table
from results.recommend.evidence import Evidence, gather
from results.recommend.recommendation import Recommendation
from results.recommend.rule import recommend
from tests.results.conftest import RunFactory
from tests.results.recommend.recommend_helpers import audit_of, classes_of

ERRORS_ARE_DEAR = ["cost_per_error_usd=50", "costly_images_percent=25", "images_per_year=100000000"]
ERRORS_ARE_FREE = ["cost_per_error_usd=0", "images_per_year=10000", "waiting_usd_per_1000_images=0"]


def evidence_of(runs: Path, settings: Sequence[str], audit: Path | None = None) -> Evidence:
    return gather(load_table(runs, CHOICE_COLUMNS), audit, load_assumptions(None, list(settings)))


def recommended(runs: Path, settings: Sequence[str], audit: Path | None = None) -> Recommendation:
    return recommend(evidence_of(runs, settings, audit))


def test_a_better_run_is_built_on_where_errors_are_dear(runs: Path, make_run: RunFactory) -> None:
    run_dir = make_run(9300, num_test=10_000)
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert found.verdict == "BUILD"
    assert found.cell_id == run_dir.name
    assert "93.0%" in found.headline
    assert "23.0 points above Detectocorp's 70% (claimed)" in found.headline
    assert 0 < len(found.reasons) <= 3
    assert found.counter_argument is not None
    assert any("Audit Detectocorp" in line for line in found.measure_next)
    assert "10,000 test images of cifar10 (the published files" in found.measured_on


def test_a_claim_alone_is_never_bought(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    found = recommended(runs, ERRORS_ARE_FREE)
    assert found.verdict == "NOT YET DECIDED"
    assert "has never been measured" in found.headline


def test_an_audited_vendor_that_is_cheaper_is_bought(
    runs: Path, make_run: RunFactory, tmp_path: Path
) -> None:
    run_dir = make_run(180)
    audit = audit_of(run_dir, tmp_path / "audit", classes_of(run_dir, np.arange(20)), price=0.5)
    found = recommended(runs, ERRORS_ARE_FREE, audit)
    assert found.verdict == "BUY"
    assert found.vendor == "Acme"
    assert any("assumptions" in reason.sources for reason in found.reasons)


def test_costs_that_hang_on_the_assumptions_decide_nothing(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    found = recommended(
        runs, ["cost_per_error_usd.low=0.001", "cost_per_error_usd=2", "cost_per_error_usd.high=1000"]
    )
    assert found.verdict == "NOT YET DECIDED"
    assert any("cost of an error" in line for line in found.would_change)


def test_an_accuracy_that_cannot_be_told_from_the_claim_decides_nothing(
    runs: Path, make_run: RunFactory
) -> None:
    make_run(7030, num_test=10_000)
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert found.verdict == "NOT YET DECIDED"
    assert "cannot be told from" in found.headline
    assert any("cannot tell the two apart" in reason.text for reason in found.reasons)


def test_runs_on_other_data_than_the_claim_decide_nothing(runs: Path, make_run: RunFactory) -> None:
    make_run(9990, num_test=10_000, cell={"dataset": "digits"}, data={"dataset": "digits"})
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert found.verdict == "NOT YET DECIDED"
    assert "not been measured on the same images" in found.headline


@pytest.mark.parametrize(("num_seeds", "confidence"), [(1, "low"), (3, "moderate")])
def test_confidence_names_what_is_lacking(
    runs: Path, make_run: RunFactory, num_seeds: int, confidence: str
) -> None:
    for seed in range(num_seeds):
        make_run(9300, num_test=10_000, cell={"seed": seed})
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert (found.verdict, found.confidence) == ("BUILD", confidence)
    assert "the vendor has not been audited" in found.confidence_because
    assert ("fewer than 3 seeds" in found.confidence_because) == (num_seeds < 3)


def test_an_audit_three_seeds_and_settled_costs_are_sure(
    runs: Path, make_run: RunFactory, tmp_path: Path
) -> None:
    for seed in range(3):
        run_dir = make_run(9300, num_test=10_000, cell={"seed": seed})
    audit = audit_of(run_dir, tmp_path / "audit", classes_of(run_dir, np.arange(3000)))
    found = recommended(runs, ERRORS_ARE_DEAR, audit)
    assert (found.verdict, found.confidence) == ("BUILD", "high")


def test_seeds_that_disagree_decide_nothing(runs: Path, make_run: RunFactory) -> None:
    for seed, num_correct in enumerate((9500, 6000, 9200)):
        make_run(num_correct, num_test=10_000, cell={"seed": seed})
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert found.verdict == "NOT YET DECIDED"
    assert "3 seeds from 60.00 to 95.00%" in found.reasons[0].text


def test_central_figures_against_most_draws_decide_nothing(
    runs: Path, make_run: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(9300, num_test=10_000)
    evidence = evidence_of(runs, ERRORS_ARE_DEAR)
    assert recommend(evidence).verdict == "BUILD"
    appraisal = replace(evidence.appraisal, difference_usd=-1.0, cheaper="buy")
    assert recommend(replace(evidence, appraisal=appraisal)).verdict == "NOT YET DECIDED"


def test_a_better_vendor_that_costs_more_decides_nothing(
    runs: Path, make_run: RunFactory, tmp_path: Path
) -> None:
    run_dir = make_run(150)
    audit = audit_of(run_dir, tmp_path / "audit", classes_of(run_dir, np.arange(2)), price=1000)
    found = recommended(runs, ["cost_per_error_usd=0"], audit)
    assert found.verdict == "NOT YET DECIDED"
    assert "is better than ours" in found.headline
    assert "building is the cheaper side" in found.reasons[0].text


def test_an_unverified_claim_is_the_argument_against_building(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    found = recommended(runs, ERRORS_ARE_DEAR)
    turns = gather(
        load_table(runs, CHOICE_COLUMNS), None, load_assumptions(None, ERRORS_ARE_DEAR)
    ).appraisal.break_even_vendor_percent
    assert found.counter_argument is not None
    assert f"from {turns.value:.1f}% on, buying would be" in found.counter_argument.text
    assert any(f"right on {turns.value:.1f}% of these images or more" in line for line in found.would_change)


def test_costs_rest_on_the_claim_and_say_so(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    found = recommended(runs, ERRORS_ARE_DEAR)
    assert "if that claim is true" in found.headline
    assert any("if Detectocorp's claim is true" in reason.text for reason in found.reasons)


def test_reasons_stand_with_the_strongest_first(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    strengths = [reason.strength or -1 for reason in recommended(runs, ERRORS_ARE_DEAR).reasons]
    assert strengths == sorted(strengths, reverse=True)


def test_the_same_evidence_gives_the_same_recommendation(runs: Path, make_run: RunFactory) -> None:
    make_run(9300, num_test=10_000)
    assert recommended(runs, []) == recommended(runs, [])
