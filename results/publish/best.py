"""The most accurate run of each league, and its shares of GPipe.

for best in best_of_leagues(load_table(folder, BEST_COLUMNS)):
    best.league, best.accuracy_percent, best.least_compute_percent
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.index.run_table import RunTable
from results.references import load_references

BEST_COLUMNS = (
    "status",
    "dataset",
    "data_fingerprint",
    "league",
    "model",
    "augmentation",
    "cell_id",
    "val_accuracy_percent",
    "test_accuracy_percent",
    "test_accuracy_low_percent",
    "test_accuracy_high_percent",
    "total_train_pflop",
    "num_params",
    "share_of_gpipe_accuracy_percent",
    "share_of_gpipe_params_percent",
)


@dataclass(frozen=True)
class Best:
    """One run; shares are in percent of GPipe's."""

    dataset: str
    league: str
    model: str
    augmentation: str
    cell_id: str
    accuracy_percent: float
    low_percent: float
    high_percent: float
    num_params: float
    train_pflop: float
    accuracy_share: float
    params_share: float
    compute_share_at_most: float
    """Of a lower bound of GPipe's training compute, so that the true share is smaller."""


def best_of_leagues(table: RunTable) -> list[Best]:
    """For each data set and league, the run of highest accuracy on its validation images.

    Chosen by test accuracy, its test accuracy would look better than it is. Runs that held out no images
    are not chosen.
    """
    names = ("dataset", "data_fingerprint", "league")
    keys = list(zip(*(table.texts(name).tolist() for name in names), strict=True))
    validated = table.numbers("val_accuracy_percent")
    is_candidate = (table.texts("status") == "finished") & np.isfinite(validated)
    found = []
    for key in sorted({key for key, candidate in zip(keys, is_candidate, strict=True) if candidate}):
        rows = [place for place, each in enumerate(keys) if each == key and is_candidate[place]]
        found.append(_best(table, max(rows, key=lambda place: validated[place])))
    return found


def _best(table: RunTable, place: int) -> Best:
    def number(name: str) -> float:
        return float(table.numbers(name)[place])

    def text(name: str) -> str:
        return str(table.texts(name)[place])

    counted = load_references()["gpipe"].counted
    assert counted is not None, "references.yaml counts GPipe"
    return Best(
        text("dataset"),
        text("league"),
        text("model"),
        text("augmentation"),
        text("cell_id"),
        number("test_accuracy_percent"),
        number("test_accuracy_low_percent"),
        number("test_accuracy_high_percent"),
        number("num_params"),
        number("total_train_pflop"),
        number("share_of_gpipe_accuracy_percent"),
        number("share_of_gpipe_params_percent"),
        100 * number("total_train_pflop") / counted.least_train_pflop,
    )
