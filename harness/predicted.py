"""What a model says about images, as text: CSV and JSON. No torch here."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.files import as_cell


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one image."""

    path: Path
    best: list[tuple[str, float]]
    """Name and probability, the likeliest first."""

    def file_text(self) -> str:
        """The path in characters that can be written: a name of a file may be any bytes."""
        return _printable(self.path)


def best_classes(
    logits: np.ndarray[Any, Any], class_names: tuple[str, ...], top: int
) -> list[list[tuple[str, float]]]:
    """Name and probability of the `top` likeliest classes of each image, [N, C]; of equals the first one."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shares = np.exp(shifted)
    shares /= shares.sum(axis=1, keepdims=True)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return [
        [(class_names[index], float(row[index])) for index in best]
        for row, best in zip(shares, order, strict=True)
    ]


def as_csv(predictions: list[Prediction], top: int) -> str:
    """One row an image: `file`, `class`, `probability`, then `class_2`, `probability_2` and so on."""
    num_classes = min(top, max((len(one.best) for one in predictions), default=1))
    names = ["file", "class", "probability"]
    for number in range(2, num_classes + 1):
        names += [f"class_{number}", f"probability_{number}"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for one in predictions:
        row = [as_cell(one.file_text())]
        for name, probability in one.best:
            row += [as_cell(name), f"{probability:.6f}"]
        writer.writerow(row)
    return text.getvalue()


def as_json(model: str, predictions: list[Prediction], problems: dict[Path, str]) -> str:
    """The model, the likeliest classes of each image, and what could not be read."""
    content = {
        "model": model,
        "images": [
            {
                "file": one.file_text(),
                "best": [{"class": name, "probability": share} for name, share in one.best],
            }
            for one in predictions
        ],
        "left_out": [
            {"file": _printable(path), "reason": _printable(reason)} for path, reason in problems.items()
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _printable(path: Path | str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
