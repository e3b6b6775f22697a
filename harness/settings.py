"""How cells are run on this machine: nothing of it changes what a cell is. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HardwareError, UsageError, unknown_name

TIMEOUT_S = 600.0

ROBUSTNESS = ("none", "quick", "full")
"""How much of a model's robustness is measured."""

TRACKERS = ("tensorboard", "wandb", "mlflow")
"""Names of trackers, of their packages and of Verdict's extras."""


@dataclass(frozen=True)
class Settings:
    """Settings of one command, for all its cells.

    Raises:
        UsageError: a value is out of range.
    """

    out: Path = Path("runs")
    """Folder of the runs and their table."""

    data_dir: Path = Path("data")
    allow_unofficial_data: bool = False
    cpu: bool = False
    threads: int | None = None
    """Of each process; None: its share of the cores."""

    checkpoint_minutes: float = 10
    """Between two checkpoints; 0: only when a signal asks for one."""

    checkpoint_epochs: int | None = None
    """A checkpoint also after every so many epochs."""

    on_oom: str = "shrink"
    """What is done where memory runs out: `shrink` the micro-batches, or `fail`."""

    timeout_s: float = TIMEOUT_S
    """Until a process that takes no part in an exchange is given up."""

    until_epoch: int | None = None
    """Save a checkpoint and stop after so many epochs, to go on another time; None: train to the end."""

    save_weights: bool = True
    """Keep the trained weights, for export, predictions and further tests."""

    robustness: str = "none"
    """One of `ROBUSTNESS`: measured after a cell is scored."""

    track: tuple[str, ...] = ()
    """Trackers that are told about each epoch: some of `TRACKERS`."""

    def __post_init__(self) -> None:
        limits = {
            "--threads": (self.threads, 1),
            "--checkpoint-minutes": (self.checkpoint_minutes, 0),
            "--checkpoint-epochs": (self.checkpoint_epochs, 1),
            "--timeout": (self.timeout_s, 1),
            "--until-epoch": (self.until_epoch, 1),
        }
        for option, (value, least) in limits.items():
            if value is not None and not value >= least:
                raise UsageError(f"{option} {value:g}: expected {least} or more")
        if self.on_oom not in ("shrink", "fail"):
            raise UsageError(f"--on-oom {self.on_oom}: expected shrink or fail")
        if self.robustness not in ROBUSTNESS:
            raise UsageError(f"--robustness {self.robustness}: expected {', '.join(ROBUSTNESS)}")
        for name in self.track:
            if name not in TRACKERS:
                raise unknown_name("tracker", name, TRACKERS)

    @property
    def checkpoint_every_s(self) -> float | None:
        """Seconds between two checkpoints; None: there are none by the clock."""
        return 60 * self.checkpoint_minutes or None


def check_trackers(names: tuple[str, ...]) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        HardwareError: see above.
    """
    for name in names:
        found = find_spec(name)
        if found is None or found.origin is None:  # a mere folder of that name, such as wandb's own output
            raise HardwareError(
                f"--track {name}: the package {name} is not installed: pip install 'verdict-bench[{name}]'"
            )
