from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.interval import wilson_interval
from results.economics import decide
from results.economics.assumptions import Assumptions, load_assumptions
from results.economics.break_even import break_even_volume
from results.economics.cash_flow import difference_usd
from results.economics.command import appraisal_json
from results.economics.decide import Appraisal, appraise
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.keys import ACCURACIES, KEYS
from results.economics.sensitivity import Sensitivity, flip, tornado
from results.economics.uncertainty import central_values
from tests.results.economics.conftest import make_build

DEARER_BUYING = (
    "vendor_usd_per_1000_images",
    "vendor_price_change_percent",
    "vendor_fee_usd_per_year",
    "integration_engineer_months",
    "audit_usd_per_year",
    "buy_loss_points",
)
DEARER_BUILDING = (
    "build_engineer_months",
    "build_overrun_percent",
    "labelled_images",
    "label_usd",
    "data_acquisition_usd",
    "maintenance_engineer_percent",
    "retrainings_per_year",
    "training_runs",
    "task_compute_factor",
    "cpu_usd_per_vcpu_hour",
    "serving_other_usd_per_1000_images",
    "serving_fixed_usd_per_year",
    "build_loss_points",
)


def difference(**changed: float) -> float:
    build, claim = make_build(), BuyFacts("Detectocorp", 70.0)
    values = central_values(build, claim, load_assumptions())
    return float(
        difference_usd(build, values | {key: np.array([value]) for key, value in changed.items()})[0]
    )


@pytest.fixture(scope="module")
def rows() -> tuple[Sensitivity, ...]:
    return tornado(make_build(), BuyFacts("Detectocorp", 70.0), load_assumptions())


@pytest.fixture(scope="module")
def appraisal() -> Appraisal:
    return appraise(make_build(), BuyFacts("Detectocorp", 70.0), load_assumptions())


def in_range(key: str) -> st.SearchStrategy[float]:
    entry = load_assumptions()[key]
    return st.floats(entry.low, entry.high)


@given(data=st.data(), key=st.sampled_from(DEARER_BUYING), volume=in_range("images_per_year"))
@settings(max_examples=100, deadline=None)
def test_a_dearer_vendor_never_makes_buying_cheaper(data: st.DataObject, key: str, volume: float) -> None:
    less, more = sorted((data.draw(in_range(key)), data.draw(in_range(key))))
    assert difference(**{key: less, "images_per_year": volume}) <= (
        difference(**{key: more, "images_per_year": volume}) + 1e-6 * volume
    )


@given(data=st.data(), key=st.sampled_from(DEARER_BUILDING))
@settings(max_examples=100, deadline=None)
def test_a_dearer_build_never_makes_building_cheaper(data: st.DataObject, key: str) -> None:
    # An overrun also keeps ours, with its errors, out of use: images that wait cost more than those errors.
    less, more = sorted((data.draw(in_range(key)), data.draw(in_range(key))))
    assert difference(**{key: more}) <= difference(**{key: less}) + 1e-3


@given(first=st.floats(0, 100), second=st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_more_accurate_side_never_becomes_dearer(first: float, second: float) -> None:
    less, more = sorted((first, second))
    assert difference(build_accuracy_percent=less) <= difference(build_accuracy_percent=more) + 1e-3
    assert difference(buy_accuracy_percent=more) <= difference(buy_accuracy_percent=less) + 1e-3


def test_where_a_figure_flips_both_sides_cost_the_same(rows: tuple[Sensitivity, ...]) -> None:
    flipping = [row for row in rows if row.flip is not None]
    assert len(flipping) > 20
    for row in flipping:
        assert row.flip is not None
        assert abs(difference(**{row.key: row.flip.value})) < 1e-4, row.key
        step = max(abs(row.flip.value), 1) * 1e-6
        above = difference(**{row.key: row.flip.value + step})
        assert (above > 0) == row.flip.build_cheaper_above, row.key


def test_a_figure_that_never_flips_has_no_flip_anywhere(rows: tuple[Sensitivity, ...]) -> None:
    for row in rows:
        if row.flip is None:
            ends = (row.searched_from, row.searched_to)
            signs = {difference(**{row.key: value}) > 0 for value in (*ends, row.value, sum(ends) / 2)}
            assert len(signs) == 1, row.key


def test_the_nearest_of_several_flips_is_found(build: BuildFacts, claim: BuyFacts) -> None:
    figures = load_assumptions(None, ["images_per_year=8328729.131423018"])
    values = central_values(build, claim, figures)
    at = flip(build, values, "images_per_year")
    assert at is not None
    closed = break_even_volume(build, values)
    assert at.value == pytest.approx(closed.value, rel=1e-12)
    assert at.build_cheaper_above == closed.build_cheaper_above


def test_the_tornado_shows_the_difference_at_both_ends_the_longest_bar_first(
    rows: tuple[Sensitivity, ...],
) -> None:
    swings = [row.swing_usd for row in rows]
    assert swings == sorted(swings, reverse=True)
    assert rows[0].key == "cost_per_error_usd"
    for row in rows:
        if row.low is None or row.high is None:
            assert row.swing_usd == 0
            continue
        assert row.difference_at_low_usd == pytest.approx(difference(**{row.key: row.low}), abs=1e-3)
        assert row.difference_at_high_usd == pytest.approx(difference(**{row.key: row.high}), abs=1e-3)


def test_a_figure_without_effect_is_left_out(rows: tuple[Sensitivity, ...]) -> None:
    keys = {row.key for row in rows}
    assert not keys & {"h100_usd_per_hour", "h200_usd_per_hour"}  # the run was on a CPU
    assert keys <= {*KEYS, *ACCURACIES}


def test_our_accuracy_has_its_wilson_interval_and_a_claim_has_no_range(rows: tuple[Sensitivity, ...]) -> None:
    found = {row.key: row for row in rows}
    low, high = wilson_interval(9_200, 10_000)
    ours, theirs = found["build_accuracy_percent"], found["buy_accuracy_percent"]
    assert (ours.low, ours.high) == (100 * low, 100 * high)
    assert (theirs.low, theirs.high, theirs.difference_at_low_usd) == (None, None, None)
    assert theirs.flip is not None
    assert not theirs.flips_in_range


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (("cost_per_error_usd", "waiting_usd_per_1000_images", "vendor_usd_per_1000_images"), "buying is"),
        (
            (
                "build_engineer_months",
                "build_start_months",
                "labelled_images",
                "data_acquisition_usd",
                "maintenance_engineer_percent",
                "retrainings_per_year",
                "serving_fixed_usd_per_year",
            ),
            "building is",
        ),
    ],
)
def test_one_side_may_be_cheaper_at_any_volume(
    free: tuple[str, ...], words: str, build: BuildFacts, claim: BuyFacts
) -> None:
    figures = load_assumptions(None, [f"{key}=0" for key in free])
    found = break_even_volume(build, central_values(build, claim, figures))
    assert found.value is None
    assert found.reason is not None
    assert found.reason.startswith(words)
    assert found.reason.endswith("cheaper at any volume")


def test_a_volume_that_changes_both_sides_alike_has_no_break_even(claim: BuyFacts) -> None:
    by_volume = (
        "cost_per_error_usd",
        "waiting_usd_per_1000_images",
        "vendor_usd_per_1000_images",
        "serving_other_usd_per_1000_images",
        "a100_usd_per_hour",
    )
    figures = load_assumptions(None, [f"{key}=0" for key in by_volume])
    build = make_build(images_per_s_inference=None)
    found = break_even_volume(build, central_values(build, claim, figures))
    assert (found.value, found.reason) == (None, "the volume changes both sides alike")


def test_the_gap_is_what_our_accuracy_needs_above_the_vendors(appraisal: Appraisal) -> None:
    gap = appraisal.break_even_gap
    assert gap.value is not None
    assert gap.build_cheaper_above is True
    assert difference(build_accuracy_percent=70 + gap.value) == pytest.approx(0, abs=1e-4)
    vendor = appraisal.break_even_vendor_percent
    assert vendor.value is not None
    assert vendor.build_cheaper_above is False
    assert difference(buy_accuracy_percent=vendor.value) == pytest.approx(0, abs=1e-4)
    error = appraisal.break_even_error_usd
    assert error.value is not None
    assert difference(cost_per_error_usd=error.value) == pytest.approx(0, abs=1e-4)


def test_the_components_add_up(appraisal: Appraisal) -> None:
    for side in (appraisal.build_cost, appraisal.buy_cost):
        parts = side.components
        assert side.present_cost_usd == pytest.approx(sum(part.present_cost_usd for part in parts))
        assert side.yearly_usd == pytest.approx(np.sum([part.yearly_usd for part in parts], axis=0))
        assert side.npv_usd == -side.present_cost_usd
    assert appraisal.difference_usd == pytest.approx(difference())
    assert appraisal.cheaper == "build"


def test_a_price_that_the_vendor_states_takes_the_place_of_the_assumed_one(
    build: BuildFacts, shipped: Assumptions
) -> None:
    priced = BuyFacts("a vendor", 70.0, price_per_1000_images_usd=4.0)
    appraisal = appraise(build, priced, shipped)
    entry = appraisal.assumptions["vendor_usd_per_1000_images"]
    assert (entry.value, entry.is_known, entry.source) == (4.0, True, "stated by a vendor")
    assert not any("discloses no price" in line for line in appraisal.caveats)


def test_a_price_that_the_user_sets_takes_the_place_of_the_stated_one(
    build: BuildFacts, tmp_path: Path
) -> None:
    priced = BuyFacts("a vendor", 70.0, price_per_1000_images_usd=4.0)
    path = tmp_path / "ours.yaml"
    path.write_text("vendor_usd_per_1000_images: 2\n")
    by_set, by_file = ["vendor_usd_per_1000_images=2"], load_assumptions(path)
    for figures in (load_assumptions(None, by_set), by_file):
        appraisal = appraise(build, priced, figures)
        entry = appraisal.assumptions["vendor_usd_per_1000_images"]
        assert (entry.value, entry.is_known, entry.source) == (2.0, True, None)
        assert (
            "a vendor states a price of 4 USD per 1,000 images: your own setting of "
            "vendor_usd_per_1000_images, 2, has replaced it."
        ) in appraisal.caveats


def test_an_audit_on_other_images_than_the_run_is_refused(build: BuildFacts, shipped: Assumptions) -> None:
    ours = make_build(test_fingerprint="a" * 64)
    audited = BuyFacts("a vendor", 75.0, num_correct=750, num_images=1_000, test_fingerprint="b" * 64)
    with pytest.raises(
        UsageError, match="the audit of a vendor is about other images than the run 0123456789ab: audit the"
    ):
        appraise(ours, audited, shipped)
    assert any("It is not known" in line for line in appraise(build, audited, shipped).caveats)


def test_an_interval_on_the_other_side_settles_nothing(
    build: BuildFacts, claim: BuyFacts, shipped: Assumptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_center = appraise(build, claim, shipped)
    assert at_center.cheaper == "build"
    low = dataclasses.replace(at_center.monte_carlo, low_usd=-9.0, high_usd=-1.0)
    monkeypatch.setattr(decide, "monte_carlo", lambda *_: low)
    found = appraise(build, claim, shipped)
    assert (found.is_settled, found.is_contradicted) == (False, True)


def test_it_says_that_a_claim_is_unverified_and_that_the_images_are_a_proxy(
    appraisal: Appraisal, build: BuildFacts, shipped: Assumptions
) -> None:
    text = " ".join(appraisal.caveats)
    assert "10,000 test images of cifar10 (official)" in text
    assert "proxy" in text
    assert "a claim that nobody has verified" in text
    assert "discloses no price" in text
    audited = BuyFacts("a vendor", 75.0, num_correct=750, num_images=1_000)
    assert "nobody" not in " ".join(appraise(build, audited, shipped).caveats)


def test_a_difference_that_the_ranges_leave_no_doubt_about_is_settled(
    appraisal: Appraisal, build: BuildFacts, claim: BuyFacts
) -> None:
    assert not appraisal.is_settled
    dear = appraise(build, claim, load_assumptions(None, ["cost_per_error_usd=1000"]))
    assert dear.is_settled
    assert not dear.is_contradicted
    assert dear.cheaper == "build"
    assert dear.monte_carlo.low_usd > 0


def test_everything_can_be_had_as_json(appraisal: Appraisal) -> None:
    content = json.loads(appraisal_json(appraisal, ("a note",)))
    assert content["assumptions"]["label_usd"]["value"] == 0.036
    assert content["assumptions"]["label_usd"]["as_of"] == "2026-11-29"
    assert content["notes"] == ["a note"]
    assert content["buy"]["num_correct"] is None
    assert sum(content["monte_carlo"]["bin_counts"]) == pytest.approx(9_800, abs=2)


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_all_figures_at_their_bounds_are_appraised(bound: str) -> None:
    figures = load_assumptions(None, [f"{key}={getattr(limits, bound)!r}" for key, limits in KEYS.items()])
    simulated = appraise(make_build(), BuyFacts("Detectocorp", 70.0), figures).monte_carlo
    assert np.isfinite([simulated.low_usd, simulated.high_usd]).all()
    assert (np.diff(simulated.bin_edges_usd) > 0).all()


@given(setting=st.sampled_from(list(KEYS)), at_maximum=st.booleans())
@settings(max_examples=74, deadline=None)
def test_any_figure_at_its_bound_gives_finite_costs(setting: str, at_maximum: bool) -> None:
    bound = KEYS[setting].maximum if at_maximum else KEYS[setting].minimum
    figures = load_assumptions(None, [f"{setting}={bound!r}"])
    build, claim = make_build(), BuyFacts("Detectocorp", 70.0)
    assert np.isfinite(difference_usd(build, central_values(build, claim, figures))).all()
