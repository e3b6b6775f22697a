"""Which of a few runs their test images cannot tell apart: the letters beside the accuracies.

letters = tie_letters(rows)     # ["a", "ab", "b"]: the first and the last differ
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.compare.holm import holm
from results.compare.paired import mcnemar_exact
from results.compare.power import ALPHA
from results.compare.ties import group_letters, tie_groups
from results.index.run_table import RunTable

MAX_TIED = 20
"""Runs that are compared with each other: all pairs of more would take long, and say little after Holm."""


def tie_letters(rows: RunTable) -> list[str]:
    """Letters for each of N runs on the same images; runs with a letter in common are not told apart.

    Every pair of the first `MAX_TIED` runs is compared by the exact McNemar test on its predictions, with
    Holm's correction over all pairs. A run whose predictions have changed since they were scored has none.
    """
    head = rows.select(np.arange(min(len(rows), MAX_TIED)))
    counts = head.numbers("test_correct").tolist()
    facts = zip(head.texts("cell_id").tolist(), head.numbers("num_test_images").tolist(), counts, strict=True)
    right = [_right_answers(rows.folder / cell_id, int(num), int(count)) for cell_id, num, count in facts]
    # From the most accurate one down, so that its letter is the first.
    known = sorted((place for place, row in enumerate(right) if row is not None), key=lambda p: -counts[p])
    letters = [""] * len(rows)
    if len(known) < 2:
        return letters
    matrix = np.stack([right[place] for place in known]).astype(np.int64)  # type: ignore[misc]  # none is None
    only = matrix @ (1 - matrix).T
    pairs = list(combinations(range(len(known)), 2))
    adjusted = holm([mcnemar_exact(int(only[i, j]), int(only[j, i])) for i, j in pairs])
    resolved = {pair for pair, p_value in zip(pairs, adjusted, strict=True) if p_value <= ALPHA}
    groups = tie_groups(len(known), resolved)
    for place, text in zip(known, group_letters(groups, len(known)), strict=True):
        letters[place] = text
    return letters


def _right_answers(run_dir: Path, num_images: int, num_correct: int) -> NDArray[Any] | None:
    """Whether each test image was classified correctly, bool [N]; None if they changed since the scoring."""
    try:
        with np.load(run_dir / "predictions.npz", allow_pickle=False) as arrays:
            right: NDArray[Any] = arrays["test_logits"].argmax(axis=1) == arrays["test_labels"]
    except Exception:  # noqa: BLE001  # as in `results/store.py`; the file was whole when it was scored
        return None
    return right if (len(right), right.sum()) == (num_images, num_correct) else None
