from __future__ import annotations

import pytest

from harness.series import PhaseEnergy, Series
from harness.usage import Missing

LOST = Missing("NVML: GPU is lost")


def series(*samples: tuple[float, float | Missing]) -> Series:
    made = Series()
    for at_s, value in samples:
        made.add(at_s, value)
    return made


def counted(*readings: tuple[float, float | Missing, str]) -> PhaseEnergy:
    """Readings, each at the end of a phase."""
    made = PhaseEnergy("counter")
    for at_s, count_j, phase in readings:
        made.end_phase(at_s, count_j, phase)
    return made


def test_a_mean_is_weighted_by_time() -> None:
    made = series((0, 100), (1, 100), (1.1, 0), (4, 0))
    assert made.mean() == pytest.approx((100 + 5) / 4)
    assert made.peak() == 100


def test_one_sample_is_its_mean_and_peak() -> None:
    assert series((5, 0.0)).mean() == series((5, 0.0)).peak() == 0


def test_negative_values_have_a_peak() -> None:
    assert series((0, -3.0), (1, -2.0)).peak() == -2


def test_a_short_gap_is_bridged() -> None:
    made = series(*((at, 10.0) for at in range(100)), (100, LOST), (101, 10.0), (150, 10.0))
    assert made.mean() == pytest.approx(10)
    assert made.integral == pytest.approx(1500)


def test_a_long_gap_leaves_no_figure() -> None:
    for made in (
        series((0, 10.0), (1, LOST), (2, LOST)),
        series((0, LOST), (1, 10.0)),
        series((0, 10.0), (5, LOST), (10, 10.0)),
    ):
        assert made.mean() == made.peak() == Missing("not read for 100% of the time: NVML: GPU is lost")
    assert series((0, 10.0), (5, 10.0), (8, LOST), (10, 10.0)).mean() == Missing(
        "not read for 50% of the time: NVML: GPU is lost"
    )


def test_what_was_never_read_says_why() -> None:
    assert series((0, LOST), (1, LOST)).peak() == LOST
    assert isinstance(Series().mean(), Missing)


def often(*phases: tuple[float, float, str], num_readings: int) -> PhaseEnergy:
    """Phases of so many seconds that take so many joules, evenly, each read so many times."""
    made, at_s, count_j = PhaseEnergy("counter"), 0.0, 0.0
    made.end_phase(at_s, count_j, "")
    for seconds, joules, phase in phases:
        for reading in range(1, num_readings + 1):
            share = reading / num_readings
            take = made.end_phase if reading == num_readings else made.add
            take(at_s + share * seconds, count_j + share * joules, phase)
        at_s, count_j = at_s + seconds, count_j + joules
    return made


def test_energy_is_told_apart_by_phase() -> None:
    made = often((1, 10, "data"), (2, 40, "train"), (1, 2, "evaluate"), (1, 10, "train"), num_readings=10)
    assert made.total_j() == pytest.approx(62)
    assert made.phase_j("train") == pytest.approx(50)
    assert made.phase_j("evaluate") == pytest.approx(2)
    assert made.phase_j("write") == Missing("there was no phase write")


def test_a_phase_whose_ends_weigh_more_than_itself_has_no_energy() -> None:
    made = often((5, 50, "train"), (0.5, 5, "evaluate"), (5, 50, "train"), num_readings=9)
    assert made.total_j() == pytest.approx(105)
    assert made.phase_j("evaluate") == Missing(
        "the phase evaluate was too short: the counter hardly moved in it"
    )
    assert isinstance(made.phase_j("train"), Missing)  # nine readings each time it came


def test_a_counter_that_goes_back_or_stands_still_is_no_energy() -> None:
    assert counted((0, 100, "train"), (1, 5, "train"), (2, 300, "train")).total_j() == Missing(
        "the counter went back while it was read"
    )
    assert counted((0, 100, "train"), (2, 100, "train")).total_j() == Missing(
        "the counter stood still for the 2.0 s that were measured"
    )


def test_a_phase_in_which_the_counter_stood_still_was_too_short() -> None:
    made = counted((0, 100, ""), (1, 200, "data"), (1.01, 200, "train"))
    assert made.total_j() == 100
    assert made.phase_j("train") == Missing("the phase train was too short: the counter hardly moved in it")


def test_a_failed_reading_costs_the_phases_but_not_the_total() -> None:
    made = counted((0, 100, ""), (1, LOST, "data"), (3, 130, "train"))
    assert made.total_j() == 30
    assert made.phase_j("train") == Missing("not read where a phase ended: NVML: GPU is lost")


def test_a_counter_that_is_lost_in_the_middle_is_no_energy() -> None:
    made = counted((0, 100, ""), (1, 130, "train"), (4, LOST, "train"))
    assert (
        made.total_j() == made.phase_j("train") == Missing("not read for 75% of the time: NVML: GPU is lost")
    )
    assert counted((0, LOST, "")).total_j() == LOST
    assert isinstance(PhaseEnergy("counter").total_j(), Missing)
