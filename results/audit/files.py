"""A vendor's file of predictions as a `PredictionSet`: `.csv`, `.json`, `.npy` or `.npz`.

found = read_vendor_file(Path("theirs.csv"), "Detectocorp", asked, names=None)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from results.audit.answers import Answers, shown
from results.audit.array_files import read_array_file
from results.audit.csv_file import read_csv_file
from results.audit.image_names import ImageNames, ImageNumbers, ListedNames
from results.audit.images import AskedImages
from results.audit.json_file import read_json_file
from results.predictions import PredictionSet


@dataclass(frozen=True)
class VendorFile:
    """What a vendor's file says."""

    predictions: PredictionSet
    notes: tuple[str, ...]
    """What a reader of the result must know about the file."""


def read_vendor_file(path: Path, vendor: str, asked: AskedImages, names: Path | None) -> VendorFile:
    """Read a vendor's predictions for every test image.

    Args:
        path: `.csv`, `.json`, `.npy` or `.npz`.
        vendor: its name.
        asked: the test images.
        names: a file with the name of every image on a line of its own, in data set order; None: images
            are called by their positions, or by file names that hold them (`image_names.py`).

    Raises:
        UsageError: there is no such file, or it is of another kind.
        DataError: damaged, or an answer is missing, unclear, impossible or there twice.
    """
    num_images = len(asked.labels)
    called: ImageNames = ImageNumbers(num_images) if names is None else ListedNames(names, num_images)
    answers = Answers(vendor, asked, called)
    notes: list[str] = []
    kind = path.suffix.lower()
    if kind == ".csv":
        not_used = read_csv_file(path, asked.class_names, answers)
        if not_used:
            notes.append(f"columns that were not used: {', '.join(map(shown, not_used[:10]))}")
    elif kind == ".json":
        read_json_file(path, answers)
    elif kind in (".npy", ".npz"):
        read_array_file(path, asked, answers)
    else:
        raise UsageError(f"cannot read '{path}': give predictions as .csv, .json, .npy or .npz")
    found = answers.finish(str(path))
    if found.known == "classes" and not (found.classes == 0).any() and (found.labels == 0).any():
        notes.append(
            f"no image was taken for class {shown(asked.class_names[0])}: "
            "if the vendor's class indices are counted from 1, every figure is wrong"
        )
    return VendorFile(found, tuple(notes))
