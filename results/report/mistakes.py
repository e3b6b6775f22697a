"""The worst mistakes of the leading run as images: those that it was surest of."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.datasets.base import Dataset
from harness.datasets.names import split_dataset_name
from harness.errors import VerdictError
from results.report.leaders import Leader
from results.report.values import Missing
from results.store import one_line

NUM_MISTAKES = 24
_MAX_SIDE = 96
"""Pixels of the longer side of a picture in the report."""

_ARCHIVE_FOLDER = "cifar-10-batches-py"


@dataclass(frozen=True)
class Mistake:
    """One test image that was taken for another class."""

    index: int
    """In the test set."""

    data_uri: str
    """PNG."""

    true_class: str
    taken_for: str
    confidence_percent: float


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of one run."""

    label: str
    cell_id: str
    num_wrong: int
    num_images: int
    worst: tuple[Mistake, ...]


def worst_mistakes(leader: Leader, data_dir: Path | None) -> Mistakes | Missing:
    """The wrong answers of the run that it was surest of, with their images.

    Args:
        leader: the run.
        data_dir: the folder with its data set; nothing is ever downloaded.
    """
    given = leader.predictions.distributions()
    if given is None:
        return Missing("Only the predicted classes are known, so no mistake is worse than another.")
    if data_dir is None:
        return Missing("The images are not at hand: --data-dir FOLDER names the data set.")
    wrong = np.flatnonzero(leader.predictions.classes != leader.predictions.labels)
    if not len(wrong):
        return Missing("The leading run makes no mistake on its test images.")
    try:
        images = _test_images(leader, data_dir)
    except VerdictError as error:
        return Missing(f"The images cannot be shown: {one_line(str(error), 300)}.")
    if isinstance(images, Missing):
        return images
    confidences = given.probs.max(axis=1)
    order = wrong[np.argsort(-confidences[wrong], kind="stable")][:NUM_MISTAKES]
    names = [one_line(name, 24) for name in leader.predictions.class_names]
    return Mistakes(
        leader.label,
        leader.cell_id,
        len(wrong),
        len(leader.predictions.labels),
        tuple(
            Mistake(
                index,
                _data_uri(images.test.images[index]),
                names[leader.predictions.labels[index]],
                names[leader.predictions.classes[index]],
                100 * float(confidences[index]),
            )
            for index in order.tolist()
        ),
    )


def _test_images(leader: Leader, data_dir: Path) -> Dataset | Missing:
    """The data set of the run, if these are its very test images."""
    assert leader.record.data is not None
    kind, _ = split_dataset_name(leader.record.cell.dataset)
    dataset = _load(kind, data_dir, leader.record.cell.image_size)
    if dataset is None:
        return Missing(
            f"The images are not at hand: there is no data set {kind} in the folder of --data-dir."
        )
    if dataset.provenance.test_fingerprint != leader.record.data.test_fingerprint:
        return Missing(
            "The images are not shown: those in the folder of --data-dir are not the test images of the run "
            "(their fingerprints differ)."
        )
    return dataset


def _load(kind: str, data_dir: Path, image_size: int) -> Dataset | None:
    """The data set in `data_dir`; None where it is not: the loader of CIFAR-10 would download it."""
    if kind == "cifar10":
        from harness.datasets.cifar10 import load_cifar10

        if not any((folder / "test_batch").is_file() for folder in (data_dir, data_dir / _ARCHIVE_FOLDER)):
            return None
        return load_cifar10(data_dir, allow_unofficial=True, quiet=True)
    if kind == "imagefolder":
        from harness.datasets.imagefolder import load_imagefolder

        return load_imagefolder(data_dir, image_size, quiet=True)
    from harness.datasets.digits import load_digits

    return load_digits(image_size)


def _data_uri(image_CHW: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    picture = Image.fromarray(np.ascontiguousarray(image_CHW.transpose(1, 2, 0)))
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
