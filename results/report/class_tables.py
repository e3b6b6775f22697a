"""Heat maps, as tables whose squares are shaded: a picture, and its figures, in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.report.leaders import Leader
from results.report.text import fixed, whole
from results.report.values import UNKNOWN, Column, Entry, Missing, Table
from results.robustness import Robustness
from results.store import one_line

MAX_MATRIX = 20
"""Classes of a confusion matrix; of more, the most confused pairs are listed."""

MAX_CLASS_ROWS = 100
_MAX_PAIRS = 15
_NAME_LENGTH = 24


def confusion_table(key: str, leader: Leader) -> Table:
    """The confusion matrix of one run; of many classes, its most frequent confusions."""
    figures = leader.figures
    if len(figures.class_names) > MAX_MATRIX:
        return _pairs_table(key, leader)
    confusion = figures.confusion
    per_class = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, per_class, out=np.zeros(confusion.shape), where=per_class > 0)
    wrong = shares * (1 - np.eye(len(shares)))
    most_wrong = float(wrong.max()) or 1.0
    names = [_name(name) for name in figures.class_names]
    rows = []
    for true, name in enumerate(names):
        cells = [Entry(name)]
        for taken in range(len(names)):
            count = int(confusion[true, taken])
            # The square root lets rare confusions be seen beside frequent ones.
            shade = shares[true, taken] if true == taken else (wrong[true, taken] / most_wrong) ** 0.5
            cells.append(
                Entry(whole(count) if count else "·", str(count), float(shade), is_bad=true != taken)
            )
        rows.append(tuple(cells))
    return Table(
        key,
        f"{leader.label}: the true class in rows, what it was taken for in columns",
        (Column("true class", "text"), *(Column(name) for name in names)),
        tuple(rows),
        is_matrix=True,
        cell_ids=(leader.cell_id,),
    )


def _pairs_table(key: str, leader: Leader) -> Table:
    figures = leader.figures
    wrong = figures.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_PAIRS]
    pairs = [divmod(int(cell), len(wrong)) for cell in order]
    rows = tuple(
        (
            Entry(_name(figures.class_names[true])),
            Entry(_name(figures.class_names[taken])),
            Entry(whole(wrong[true, taken]), str(wrong[true, taken])),
        )
        for true, taken in pairs
        if wrong[true, taken]
    )
    return Table(
        key,
        f"{leader.label}: its most frequent confusions, of {len(wrong):,} classes",
        (Column("true class", "text"), Column("taken for", "text"), Column("images")),
        rows,
        cell_ids=(leader.cell_id,),
    )


def recall_table(key: str, leaders: Sequence[Leader]) -> Table:
    """Recall of each class (rows) by each leading run of one board (columns)."""
    names = leaders[0].figures.class_names
    recalls = np.array(
        [
            [np.nan if each.recall is None else 100 * each.recall for each in leader.figures.classes]
            for leader in leaders
        ]
    ).T
    order = list(range(len(names)))
    note = "Share of the images of a class that were recognized; the darker, the more are missed."
    if len(names) > MAX_CLASS_ROWS:
        order = np.argsort(np.nanmean(recalls, axis=1), kind="stable")[:MAX_CLASS_ROWS].tolist()
        note += f" The {MAX_CLASS_ROWS} classes of lowest recall, of {len(names):,}."
    worst = float(np.nanmin(recalls))
    rows = tuple(
        (
            Entry(_name(names[index])),
            Entry(whole(leaders[0].figures.classes[index].num_images)),
            *(_share_entry(float(value), worst) for value in recalls[index]),
        )
        for index in order
    )
    columns = (Column("class", "text"), Column("images"), *(Column(leader.label) for leader in leaders))
    return Table(
        key,
        "Recall of each class, %",
        columns,
        rows,
        note=note,
        is_sortable=True,
        is_matrix=True,
        cell_ids=tuple(leader.cell_id for leader in leaders),
    )


def corruption_table(key: str, leaders: Sequence[Leader]) -> Table | Missing:
    """Accuracy under each corruption (rows), mean over severities, by each leading run that was measured.

    Only runs of the most thorough level that there is stand together.
    """
    measured = [(leader, leader.robustness) for leader in leaders if leader.robustness is not None]
    if not measured:
        reasons = dict.fromkeys(leader.robustness_missing for leader in leaders)
        return Missing(f"Robustness of the leading runs: {'; '.join(reasons)}.")
    level = min(found.scores.robustness_level for _, found in measured)  # full before quick
    shown = [(leader, found) for leader, found in measured if found.scores.robustness_level == level]
    by_name = [_by_corruption(found) for _, found in shown]
    names = list(dict.fromkeys(name for values in by_name for name in values))
    worst = min(min(values.values()) for values in by_name)
    rows = [
        (
            Entry(one_line(name, _NAME_LENGTH)),
            *(_share_entry(values.get(name, float("nan")), worst) for values in by_name),
        )
        for name in names
    ]
    note = (
        f"Level {level}: {shown[0][1].num_images:,} test images; mean over the severities "
        f"{', '.join(map(str, shown[0][1].severities))}. A star marks corruptions that are in no mean."
    )
    if len(shown) < len(leaders):
        note += f" {len(leaders) - len(shown)} of {len(leaders)} leading runs were not measured so."
    return Table(
        key,
        "Accuracy under corruption, %",
        (Column("corruption", "text"), *(Column(leader.label) for leader, _ in shown)),
        tuple(rows),
        note=note,
        is_matrix=True,
        is_sortable=True,
        cell_ids=tuple(leader.cell_id for leader, _ in shown),
    )


def _by_corruption(found: Robustness) -> dict[str, float]:
    """Accuracy in percent by the names of rows."""
    is_main = found.arrays["corruption_is_main"].tolist()
    means = {
        name if main else f"{name} *": 100 * float(row.mean())
        for name, main, row in zip(found.names, is_main, found.accuracy, strict=True)
    }
    scores = found.scores
    return {
        "none": scores.robustness_clean_accuracy_percent,
        "mean of the main ones": scores.mean_corruption_accuracy_percent,
        **means,
    }


def _share_entry(percent: float, worst: float) -> Entry:
    """A share, the darker the further below 100 it is, on the scale of the whole table."""
    if np.isnan(percent):
        return Entry(UNKNOWN)
    return Entry(fixed(percent, 1), repr(percent), (100 - percent) / max(100 - worst, 1e-9), is_bad=True)


def _name(name: str) -> str:
    return one_line(name, _NAME_LENGTH)
