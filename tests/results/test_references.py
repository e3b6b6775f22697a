from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from results import references
from results.references import leaderboard_references, load_references


def test_every_entry_of_the_file_is_kept_under_its_own_key() -> None:
    entries = yaml.safe_load(references.REFERENCES_PATH.read_text(encoding="utf-8"))

    assert list(load_references()) == [entry["key"] for entry in entries]


@pytest.mark.parametrize(
    ("key", "accuracy_percent", "num_params", "total_train_pflop"),
    [
        ("gpipe", 99.0, 557_000_000, None),
        ("detectocorp", 70.0, None, None),
        ("human_judgement", 95.24, None, None),
        ("human_majority", 99.21, None, None),
        ("resnet18", 94.82, 11_170_000, None),
        ("resnet20", 91.73, 270_000, None),
        ("wrn_28_10", 96.0, None, None),
        ("airbench94_muon", 94.01, None, 0.29),
        ("airbench96_faster", 96.0, None, 3.1),
    ],
)
def test_figures_are_those_of_the_sources(
    key: str, accuracy_percent: float, num_params: int | None, total_train_pflop: float | None
) -> None:
    entry = load_references()[key]

    assert entry.accuracy_percent == accuracy_percent
    assert entry.num_params == num_params
    assert entry.total_train_pflop == total_train_pflop


def test_each_script_of_airbench_is_named_exactly_and_with_the_day_it_was_read() -> None:
    for key in ("airbench94_muon", "airbench96_faster"):
        source = load_references()[key].source
        assert f" {key}.py (" in source
        assert "read on 2026-11-29" in source


def test_human_figures_follow_from_the_published_judgements(shared_data: Path) -> None:
    labels = np.load(shared_data / "predictions" / "cifar10_test_labels.npy")
    counts = np.load(shared_data / "predictions" / "cifar10h_counts.npy")

    right = counts[np.arange(len(labels)), labels].sum()

    assert f"{right:,.0f} of {counts.sum():,.0f} judgements" in load_references()["human_judgement"].source
    assert round(100 * right / counts.sum(), 2) == load_references()["human_judgement"].accuracy_percent
    majority_percent = 100 * (counts.argmax(axis=1) == labels).mean()
    assert round(majority_percent, 2) == load_references()["human_majority"].accuracy_percent


def test_the_leaderboard_shows_gpipe_the_vendor_and_one_human_judgement() -> None:
    assert [entry.key for entry in leaderboard_references()] == ["gpipe", "detectocorp", "human_judgement"]


def test_what_was_counted_for_gpipe_is_labelled_and_gives_a_lower_bound() -> None:
    counted = load_references()["gpipe"].counted

    assert counted is not None
    assert counted.label == "counted from the architecture"
    assert counted.num_params == pytest.approx(load_references()["gpipe"].num_params, rel=0.01)
    assert counted.least_train_pflop == pytest.approx(1_331_167 * 1.792665511296e12 / 1e15)
    assert counted.least_train_images_source.startswith("lower bound")


def test_only_gpipe_was_counted() -> None:
    assert [entry.key for entry in load_references().values() if entry.counted] == ["gpipe"]


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy_percent": 101},
        {"source": ""},
        {"kind": "measured"},
        {"dataset": "digits"},
        {"params": 5},
        {"counted": {}},
    ],
)
def test_an_entry_that_is_not_a_sourced_claim_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    entries = yaml.safe_load(references.REFERENCES_PATH.read_text(encoding="utf-8"))
    path = tmp_path / "references.yaml"
    path.write_text(yaml.safe_dump([entries[0] | change]), encoding="utf-8")
    monkeypatch.setattr(references, "REFERENCES_PATH", path)

    with pytest.raises(ValidationError):
        load_references.__wrapped__()
