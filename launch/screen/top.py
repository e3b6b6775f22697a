"""The best finished runs so far, kept up to date at the cost of reading one run when it ends. No torch here.

top = Top()
top.add(run_dir)     # a run has finished
top.rows(3)          # the best three of each group, as `results/score.py` ranks them
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from harness.errors import DataError
from harness.record import Record, read_record
from launch.plan.facts import CellState
from launch.screen.snapshot import TopRow
from results.metrics import accuracy_count
from results.score import score_run, vendor_bar_percent
from results.store import Run, Scores, read_predictions

_KEPT = 10
"""Of each group; the others cannot come back into the first rows."""


class Top:
    """Runs on other data, or of the other league, are ranked apart."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, TopRow]] = defaultdict(dict)

    def add(self, run_dir: Path) -> str | None:
        """Take in a finished run.

        Returns:
            Why it cannot be ranked, in one line; None: it is.
        """
        try:
            record = read_record(run_dir)
            if record is None or record.status != "finished":
                return f"{run_dir}: there is no record of a finished run"
            row = _row(run_dir, record)
        except DataError as error:
            return str(error)
        group = self._groups[row.group]
        group[row.cell_id] = row
        if len(group) > 2 * _KEPT:
            self._groups[row.group] = {each.cell_id: each for each in _ranked(group.values())[:_KEPT]}
        return None

    def add_known(self, out: Path, states: Iterable[CellState]) -> None:
        """Take in those of the finished runs of a folder that may be among the best.

        They are chosen by validation accuracy for compute: the predictions of ten thousand runs cannot be
        read in a second, those of a few can. Where there are few runs, all are taken in.
        """
        bar = vendor_bar_percent() / 100
        groups: dict[tuple[str, str], list[tuple[bool, float, str]]] = defaultdict(list)
        for state in states:
            facts = state.facts
            if facts is not None and facts.total_train_flops > 0:
                accuracy = state.val_accuracy or 0.0
                key = (accuracy <= bar, -accuracy / facts.total_train_flops, state.cell_id)
                groups[facts.fingerprint, facts.league].append(key)
        for candidates in groups.values():
            for _, _, cell_id in heapq.nsmallest(_KEPT, candidates):
                self.add(out / cell_id)

    def rows(self, num: int) -> list[TopRow]:
        """The best of each group, groups with more runs that clear the bar first."""
        ranked = [_ranked(group.values()) for group in self._groups.values()]
        ranked.sort(key=lambda rows: (-sum(row.clears_bar for row in rows), rows[0].group))
        return [row for rows in ranked for row in rows[:num]]


def _ranked(rows: Iterable[TopRow]) -> list[TopRow]:
    """As `results.score.ranked` does: above the bar first, then by accuracy for compute."""
    return sorted(rows, key=lambda row: (not row.clears_bar, -row.accuracy_per_pflop, row.cell_id))


def _row(run_dir: Path, record: Record) -> TopRow:
    """What counts of one run.

    Raises:
        DataError: its predictions cannot be trusted, or its record lacks what a finished run has.
    """
    if record.data is None or record.model is None or record.model.total_train_flops <= 0:
        raise DataError(f"{run_dir}: says finished, but lacks its data or its compute")
    predictions = read_predictions(run_dir, record)
    scores = Scores(
        num_test=len(predictions.test_labels),
        test_correct=accuracy_count(predictions.test_logits, predictions.test_labels),
        test_tta_correct=None,  # neither counts for the ranking
        num_val=0,
        val_correct=0,
    )
    score = score_run(Run(run_dir, record, scores))
    data = record.data
    official = "" if data.official else ", not the published set"
    return TopRow(
        group=f"{data.dataset} {data.fingerprint[:8]}{official}, {record.cell.league}",
        label=record.cell.label(),
        accuracy_percent=score.accuracy_percent,
        accuracy_low_percent=score.accuracy_low_percent,
        accuracy_high_percent=score.accuracy_high_percent,
        train_pflop=score.total_train_pflop,
        accuracy_per_pflop=score.accuracy_per_pflop,
        clears_bar=score.clears_vendor_bar,
        cell_id=record.cell_id,
    )
