"""The systems that a command line names, each under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import UsageError
from results.audit.result import AUDIT, PREDICTIONS, read_stored
from results.predictions import PredictionSet, holds_audit, holds_run, read_prediction_set
from results.store import one_line


def read_targets(paths: Sequence[Path], labels_path: Path | None) -> list[PredictionSet]:
    """Read every run, audit or file, in the order given.

    Args:
        paths: run folders, audit folders (or a file in one) or files of predictions.
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
        _read(path, None if is_run else labels_path) for path, is_run in zip(paths, are_runs, strict=True)
    ]
    names = Counter(each.name for each in found)
    return [
        replace(each, name=one_line(str(path))) if names[each.name] > 1 else each
        for path, each in zip(paths, found, strict=True)
    ]


def _read(path: Path, labels_path: Path | None) -> PredictionSet:
    """A system under the name that it goes by: an audited vendor under its own, not that of its folder."""
    folder = _place(path)
    stored = read_stored(folder) if holds_audit(folder) else None
    if stored is None:
        return read_prediction_set(path, labels_path)
    return replace(read_prediction_set(folder, labels_path), name=one_line(stored.vendor))


def _place(path: Path) -> Path:
    """Where the system lies: a folder, whether it or a file in it is named."""
    is_inside = path.name in (AUDIT, PREDICTIONS) and (holds_run(path) or holds_audit(path.parent))
    return (path.parent if is_inside else path).resolve()
