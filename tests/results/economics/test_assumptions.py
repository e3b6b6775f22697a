from __future__ import annotations

import contextlib
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from results.economics.assumptions import load_assumptions, shipped_assumptions
from results.economics.keys import KEYS


def refused(text: str, tmp_path: Path) -> str:
    """The message that a file of assumptions is refused with."""
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_assumptions(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_shipped_figure_is_dated_and_has_a_source_or_says_what_it_assumes() -> None:
    for entry in shipped_assumptions().values():
        assert entry.as_of is not None
        assert entry.as_of <= date(2026, 12, 31)
        assert entry.source or entry.assumption
        assert entry.low <= entry.value <= entry.high


def test_a_price_has_a_source_that_can_be_looked_up() -> None:
    priced = [entry for key, entry in shipped_assumptions().items() if re.match(r"(cpu|[ah][12]00_usd)", key)]
    assert len(priced) == 4
    assert all("http" in (entry.source or "") for entry in priced)


def test_what_stands_in_for_the_vendors_price_is_called_an_assumption() -> None:
    entry = shipped_assumptions()["vendor_usd_per_1000_images"]
    assert entry.source is not None
    assert "discloses no price" in (entry.assumption or "")


def test_a_file_replaces_some_figures_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(
        "images_per_year: 2e6\n"
        "label_usd: {value: 0.05, low: 0.02, high: 0.1, as_of: 2026-10-01, source: our contract}\n"
        "engineer_month_usd:\n  high: 30000\n"
    )
    found = load_assumptions(path)
    volume, label, month = (found[key] for key in ("images_per_year", "label_usd", "engineer_month_usd"))
    assert (volume.value, volume.is_known, volume.source, volume.as_of) == (2e6, True, None, None)
    assert volume.assumption == f"given in {path}"
    assert (label.low, label.high, label.source, label.assumption) == (0.02, 0.1, "our contract", None)
    assert label.as_of == date(2026, 10, 1)
    assert month.high == 30_000
    assert month.source == shipped_assumptions()["engineer_month_usd"].source
    assert month.assumption is not None
    assert month.assumption.endswith(f"range given in {path}")
    assert found["horizon_years"] == shipped_assumptions()["horizon_years"]


def test_a_setting_wins_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("horizon_years: 4\n")
    given = ["horizon_years.low=3", "horizon_years=5", "horizon_years.high=6", "cost_per_error_usd=0"]
    found = load_assumptions(path, given)
    assert (found["horizon_years"].low, found["horizon_years"].value, found["horizon_years"].high) == (
        3,
        5,
        6,
    )
    assert found["cost_per_error_usd"].is_known  # 0, though its distribution is lognormal


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "images_per_yaer=3",
            "--set images_per_yaer: unknown assumption 'images_per_yaer': did you mean images",
        ),
        ("label_usd=nan", "--set label_usd: 'nan' is not a finite number"),
        ("label_usd=inf", "--set label_usd: 'inf' is not a finite number"),
        ("label_usd=-1", "--set label_usd: -1 is outside of 0 to 1000 (USD per judgement)"),
        ("label_usd=cheap", "--set label_usd: 'cheap' is not a finite number"),
        ("label_usd=", "--set label_usd: '' is not a finite number"),
        ("label_usd.hgih=1", "--set label_usd.hgih: there is no such field: value, low, high"),
        ("label_usd.low=9", "--set label_usd: value 0.036 has to lie between low 9 and high 0.12"),
        ("label_usd.low=0", "--set label_usd: low 0 has to be above 0 where the distribution is lognormal"),
        ("label_usd.unit=EUR", "--set label_usd.unit: has to stay 'USD per judgement'"),
        ("label_usd.as_of=soon", "--set label_usd.as_of: "),
        ("label_usd.distribution=normal", "--set label_usd.distribution: "),
        ("horizon_years=true", "--set horizon_years: 'true' is not a finite number"),
        ("costly_images_percent=101", "--set costly_images_percent: 101 is outside of 0 to 100"),
        ("label_usd", "--set 'label_usd': expected key=value"),
        ("=3", "--set '=3': expected key=value"),
        ("a\nb=3", "--set 'a\\nb=3': expected key=value"),
        ("label_usd=1\n\x1b[31m", "--set label_usd: '1\\n\\x1b[31m' is not a finite"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_assumptions(None, [setting])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "horizon_yaers: 3",
            "line 1, horizon_yaers: unknown assumption 'horizon_yaers': did you mean horizon",
        ),
        ("label_usd: 0.05\nhorizon_years: long", "line 2, horizon_years: 'long' is not a finite number"),
        (
            "label_usd:\n  value: 1\n  low: .nan\n  high: 2",
            "line 3, label_usd.low: '.nan' is not a finite number",
        ),
        (
            "label_usd:\n  value: 1\n  low: -2\n  high: 2\n  distribution: pert",
            "line 3, label_usd.low: -2 is out",
        ),
        ("label_usd:\n  price: 1", "line 2, label_usd.price: there is no such field"),
        ("label_usd: [1, 2]", "line 1: a list cannot stand here"),
        ("label_usd:\n- 1", "line 2: a list cannot stand here"),
        ("label_usd: {value: {low: 1}}", "line 1: mappings in each other, more than 2 deep"),
        ("label_usd: 1\nlabel_usd: 2", "line 2: the key 'label_usd' stands twice: already on line 1"),
        ("label_usd:\n  low: 1\n  low: 2", "line 3: the key 'label_usd.low' stands twice: already on line 2"),
        ("a: &a 1\nlabel_usd: *a", "line 1: anchors and aliases are not supported"),
        ("label_usd: !!python/object/apply:os.system [id]", "line 1: tags are not allowed"),
        ("label_usd: !!float 1", "line 1: tags are not allowed"),
        ("? {a: 1}\n: 2", "line 1: a key has to be a word"),
        ("<<: {label_usd: 1}", "line 1, <<: unknown assumption '<<'"),
        ("label_usd: 1\n---\nlabel_usd: 2", "line 2: a second document begins here"),
        ("label_usd: 1\n  x: 2", "line 2: mapping values are not allowed"),
        ("label_usd: 'open", "line 1: "),
        ("label_usd: \x07", "line 1: "),
        ("%YAML 1.1\n---\nlabel_usd: 1", "line 1: YAML directives are not supported"),
        ("just words", ": expected keys with values"),
        ("", ": expected keys with values"),
        ('"a\\nb": 1', "line 1: a key has to be a word"),
        ("label_usd:", "line 1, label_usd: '' is not a finite number"),
    ],
)
def test_a_hostile_or_wrong_file_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    assert message in refused(text, tmp_path)


def test_a_billion_laughs_are_refused_at_the_first(tmp_path: Path) -> None:
    lines = ["a: &a lol"] + [f"{chr(98 + n)}: &{chr(98 + n)} {{x: *{chr(97 + n)}}}" for n in range(20)]
    assert "line 1: anchors" in refused("\n".join(lines), tmp_path)


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    assert "deep" in refused("{a: " * 50_000, tmp_path)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    assert "larger than 256 KiB" in refused("#" * 2**18 + "\n", tmp_path)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_bytes(b"label_usd: \xff")
    with pytest.raises(UsageError, match="line 1: not UTF-8"):
        load_assumptions(path)
    with pytest.raises(UsageError, match=r"cannot read .*No such file"):
        load_assumptions(tmp_path / "none.yaml")


@given(text=st.text(max_size=200) | st.text("{}[]:&*!%-?|>'\"# \n\tab1.", max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UsageError):
        load_assumptions(path)


def test_a_known_figure_keeps_where_it_comes_from() -> None:
    entry = shipped_assumptions().known("vendor_usd_per_1000_images", 2.5, "stated by a vendor")
    assert entry["vendor_usd_per_1000_images"].value == 2.5
    assert entry["vendor_usd_per_1000_images"].is_known
    assert entry["vendor_usd_per_1000_images"].source == "stated by a vendor"
    assert list(entry) == list(KEYS)
