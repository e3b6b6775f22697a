import pytest

from harness.errors import UsageError
from launch.units import duration_s, memory_mib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1.5 h", 5400), ("2d", 172_800)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert duration_s("--timeout", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "h", "-1h", "2 fortnights", "1..5h", "1h x"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout .*expected a time"):
        duration_s("--timeout", text)


@pytest.mark.parametrize(
    ("text", "mib"), [("512MiB", 512), ("2 GiB", 2048), ("8GB", 8e9 / 2**20), ("1gb", 1e9 / 2**20)]
)
def test_memory_is_read_with_its_unit(text: str, mib: float) -> None:
    assert memory_mib("--memory", text) == pytest.approx(mib)


@pytest.mark.parametrize("text", ["", "8", "0GB", "-1GB", "8 cores", "8GB8"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--memory .*expected an amount"):
        memory_mib("--memory", text)
