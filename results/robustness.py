"""How robust a run's model is, derived from what it answered to changed images.

    robustness = read_robustness(run_dir, record)     # None where it was not measured
    robustness.scores.mean_corruption_accuracy_percent
    console.print(robustness_table(robustness))

Hendrycks & Dietterich 2019, arXiv 1903.12261, section 4, define the mean over corruptions of the mean over
severities. Theirs divides each error by AlexNet's; for CIFAR-10 there is no such reference, and the plain
mean is what is published. Only the 15 main corruptions are in a mean, so that levels and papers agree on
what it is over; severities are those that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from harness.corruptions.names import MAIN
from harness.interval import wilson_interval
from harness.record import ROBUSTNESS_FILE, Record
from results.robustness_file import Arrays, read_arrays

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class RobustnessScores:
    """Figures of one run; None where something was not measured or is not defined."""

    robustness_level: str
    """quick or full: only equal levels are comparable."""

    robustness_images: int
    """Test images that were corrupted and moved."""

    robustness_clean_accuracy_percent: float
    """On the same images, unchanged."""

    mean_corruption_accuracy_percent: float
    relative_robustness_percent: float | None
    """Mean corruption accuracy as a share of the clean accuracy; None where that is 0."""

    worst_corruption: str
    worst_corruption_accuracy_percent: float
    """Mean over severities."""

    confidence_when_wrong_percent: float | None
    """Mean softmax probability of wrong answers about corrupted images; None where none is wrong."""

    attacked_images: int | None
    fgsm_accuracy_percent: float | None
    pgd_accuracy_percent: float | None
    shift_consistency_percent: float
    """Share of answers that are those about the unchanged image, over all shifts and images."""

    flip_consistency_percent: float
    brightness_consistency_percent: float
    cifar10_c_accuracy_percent: float | None
    """Of the published images; None unless all 15 main corruptions were there."""

    cifar10_1_accuracy_percent: float | None
    frost_source: str
    """Where the frost of our own corruptions comes from."""

    attacks_unavailable: str | None
    """Why there are no attacks; None where there are."""


@dataclass(frozen=True)
class Robustness:
    """What a model answered, as it was kept, and what follows from it."""

    arrays: Arrays

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions, K of them."""
        return tuple(self.arrays["corruption_names"].tolist())

    @property
    def severities(self) -> tuple[int, ...]:
        """1 to 5, S of them."""
        return tuple(self.arrays["severities"].tolist())

    @property
    def num_images(self) -> int:
        """N, of every accuracy of a corruption."""
        return len(self.arrays["labels"])

    @cached_property
    def accuracy(self) -> Floats:
        """Share of right answers, [K, S]."""
        return _shares(self.arrays["corrupted_predicted"], self.arrays["labels"])

    @cached_property
    def clean_accuracy(self) -> float:
        """Share of right answers about the same images, unchanged."""
        return float(_shares(self.arrays["clean_predicted"], self.arrays["labels"]))

    @cached_property
    def scores(self) -> RobustnessScores:
        """The figures of the run."""
        arrays, clean = self.arrays, self.clean_accuracy
        is_main = arrays["corruption_is_main"]
        by_name = self.accuracy.mean(axis=1)
        mean = float(by_name[is_main].mean())
        worst = int(np.where(is_main, by_name, np.inf).argmin())
        fgsm, pgd = self._attacked("fgsm"), self._attacked("pgd")
        reason = str(arrays.get("attacks_unavailable", "")) or None
        return RobustnessScores(
            robustness_level=str(arrays["level"]),
            robustness_images=self.num_images,
            robustness_clean_accuracy_percent=100 * clean,
            mean_corruption_accuracy_percent=100 * mean,
            relative_robustness_percent=100 * mean / clean if clean else None,
            worst_corruption=self.names[worst],
            worst_corruption_accuracy_percent=100 * float(by_name[worst]),
            confidence_when_wrong_percent=self._confidence_when_wrong(),
            attacked_images=None if fgsm is None else fgsm[1],
            fgsm_accuracy_percent=_percent(fgsm),
            pgd_accuracy_percent=_percent(pgd),
            shift_consistency_percent=self._consistency("shift"),
            flip_consistency_percent=self._consistency("flip"),
            brightness_consistency_percent=self._consistency("brightness"),
            cifar10_c_accuracy_percent=self._cifar10_c(),
            cifar10_1_accuracy_percent=_percent(self._count("cifar10_1")),
            frost_source=str(arrays["frost_source"]),
            attacks_unavailable=reason,
        )

    def attack_row(self, kind: str) -> tuple[float, float, float, int] | None:
        """Accuracy, the ends of its 95% interval, in percent, and n, of `clean`, `fgsm` or `pgd`."""
        counted = self._attacked(kind)
        share, interval = _percent(counted), _interval(counted)
        if counted is None or share is None or interval is None:
            return None
        return share, *interval, counted[1]

    def _attacked(self, kind: str) -> tuple[int, int] | None:
        return self._count(f"attacked_{kind}", "attacked_labels")

    def _count(self, name: str, labels: str | None = None) -> tuple[int, int] | None:
        """Right answers and all answers, or None where nothing was asked."""
        predicted = self.arrays.get(f"{name}_predicted")
        if predicted is None:
            return None
        right = predicted == self.arrays[labels or f"{name}_labels"]
        return int(np.count_nonzero(right)), len(right)

    def _confidence_when_wrong(self) -> float | None:
        is_main = self.arrays["corruption_is_main"]
        wrong = self.arrays["corrupted_predicted"][is_main] != self.arrays["labels"]
        confidence = self.arrays["corrupted_confidence"][is_main][wrong]
        return 100 * float(confidence.mean(dtype=np.float64)) if len(confidence) else None

    def _consistency(self, group: str) -> float:
        chosen = [name.split()[0] == group for name in self.arrays["change_names"].tolist()]
        same = self.arrays["changed_predicted"][np.array(chosen)] == self.arrays["clean_predicted"]
        return 100 * float(same.mean())

    def _cifar10_c(self) -> float | None:
        is_main = self.arrays.get("cifar10_c_is_main")
        if is_main is None or np.count_nonzero(is_main) < len(MAIN):
            return None
        shares = _shares(self.arrays["cifar10_c_predicted"][is_main], self.arrays["cifar10_c_labels"])
        return 100 * float(shares.mean(axis=1).mean())


def read_robustness(run_dir: Path, record: Record) -> Robustness | None:
    """What was kept about the robustness of a finished run; None where it was not measured.

    Raises:
        DataError: the file is damaged, of another version, or about other images than the record.
    """
    arrays = read_arrays(run_dir / ROBUSTNESS_FILE, record)
    return None if arrays is None else Robustness(arrays)


def robustness_table(robustness: Robustness) -> Table:
    """Accuracy in percent by corruption and severity, with the mean over severities."""
    scores = robustness.scores
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"accuracy % of {robustness.num_images:,} test images, level {scores.robustness_level}",
        caption=Text("\n".join(_caption(robustness)), justify="left"),
    )
    table.add_column("corruption")
    for severity in robustness.severities:
        table.add_column(f"severity {severity}", justify="right")
    table.add_column("mean", justify="right")
    table.add_row("none", *[""] * len(robustness.severities), f"{100 * robustness.clean_accuracy:.2f}")
    is_main = robustness.arrays["corruption_is_main"].tolist()
    for name, main, row in zip(robustness.names, is_main, robustness.accuracy, strict=True):
        shares = [f"{100 * share:.2f}" for share in (*row, row.mean())]
        table.add_row(Text(name if main else f"{name} (in no mean)"), *shares)
    table.add_section()
    by_severity = robustness.accuracy[np.array(is_main)].mean(axis=0)
    means = [f"{100 * share:.2f}" for share in (*by_severity, by_severity.mean())]
    table.add_row("mean", *means, style="bold")
    return table


def _caption(robustness: Robustness) -> list[str]:
    """What is known besides the corruptions, a line each."""
    scores = robustness.scores
    lines = []
    if scores.relative_robustness_percent is not None:
        lines.append(f"corrupted over clean accuracy: {scores.relative_robustness_percent:.1f}%")
    if scores.confidence_when_wrong_percent is not None:
        lines.append(f"mean confidence when wrong: {scores.confidence_when_wrong_percent:.1f}%")
    for kind in ("clean", "fgsm", "pgd"):
        row = robustness.attack_row(kind)
        if row is not None:
            what = "unchanged" if kind == "clean" else f"under {kind.upper()}"
            lines.append(
                f"accuracy {what}: {row[0]:.2f}% (95%: {row[1]:.2f} to {row[2]:.2f}, n = {row[3]:,})"
            )
    if scores.attacks_unavailable:
        lines.append(f"no attacks: {scores.attacks_unavailable}")
    lines.append(
        f"same answer when moved {scores.shift_consistency_percent:.1f}%, "
        f"mirrored {scores.flip_consistency_percent:.1f}%, "
        f"brighter or darker {scores.brightness_consistency_percent:.1f}%"
    )
    if scores.cifar10_c_accuracy_percent is not None:
        lines.append(f"CIFAR-10-C, as published: {scores.cifar10_c_accuracy_percent:.2f}%")
    if scores.cifar10_1_accuracy_percent is not None:
        lines.append(f"CIFAR-10.1: {scores.cifar10_1_accuracy_percent:.2f}%")
    return [*lines, f"frost: {scores.frost_source}"]


def _shares(predicted: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Floats:
    """Share of right answers along the last axis."""
    shares: Floats = (predicted == labels).mean(axis=-1)
    return shares


def _percent(counted: tuple[int, int] | None) -> float | None:
    return None if counted is None else 100 * counted[0] / counted[1]


def _interval(counted: tuple[int, int] | None) -> tuple[float, float] | None:
    if counted is None:
        return None
    low, high = wilson_interval(*counted)
    return 100 * low, 100 * high
