"""Tell trackers about each epoch: TensorBoard, Weights & Biases, MLflow, through accelerate's classes.

    python harness/run.py --track tensorboard,wandb        # then: tensorboard --logdir runs/tracking

A cell that goes on from a checkpoint goes on in the same run of the tracker, whose name there is kept in
`runs/<cell_id>/tracking.json`. A tracker that fails is told nothing more: the training is worth more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from harness.cell import CellSpec
from harness.files import write_text
from harness.record import EpochRow

PROJECT = "verdict"
_LONGEST_LABEL = 180  # a file name holds 255 characters
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "WANDB_FINISH_TIMEOUT": "60",
}
"""Seconds and tries for which a training waits, where the user says nothing: it could be for ever."""


class Tracking:
    """The trackers of one cell; to be used by the main process alone.

    Args:
        cell: what is trained; its values are the configuration of the tracker's run.
        run_dir: folder of the run; TensorBoard's files go into `tracking/` beside it.
        names: some of `harness.settings.TRACKERS`.
        warn: told, in one line, of a tracker that fails.
    """

    def __init__(
        self, cell: CellSpec, run_dir: Path, names: tuple[str, ...], warn: Callable[[str], None]
    ) -> None:
        self._cell = cell
        self._run_dir = run_dir
        self._names = names
        self._warn = warn
        self._trackers: dict[str, GeneralTracker] = {}

    def start(self) -> None:
        """Begin a run in each tracker, or go on with that of an earlier attempt."""
        for variable, value in _PATIENCE.items():
            os.environ.setdefault(variable, value)
        path = self._run_dir / "tracking.json"
        for name in self._names:
            with self._guarded(name):
                known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
                tracker = self._make(name, known.get(name))
                self._trackers[name] = tracker
                if hasattr(tracker, "start"):  # older versions of accelerate start when they are made
                    tracker.start()
                if name not in known:
                    tracker.store_init_configuration(_flat(self._cell))
                    write_text(path, json.dumps(known | {name: _id_of(name, tracker)}) + "\n")

    def epoch(self, row: EpochRow, images_per_s: float) -> None:
        """One epoch was trained and scored."""
        values = {
            "train_loss": row.train_loss,
            "val_loss": row.val_loss,
            "val_accuracy": row.val_accuracy,
            "lr": row.lr,
            "images_per_s": images_per_s,
        }
        known = {name: value for name, value in values.items() if value is not None}
        for name, tracker in list(self._trackers.items()):
            with self._guarded(name):
                tracker.log(known, step=row.epoch)

    def finish(self) -> None:
        """The cell has ended or pauses."""
        for name, tracker in list(self._trackers.items()):
            with self._guarded(name):
                tracker.finish()
        self._trackers = {}

    def _make(self, name: str, known_id: str | None) -> GeneralTracker:
        title = f"{self._cell.label()[:_LONGEST_LABEL]} {self._cell.cell_id}"
        folder = self._run_dir.parent / "tracking"
        folder.mkdir(parents=True, exist_ok=True)
        if name == "tensorboard":
            return TensorBoardTracker(known_id or title.replace("/", "_"), folder)
        if name == "wandb":
            project = os.environ.get("WANDB_PROJECT", PROJECT)
            return WandBTracker(project, name=title, id=known_id, resume="allow", dir=str(folder))
        return MLflowTracker(PROJECT, run_name=title, run_id=known_id)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Go on without a tracker that fails in the block."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever its package or its network may raise
            tracker = self._trackers.pop(name, None)
            if tracker is not None:
                with suppress(Exception):  # MLflow would refuse the next cell while a run is open
                    tracker.finish()
            reason = " ".join(str(error).split())
            self._warn(f"  warning: no more is told to {name}: {type(error).__name__}: {reason}")


def _id_of(name: str, tracker: GeneralTracker) -> str:
    """What the tracker calls the run."""
    if name == "tensorboard":
        return str(tracker.run_name)
    return str(tracker.tracker.id if name == "wandb" else tracker.tracker.info.run_id)


def _flat(cell: CellSpec) -> dict[str, Any]:
    """The values of a cell by name, those of its recipe as `recipe.NAME`, of the types that trackers take."""
    values = cell.model_dump()
    values |= {f"recipe.{name}": value for name, value in values.pop("recipe").items()}
    plain = bool | int | float | str | None
    return {name: value if isinstance(value, plain) else str(value) for name, value in values.items()}
