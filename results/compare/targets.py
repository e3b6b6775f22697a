"""The systems that a command line names, each under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import UsageError
from results.predictions import PredictionSet, holds_audit, holds_run, read_prediction_set
from results.store import one_line


def read_targets(paths: Sequence[Path], labels_path: Path | None) -> list[PredictionSet]:
    """Read every run, audit or file, in the order given.

    Args:
        paths: run folders, audit folders or files of predictions.
        labels_path: true classes, for those that are no runs.

    Raises:
        UsageError: fewer than two, one given twice, no such file, labels missing or given in vain.
        DataError: a file is damaged.
    """
    if len(paths) < 2:
        raise UsageError("a comparison needs at least two systems: name another run or file")
    for path, count in Counter(map(_place, paths)).items():
        if count > 1:
            raise UsageError(f"'{path.name}' is given {count} times: name each system once")
    are_runs = [holds_run(path) for path in paths]
    if labels_path is not None and all(are_runs):
        raise UsageError("runs hold their own labels: leave out --labels")
    found = [
        read_prediction_set(path, None if is_run else labels_path)
        for path, is_run in zip(paths, are_runs, strict=True)
    ]
    names = Counter(each.name for each in found)
    return [
        replace(each, name=one_line(str(path))) if names[each.name] > 1 else each
        for path, each in zip(paths, found, strict=True)
    ]


def _place(path: Path) -> Path:
    """Where the system lies: a folder, whether it or the predictions in it are named."""
    is_inside = path.name == "predictions.npz" and (holds_run(path) or holds_audit(path.parent))
    return (path.parent if is_inside else path).resolve()
