from __future__ import annotations

from pathlib import Path

import pytest

from harness.rapl import POWERCAP, Rapl
from harness.usage import Missing

RANGE_UJ = 262_143_328_850


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, what is part of one, and what includes or repeats them."""
    names = {
        "intel-rapl": None,
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
        "dtpm": None,
    }
    for folder, name in names.items():
        (tmp_path / folder).mkdir()
        if name is not None:
            (tmp_path / folder / "name").write_text(f"{name}\n")
            (tmp_path / folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
            count(tmp_path, folder, 7_000_000)
    return tmp_path


def count(powercap: Path, folder: str, energy_uj: int) -> None:
    (powercap / folder / "energy_uj").write_text(f"{energy_uj}\n")


def test_packages_are_added_up_and_nothing_is_counted_twice(powercap: Path) -> None:
    rapl = Rapl(powercap)
    assert rapl.read_j() == 0
    for folder in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
        count(powercap, folder, 9_000_000)
    assert rapl.read_j() == pytest.approx(2)
    count(powercap, "intel-rapl:1", 7_500_000)
    assert rapl.read_j() == pytest.approx(2.5)


def test_a_counter_that_starts_again_goes_on(powercap: Path) -> None:
    count(powercap, "intel-rapl:1", RANGE_UJ - 1_000_000)
    rapl = Rapl(powercap)
    rapl.read_j()
    count(powercap, "intel-rapl:1", 2_000_000)
    assert rapl.read_j() == pytest.approx(3)
    count(powercap, "intel-rapl:1", 3_000_000)
    assert rapl.read_j() == pytest.approx(4)


def test_a_machine_without_counters_is_a_reason(tmp_path: Path) -> None:
    assert Rapl(tmp_path / "none").read_j() == Missing(
        f"no RAPL: there is no processor package in {tmp_path}/none"
    )
    assert isinstance(Rapl(tmp_path).read_j(), Missing)


def test_a_counter_that_only_root_may_read_is_a_reason(
    powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text

    def deny(path: Path, encoding: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", deny)
    answer = Rapl(powercap).read_j()
    assert isinstance(answer, Missing)
    assert answer.reason.endswith("energy_uj may not be read by this user")


def test_what_is_no_number_or_is_gone_is_a_reason_until_it_is_back(powercap: Path) -> None:
    rapl = Rapl(powercap)
    rapl.read_j()
    counter = powercap / "intel-rapl:1" / "energy_uj"
    counter.write_text("?\n")
    assert rapl.read_j() == Missing("RAPL: invalid literal for int() with base 10: '?'")
    counter.unlink()
    assert "No such file" in str(rapl.read_j())
    count(powercap, "intel-rapl:1", 8_000_000)
    assert rapl.read_j() == pytest.approx(1)


def test_this_machine_has_counters_or_a_reason() -> None:
    answer = Rapl().read_j()
    assert answer == 0 or isinstance(answer, Missing), POWERCAP
