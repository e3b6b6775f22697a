"""How a trained model fares on images that are not as clean as those it was tested on.

    arrays = measure_robustness("quick", model, test, normalize, autocast, process)
    write_robustness(run_dir, arrays)                       # runs/<cell_id>/robustness.npz
    python -m harness.robustness runs/<cell_id>             # the same, of a run that is finished

The model answers test images that are corrupted in many ways, moved, mirrored, made brighter, and attacked;
if there are CIFAR-10-C or CIFAR-10.1, their images too. Its answers are kept; every figure is derived from
them in `results/robustness.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.adversarial import EPSILON, KINDS, NUM_STEPS, STEP, attack
from harness.asking import Answers, Asking, Changed, Indices, Ledger, stack
from harness.batches import Preprocess, Samples
from harness.corruptions.frost import frost_source
from harness.corruptions.names import EXTRA, MAIN, SEVERITIES
from harness.corruptions.registry import corrupt
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages
from harness.datasets.shifted import Cifar10C, Cifar101, Published
from harness.errors import DataError, unknown_name
from harness.files import write_arrays
from harness.precision import Autocast
from harness.process import Process
from harness.record import ROBUSTNESS_FILE
from harness.shifts import CHANGES, Change

Arrays = dict[str, np.ndarray[Any, Any]]

FORMAT = 1
"""Of `robustness.npz`. History: 1, the first (2026-11)."""

IN_PARTS = (
    "a strategy that spreads the model over the processes gives no gradients of images: "
    "run python -m harness.robustness on this run"
)


@dataclass(frozen=True)
class Level:
    """How much is measured."""

    severities: tuple[int, ...]
    corruptions: tuple[str, ...]
    num_images: int | None
    """Test images that are corrupted, and moved; None: all."""

    num_attacked: int


LEVELS = {
    "quick": Level((1, 3, 5), MAIN, num_images=1000, num_attacked=200),
    "full": Level(SEVERITIES, (*MAIN, *EXTRA), num_images=None, num_attacked=1000),
}


def measure_robustness(
    level: str,
    model: nn.Module,
    test: ImageSet,
    normalize: Preprocess,
    autocast: Autocast,
    process: Process,
    beat: Callable[[], None] | None = None,
    in_parts: bool = False,
    published: Published | None = None,
    ledger: Ledger | None = None,
) -> Arrays:
    """The arrays of `robustness.npz`, equal on every process; none for level `none`.

    Every process must call it, and answers its share of the images.

    Args:
        level: `none` or one of `LEVELS`.
        model: the whole model, not wrapped for training.
        test: the test images.
        normalize: from uint8 pixels to model input, as in training.
        autocast: as in training; attacks are in float32.
        process: who else takes part.
        beat: called after each batch, as a sign of life.
        in_parts: whether a strategy has spread weights or optimizer over the processes; there the
            gradients of the images are not to be had, and the arrays say why the attacks are missing.
        published: images to be answered as well.
        ledger: what is done already, and who is told.

    Raises:
        UsageError: there is no such level.
        DataError: the processes have different published images, or frost from different sources.
        DivergedError: the model gives logits that are not finite.
    """
    if level == "none":
        return {}
    chosen = choose_level(level)
    published = published or Published()
    _check_agreement(published, process)
    ask = Asking(model, normalize, autocast, process, beat, in_parts, ledger or Ledger())
    indices = spread(len(test.labels), chosen.num_images)
    images, labels = DeviceImages(test, indices, process.device), test.labels[indices]
    clean = ask.about("clean", [images], labels)
    return {
        "format": np.array(FORMAT),
        "level": np.array(level),
        "test_fingerprint": np.array(test.fingerprint()),
        "num_test_images": np.array(len(test.labels)),
        "indices": indices,
        "labels": labels,
        "clean_predicted": clean.predicted[0],
        "clean_confidence": clean.confidence[0],
        **_corruptions(ask, chosen, images, indices, labels),
        **_changes(ask, images, labels),
        **_attacks(ask, test, spread(len(test.labels), chosen.num_attacked)),
        **_cifar10_c(ask, chosen, published.cifar10_c),
        **_cifar10_1(ask, published.cifar10_1),
    }


def _check_agreement(published: Published, process: Process) -> None:
    """Refuse processes that would ask about different images: each waits for the others at every piece."""
    found = process.agree(process.gather(f"{published.name()}; frost: {frost_source()}"))
    if len(set(found)) > 1:
        raise DataError(f"the machines do not have the same images: {' and '.join(sorted(set(found)))}")


def write_robustness(run_dir: Path, arrays: Arrays) -> None:
    """Keep what `measure_robustness` gave in the run's folder; nothing for level `none`.

    Raises:
        StorageError: the file cannot be written.
    """
    if arrays:
        write_arrays(run_dir / ROBUSTNESS_FILE, arrays)


def choose_level(name: str) -> Level:
    """The level of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in LEVELS:
        raise unknown_name("robustness level", name, ("none", *LEVELS))
    return LEVELS[name]


def num_pieces(level: str, published: Published) -> int:
    """How many pieces the ledger is told of."""
    chosen = choose_level(level)
    num_published = 0 if published.cifar10_c is None else len(_names_of(chosen, published.cifar10_c))
    num_published += published.cifar10_1 is not None
    return 1 + len(chosen.corruptions) + len(CHANGES) + 1 + num_published


def spread(num_images: int, num_wanted: int | None) -> Indices:
    """int64 indices of `num_wanted` of the images, at equal distances: folders are in order of class."""
    count = num_images if num_wanted is None else min(num_images, num_wanted)
    return np.arange(count, dtype=np.int64) * num_images // count


def _corruptions(ask: Asking, level: Level, images: Samples, indices: Indices, labels: Indices) -> Arrays:
    """Answers [K, S, N] to each corruption at each severity."""
    rows = torch.from_numpy(indices)

    def corrupted(name: str, severity: int) -> Samples:
        return Changed(images, lambda batch, places: corrupt(batch, name, severity, rows[places.cpu()]))

    given = stack(
        ask.about(name, (corrupted(name, severity) for severity in level.severities), labels)
        for name in level.corruptions
    )
    return {
        "corruption_names": np.array(level.corruptions),
        "corruption_is_main": np.isin(level.corruptions, MAIN),
        "severities": np.array(level.severities),
        "frost_source": np.array(frost_source()),
        **_named("corrupted", given),
    }


def _changes(ask: Asking, images: Samples, labels: Indices) -> Arrays:
    """Answers [T, N] to what should change nothing."""

    def changed(change: Change) -> Samples:
        return Changed(images, lambda batch, _: change(batch))

    given = [ask.about(name, [changed(change)], labels) for name, change in CHANGES.items()]
    arrays = _named("changed", stack(given))
    return {"change_names": np.array(list(CHANGES))} | {name: array[:, 0] for name, array in arrays.items()}


def _attacks(ask: Asking, test: ImageSet, indices: Indices) -> Arrays:
    """Answers [M] to the attacks and to the same images before, or why there are none."""
    if ask.in_parts:
        return {"attacks_unavailable": np.array(IN_PARTS)}
    labels = test.labels[indices]

    def attacked() -> Answers:
        images = DeviceImages(test, indices, ask.process.device)
        return attack(ask.model, images, indices, ask.normalize, ask.process, ask.beat)

    given = ask.ledger.piece("attacks", labels, attacked)
    arrays: Arrays = {
        "attacked_indices": indices,
        "attacked_labels": labels,
        "epsilon": np.array(EPSILON),
        "pgd_step": np.array(STEP),
        "pgd_num_steps": np.array(NUM_STEPS),
    }
    for row, kind in enumerate(KINDS):
        arrays |= _named(f"attacked_{kind}", Answers(given.predicted[row], given.confidence[row]))
    return arrays


def _names_of(level: Level, published: Cifar10C) -> tuple[str, ...]:
    everything = level.num_images is None
    return tuple(name for name in published.names if everything or name in MAIN)


def _cifar10_c(ask: Asking, level: Level, published: Cifar10C | None) -> Arrays:
    """Answers [K, S, N] to the published corrupted images."""
    if published is None:
        return {}
    indices = spread(len(published.labels), level.num_images)
    labels, names = published.labels[indices], _names_of(level, published)
    if not names:
        return {}

    def opened(name: str) -> Iterator[Samples]:
        for severity in level.severities:
            yield DeviceImages(published.images(name, severity), indices, ask.process.device)

    given = stack(ask.about(f"CIFAR-10-C {name}", opened(name), labels) for name in names)
    return {
        "cifar10_c_names": np.array(names),
        "cifar10_c_is_main": np.isin(names, MAIN),
        "cifar10_c_severities": np.array(level.severities),
        "cifar10_c_indices": indices,
        "cifar10_c_labels": labels,
        **_named("cifar10_c", given),
    }


def _cifar10_1(ask: Asking, published: Cifar101 | None) -> Arrays:
    """Answers [N] to all images of CIFAR-10.1."""
    if published is None:
        return {}
    labels = published.images.labels
    images = DeviceImages(published.images, None, ask.process.device)
    given = ask.about(f"CIFAR-10.1 {published.version}", [images], labels)
    return {
        "cifar10_1_version": np.array(published.version),
        "cifar10_1_labels": labels,
        "cifar10_1_predicted": given.predicted[0],
        "cifar10_1_confidence": given.confidence[0],
    }


def _named(name: str, given: Answers) -> Arrays:
    return {f"{name}_predicted": given.predicted, f"{name}_confidence": given.confidence}


def main() -> int:
    """Measure a finished run, as the command line says; the exit code."""
    from harness.console import run_command
    from harness.robustness_command import app

    return run_command(app, prog_name="python -m harness.robustness")


if __name__ == "__main__":
    sys.exit(main())
