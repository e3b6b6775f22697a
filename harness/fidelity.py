"""Does an exported model still do what the original does? Both are shown the whole test set.

data = load_images_of(stored.record, data_dir, moved_to, allow_unofficial=False)
original = original_logits(stored, data.test.images)
exported = onnx_logits(path, data.test.images)
scored = score("ONNX, float32", exported, data.test.labels, against=original)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.base import Dataset, Images, Labels
from harness.datasets.progress import progress
from harness.datasets.registry import load_dataset
from harness.datasets.splits import stratified_split
from harness.errors import DataError
from harness.model_card import Scored
from harness.onnx_model import Logits, batches, open_onnx
from harness.record import Record
from harness.stored_model import StoredModel


def load_images_of(
    record: Record, data_dir: Path, moved_to: Path | None, allow_unofficial: bool, quiet: bool = False
) -> Dataset:
    """The data set that a run was trained and tested on.

    Args:
        record: of the run.
        data_dir: where CIFAR-10 is.
        moved_to: where the images of an image folder are now; None: where they were.
        allow_unofficial: accept CIFAR-10 files that are not the published ones.
        quiet: print nothing.

    Raises:
        DataError: it is missing or damaged, or these are other images.
    """
    name = record.cell.dataset
    if moved_to is not None and name.startswith("imagefolder:"):
        name = f"imagefolder:{moved_to}"
    dataset = load_dataset(name, data_dir, record.cell.image_size, allow_unofficial, quiet)
    expected, found = record.data, dataset.provenance
    if expected is None or expected.fingerprint != found.fingerprint:
        there = "none" if expected is None else expected.fingerprint[:8]
        raise DataError(
            f"{found.source}: its images (fingerprint {found.fingerprint[:8]}) are not those that the run "
            f"was trained and tested on ({there}): name the folder that it used with --data-dir"
        )
    return dataset


def calibration_images(record: Record, dataset: Dataset, num_images: int) -> Images:
    """Images to find ranges of numbers with: held-out training images, or else training ones; never test."""
    fit, val = stratified_split(dataset.train.labels, record.cell.val_fraction)
    chosen = val if len(val) else fit
    spread = np.unique(np.linspace(0, len(chosen) - 1, min(num_images, len(chosen))).round().astype(np.int64))
    return np.ascontiguousarray(dataset.train.images[chosen[spread]])


def original_logits(stored: StoredModel, images: Images) -> Logits:
    """float32 [N, num_classes] by the original model, in float32 whatever its precision in training."""
    return _logits("original model", stored.logits, images, stored.image_size)


def onnx_logits(path: Path, images: Images, image_size: int) -> Logits:
    """float32 [N, num_classes] by an exported model, in onnxruntime."""
    return _logits(path.name, open_onnx(path).logits, images, image_size)


def _logits(name: str, ask: Callable[[Images], Logits], images: Images, image_size: int) -> Logits:
    parts = []
    with progress(name, len(images), "images", quiet=False) as advance:
        for rows in batches(len(images), image_size):
            parts.append(ask(images[rows]))
            advance(len(parts[-1]))
    return np.concatenate(parts)


def score(
    what: str,
    logits: np.ndarray[Any, Any],
    labels: Labels,
    against: Logits | None = None,
    file: Path | None = None,
) -> Scored:
    """How many images the logits get right, and how far they are from those of the original model.

    A logit that is not a finite number is as far away as can be.
    """
    classes = logits.argmax(axis=1)
    difference = others = None
    if against is not None:
        difference = float(np.nan_to_num(np.abs(logits - against), nan=np.inf).max())
        others = int(np.count_nonzero(classes != against.argmax(axis=1)))
    return Scored(
        what=what,
        num_correct=int(np.count_nonzero(classes == labels)),
        num_images=len(labels),
        file=None if file is None else file.name,
        num_bytes=None if file is None else file.stat().st_size,
        max_difference=difference,
        num_disagreements=others,
    )


def count_by_class(
    logits: Logits, labels: Labels, class_names: tuple[str, ...]
) -> list[tuple[str, int, int]]:
    """Name, right answers and images of each class."""
    right = logits.argmax(axis=1) == labels
    return [
        (name, int(right[labels == index].sum()), int((labels == index).sum()))
        for index, name in enumerate(class_names)
    ]
