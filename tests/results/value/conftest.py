"""Tables of runs without any files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.columns import COLUMN_BY_NAME
from results.index.run_table import Numbers, RunTable, TextColumn, text_column
from results.value.summary import VALUE_COLUMNS

TableFactory = Callable[..., RunTable]

_DEFAULTS: dict[str, Any] = {
    "status": "finished",
    "dataset": "cifar10",
    "data_fingerprint": "aaaa",
    "test_fingerprint": "bbbb",
    "league": "from scratch",
    "official": 1,
    "num_test_images": 10_000,
    "model": "resnet18",
    "augmentation": "flip_crop",
    "precision": "bf16",
    "num_processes": 1,
    "device": "one GPU",
    "clears_vendor_bar": 1,
}


@pytest.fixture
def make_table(tmp_path: Path) -> TableFactory:
    """A table of one run for each dict of values; what is not given is missing, or a plain default."""

    def build(*runs: dict[str, Any]) -> RunTable:
        rows = [{"cell_id": f"{index:012x}"} | _DEFAULTS | run for index, run in enumerate(runs)]
        columns: dict[str, Numbers | TextColumn] = {}
        for name in VALUE_COLUMNS:
            if COLUMN_BY_NAME[name].kind == "text":
                columns[name] = text_column(row.get(name, "") for row in rows)
            else:
                columns[name] = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        return RunTable(tmp_path, columns, [], 0)

    return build
