"""The few runs that the report looks at closely: their records, predictions and answers to changed images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.record import Record, read_record
from results.figures import Figures, figures_of
from results.predictions import PredictionSet, from_run
from results.report.boards import Board
from results.robustness import Robustness, read_robustness
from results.store import one_line, read_predictions

MAX_LEADERS = 6
_DISTINGUISHING = ("augmentation", "precision", "epochs", "num_processes", "seed")
_UNITS = {"epochs": " epochs", "num_processes": " processes"}


@dataclass(frozen=True)
class Leader:
    """One run, with everything that is known about it."""

    cell_id: str
    label: str
    """What tells it from the other leaders, as short as can be."""

    model: str
    twin: int
    """How many leaders of the same model come before it."""

    board: Board
    record: Record
    predictions: PredictionSet
    figures: Figures
    robustness: Robustness | None
    robustness_missing: str
    """Why there is none; empty where there is."""


def read_leaders(boards: Sequence[Board], wanted: str | None) -> tuple[tuple[Leader, ...], tuple[str, ...]]:
    """Read the leading runs of all boards, and a line about each that could not be read.

    Args:
        boards: in their order.
        wanted: the cell id of a run that must be among them, such as the one that is recommended.
    """
    chosen = _choose(boards, wanted)
    labels = _labels([(board, index) for board, index in chosen])
    leaders: list[Leader] = []
    problems = []
    for (board, index), label in zip(chosen, labels, strict=True):
        try:
            leaders.append(_read(board, index, label, [leader.model for leader in leaders]))
        except DataError as error:
            problems.append(one_line(str(error), 300))
    return tuple(leaders), tuple(problems)


def leading_indices(board: Board) -> Iterator[int]:
    """Places in the board's table, the one to look at first coming first.

    The best value and the most accurate run; then the best of each other model; then the others.
    """
    accuracy = board.table.numbers("test_accuracy_percent")
    models = [str(model) for model in board.table.texts("model")]
    first = [0, int(np.argmax(accuracy))]
    of_models = [models.index(model) for model in dict.fromkeys(models)]
    # The most accurate of each model says more than its best value.
    order = np.argsort(-accuracy, kind="stable").tolist()
    seen = {models[index] for index in first}
    best = []
    for index in order:
        if models[index] not in seen:
            seen.add(models[index])
            best.append(index)
    yield from dict.fromkeys([*first, *best, *of_models, *order])


def _choose(boards: Sequence[Board], wanted: str | None) -> list[tuple[Board, int]]:
    """Up to `MAX_LEADERS`, taken from the boards in turn."""
    chosen: list[tuple[Board, int]] = []
    for board in boards:
        chosen += [
            (board, index) for index, name in enumerate(board.table.texts("cell_id")) if name == wanted
        ][:1]
    queues = [leading_indices(board) for board in boards]
    while queues and len(chosen) < MAX_LEADERS:
        for board, queue in zip(list(boards), list(queues), strict=True):
            following = next((index for index in queue if (board, index) not in chosen), None)
            if following is not None and len(chosen) < MAX_LEADERS:
                chosen.append((board, following))
        if all((board, index) in chosen for board in boards for index in range(len(board.table))):
            break
    order = {board.key: number for number, board in enumerate(boards)}
    return sorted(chosen, key=lambda pair: (order[pair[0].key], pair[1]))


def _labels(chosen: Sequence[tuple[Board, int]]) -> list[str]:
    """The model, and whatever else differs among runs of the same model."""
    values = [
        {name: str(board.table.texts(name)[index]) for name in ("model", *_DISTINGUISHING)}
        for board, index in chosen
    ]
    labels = []
    for own in values:
        same = [other for other in values if other["model"] == own["model"]]
        parts = [own["model"]]
        for name in _DISTINGUISHING:
            if len({other[name] for other in same}) > 1:
                prefix = "seed " if name == "seed" else ""
                parts.append(f"{prefix}{own[name]}{_UNITS.get(name, '')}")
        labels.append(one_line(" · ".join(parts), 48))
    doubled = {label for label in labels if labels.count(label) > 1}
    return [
        f"{label} ({board.table.texts('cell_id')[index]})" if label in doubled else label
        for label, (board, index) in zip(labels, chosen, strict=True)
    ]


def _read(board: Board, index: int, label: str, models_before: list[str]) -> Leader:
    model = str(board.table.texts("model")[index])
    cell_id = str(board.table.texts("cell_id")[index])
    run_dir = board.table.folder / cell_id
    record = read_record(run_dir)
    if record is None:
        raise DataError(f"{run_dir}: its record is gone since the folder was read")
    predictions = from_run(label, run_dir, read_predictions(run_dir, record))
    robustness, why = _robustness(run_dir, record)
    return Leader(
        cell_id,
        label,
        model,
        models_before.count(model),
        board,
        record,
        predictions,
        figures_of(predictions),
        robustness,
        why,
    )


def _robustness(run_dir: Path, record: Record) -> tuple[Robustness | None, str]:
    """What was kept of it; a damaged file takes nothing else out of the report."""
    try:
        found = read_robustness(run_dir, record)
    except DataError as error:
        return None, one_line(str(error), 300)
    return found, "" if found else "not measured: python -m harness.robustness RUN does it"
