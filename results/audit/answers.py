"""A vendor's answers, put one after the other at the place of their image, and refused where unclear.

    answers = Answers("Detectocorp", asked, ImageNumbers(len(asked.labels)))
    answers.add("theirs.csv:2", "0000.png", predicted="cat")
    answers.finish("theirs.csv")        # a PredictionSet

Where probabilities are given they count: the class is that of the largest; of equal ones the one that the
vendor states, or else the first.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import DataError
from results.audit.image_names import ImageNames
from results.audit.images import AskedImages
from results.metrics import Array
from results.predictions import SUM_TOLERANCE, Known, PredictionSet
from results.store import one_line

ROUNDING = 1e-6
"""How far above 1 a probability may be: what the softmax of float32 leaves."""

_INDEX = re.compile(r"[0-9]{1,9}")
_SHOWN_NAMES = 20
_SHOWN_LENGTH = 60


class ClassReader:
    """What a vendor calls a class, as its index: all by name, or all by index."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self._by_name = {name: index for index, name in enumerate(class_names)}
        self._kind: tuple[str, str] | None = None
        """Name or index, and where that was seen first."""

    def index(self, value: object, where: str) -> int:
        """The index of a class that is given as text or as an integer.

        Raises:
            DataError: no such class, a name that is also another's index, or names after indices.
        """
        if isinstance(value, bool | float) or not isinstance(value, int | np.integer | str):
            raise DataError(f"{where}: {shown(value)} is neither the name nor the index of a class")
        text = str(value).strip()
        by_name = self._by_name.get(text)
        by_index = int(text) if _INDEX.fullmatch(text) else None
        if by_index is not None and by_index >= len(self.class_names):
            by_index = None
        if by_name is None and by_index is None:
            raise self.unknown(text, where)
        if by_name is not None and by_index is not None:
            if by_name != by_index:
                raise DataError(
                    f"{where}: {shown(text)} is the name of class {by_name} and the index of another: "
                    "give probabilities, or name no class by a number"
                )
            return by_name
        self._stay_with("names" if by_index is None else "indices", where)
        return by_name if by_index is None else by_index  # type: ignore[return-value]  # one is not None

    def unknown(self, name: str, where: str) -> DataError:
        """The error for a class that is not there: near names first, then the valid ones."""
        near = difflib.get_close_matches(name[:200], self.class_names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(shown, near))}? " if near else ""
        names = ", ".join(one_line(each, _SHOWN_LENGTH) for each in self.class_names[:_SHOWN_NAMES])
        more = len(self.class_names) - _SHOWN_NAMES
        return DataError(
            f"{where}: unknown class {shown(name)}: {hint}valid: {names}"
            f"{f' and {more:,} more' if more > 0 else ''}, or 0 to {len(self.class_names) - 1}"
        )

    def _stay_with(self, kind: str, where: str) -> None:
        if self._kind is None:
            self._kind = (kind, where)
        elif self._kind[0] != kind:
            raise DataError(f"{where}: classes are {kind} here, but {self._kind[0]} at {self._kind[1]}")


class Answers:
    """The answers of a vendor to the N test images, as they come in."""

    def __init__(self, vendor: str, asked: AskedImages, names: ImageNames) -> None:
        self.classes_read = ClassReader(asked.class_names)
        self._vendor, self._asked, self._names = vendor, asked, names
        self._places: dict[int, str] = {}
        """Where the answer for an image was found, by its position."""

        self._keyed: bool | None = None
        self._known: Known | None = None
        self._classes = np.zeros(len(asked.labels), np.int64)
        self._scores: Array | None = None

    def add(
        self,
        where: str,
        key: object = None,
        *,
        predicted: object = None,
        probs: Mapping[str, object] | Sequence[object] | Array | None = None,
        logits: Array | None = None,
    ) -> None:
        """Take the answer for one image.

        Args:
            where: file and line, for an error.
            key: what the vendor calls the image; None: the next one in data set order.
            predicted: name or index of the class; may be None where there are probabilities.
            probs: one for each class, in the order of the classes or by name.
            logits: [C], in the order of the classes.

        Raises:
            DataError: the answer is unclear, impossible or the second for its image.
        """
        position = self._position(key, where)
        known: Known = "classes" if probs is None and logits is None else "probabilities"
        if logits is not None:
            known = "logits"
        if self._known is None:
            self._known = known
            self._scores = None if known == "classes" else self._empty(logits)
        elif self._known != known:
            raise DataError(f"{where}: {known} here, but {self._known} for the images before")
        scores = self._finite(logits, where) if probs is None else self._probabilities(probs, where)
        stated = None if predicted is None else self.classes_read.index(predicted, where)
        if scores is None:
            if stated is None:
                raise DataError(f"{where}: neither a class nor probabilities")
            self._classes[position] = stated
        else:
            assert self._scores is not None
            self._classes[position] = int(scores.argmax()) if stated is None else stated
            self._scores[position] = scores
            if stated is not None and scores[stated] < scores.max():
                raise DataError(
                    f"{where}: says {shown(self._asked.class_names[stated])}, but its largest probability is "
                    f"that of {shown(self._asked.class_names[int(scores.argmax())])}"
                )
        self._places[position] = where

    def finish(self, source: str) -> PredictionSet:
        """Everything that was answered, once every image was.

        Raises:
            DataError: an image has no answer.
        """
        num_images, num_answers = len(self._asked.labels), len(self._places)
        if num_answers < num_images:
            if not self._keyed:
                raise DataError(f"{source}: {num_answers:,} answers for {num_images:,} test images")
            missing = next(i for i in range(num_images) if i not in self._places)
            raise DataError(
                f"{source}: no answer for {num_images - num_answers:,} of {num_images:,} test images, "
                f"the first of them {self._names.of(missing)}"
            )
        assert self._known is not None
        return PredictionSet(
            name=one_line(self._vendor),
            run_dir=None,
            known=self._known,
            classes=self._classes,
            labels=self._asked.labels,
            class_names=self._asked.class_names,
            scores=self._scores,
            fingerprint=self._asked.test_fingerprint,
        )

    def _position(self, key: object, where: str) -> int:
        if self._keyed is None:
            self._keyed = key is not None
        elif self._keyed != (key is not None):
            raise DataError(f"{where}: some answers name their image and some do not: name it in all or none")
        num_images = len(self._asked.labels)
        if key is None:
            if len(self._places) == num_images:
                raise DataError(f"{where}: one answer more than the {num_images:,} test images")
            return len(self._places)
        position = self._names.position(key, where)
        if position in self._places:
            raise DataError(
                f"{where}: a second answer for {shown(key)}: the first is at {self._places[position]}"
            )
        return position

    def _empty(self, logits: Array | None) -> Array:
        shape = (len(self._asked.labels), len(self._asked.class_names))
        return np.zeros(shape, np.float64 if logits is None else logits.dtype)

    def _finite(self, logits: Array | None, where: str) -> Array | None:
        if logits is None:
            return None
        self._check_length(len(logits), "logits", where)
        if not np.isfinite(logits).all():
            raise DataError(f"{where}: a logit is not finite (NaN or infinite)")
        return logits

    def _probabilities(self, probs: Mapping[str, object] | Sequence[object] | Array, where: str) -> Array:
        values = self._in_order(probs, where) if isinstance(probs, Mapping) else probs
        self._check_length(len(values), "probabilities", where)
        if not isinstance(values, np.ndarray):
            values = np.array([_number(value, where) for value in values])
        row = values.astype(np.float64)
        wrong = ~((row >= 0) & (row <= 1 + ROUNDING))  # NaN is neither
        if wrong.any():
            index = int(wrong.argmax())
            raise DataError(
                f"{where}: the probability of {shown(self._asked.class_names[index])} is {row[index]:g}, "
                "not from 0 to 1"
            )
        if abs(row.sum() - 1) > SUM_TOLERANCE:
            raise DataError(f"{where}: the probabilities sum to {row.sum():.6g}, not to 1")
        return row

    def _in_order(self, probs: Mapping[str, object], where: str) -> list[object]:
        by_index: dict[int, object] = {}
        for name, value in probs.items():
            index = self.classes_read.index(name, where)
            if index in by_index:
                raise DataError(f"{where}: two probabilities for class {shown(name)}")
            by_index[index] = value
        missing = [name for i, name in enumerate(self._asked.class_names) if i not in by_index]
        if missing:
            raise DataError(
                f"{where}: no probability for class {shown(missing[0])}: give all, or the class alone"
            )
        return [by_index[index] for index in range(len(by_index))]

    def _check_length(self, length: int, what: str, where: str) -> None:
        num_classes = len(self._asked.class_names)
        if length != num_classes:
            raise DataError(f"{where}: {length:,} {what} for {num_classes:,} classes")


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {shown(value)} is not a probability")
    try:
        return float(value)
    except OverflowError:
        return math.inf  # an integer that no float holds; refused like any other number above 1


def shown(value: Any) -> str:
    """A vendor's text, harmless to print and not too long, in quotes."""
    return f"'{one_line(str(value)[:1000], _SHOWN_LENGTH)}'"
