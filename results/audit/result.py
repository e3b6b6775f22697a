"""The result of an audit: `audit.json` and `predictions.npz` in a folder of its own.

    write_audit(folder, stored, predictions)
    audit = read_audit(Path("audits/detectocorp"))
    audit.accuracy, audit.claim, audit.weak_classes

`audit.json` says where the predictions came from and what was found beside them. Every figure is derived
from `predictions.npz` when it is asked for: none is stored as a truth of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.datasets.download import file_hash
from harness.errors import DataError, UsageError
from harness.files import write_arrays, write_text
from harness.recipe import first_problem
from results.audit.better_run import BetterRun
from results.audit.claim import ClaimTest, WeakClass, check_claim, weak_classes
from results.audit.facts import EndpointFacts
from results.audit.journal import JOURNAL, LOCK
from results.figures import Figures, figures_of
from results.metrics import Share
from results.predictions import PredictionSet, read_prediction_set
from results.store import one_line

AUDIT, PREDICTIONS = "audit.json", "predictions.npz"
_ARRAY_OF_SCORES = {"logits": "logits", "probabilities": "probs"}
_MAX_NAME_LENGTH = 80


class StoredAudit(BaseModel):
    """The content of `audit.json`: what the predictions alone do not say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    """History: 1, the first."""

    vendor: str = Field(min_length=1)
    claim_percent: float | None = Field(ge=0, le=100)
    claim_source: str
    """Whose statement the claim is; or why there is none."""

    kind: Literal["file", "endpoint"]
    source: str
    """Name of the file, or address of the endpoint without its query."""

    source_sha256: str
    """Of the file, or of the whole address."""

    images: str
    """The data set, or the file of labels."""

    test_fingerprint: str | None
    """That of the records of our runs; null where only labels were given."""

    labels_sha256: str
    num_images: int = Field(gt=0)
    num_correct: int = Field(ge=0)
    """Checked against the predictions when they are read."""

    price_per_1000_images_usd: float | None = Field(ge=0)
    endpoint: EndpointFacts | None
    """null for a file."""

    cheapest_better: BetterRun | None
    cheapest_better_reason: str | None
    """Why there is none."""

    num_runs_compared: int = Field(ge=0)
    num_runs_on_other_images: int = Field(ge=0)
    same_images_by: str | None
    """How it is known that our runs were scored on the same images; null without a comparison."""

    notes: tuple[str, ...]
    """What a reader must know."""

    audited_at: str
    """ISO 8601, UTC: when the file was read, or the endpoint gave its last answer."""

    predictions_sha256: str = ""
    """Of `predictions.npz` beside it; known to `write_audit`."""


@dataclass(frozen=True)
class Audit:
    """What is known of a vendor: what was stored, and the figures that follow from its predictions."""

    folder: Path
    stored: StoredAudit
    predictions: PredictionSet

    @property
    def vendor(self) -> str:
        """Its name."""
        return self.stored.vendor

    @property
    def accuracy(self) -> Share:
        """On the test images, with its 95% Wilson interval."""
        return self.figures.accuracy

    @cached_property
    def figures(self) -> Figures:
        """Everything that its predictions say about it."""
        return figures_of(self.predictions)

    @cached_property
    def claim(self) -> ClaimTest | None:
        """The claim against the measured accuracy; None where there is no claim."""
        if self.stored.claim_percent is None:
            return None
        return check_claim(self.accuracy, self.stored.claim_percent)

    @cached_property
    def weak_classes(self) -> tuple[WeakClass, ...]:
        """Classes that it recognizes significantly less often than images on the whole, the weakest first."""
        return weak_classes(self.figures)

    @property
    def cheapest_better(self) -> BetterRun | None:
        """Our cheapest run that is significantly better; None: see `stored.cheapest_better_reason`."""
        return self.stored.cheapest_better

    @property
    def price_usd(self) -> float | None:
        """What the vendor asks for the test images; None where its price is not known."""
        price = self.stored.price_per_1000_images_usd
        return None if price is None else price * self.stored.num_images / 1000

    @property
    def billed_usd(self) -> float | None:
        """What it asks for all its answers, images sent again included; None as above, and for a file."""
        price, facts = self.stored.price_per_1000_images_usd, self.stored.endpoint
        return None if price is None or facts is None else price * facts.num_images_answered / 1000


def write_audit(folder: Path, stored: StoredAudit, predictions: PredictionSet) -> None:
    """Write both files of an audit, each atomically: `audit.json`, with the hash of the other, last.

    Raises:
        StorageError: they cannot be written.
    """
    # Classes stand beside scores too: of equal probabilities the vendor may have named any.
    arrays = {
        "classes": predictions.classes,
        "labels": predictions.labels,
        "class_names": np.array(predictions.class_names),
    }
    if predictions.scores is not None:
        arrays[_ARRAY_OF_SCORES[predictions.known]] = predictions.scores
    if predictions.fingerprint is not None:
        arrays["test_fingerprint"] = np.array(predictions.fingerprint)
    write_arrays(folder / PREDICTIONS, arrays)
    stored = stored.model_copy(update={"predictions_sha256": file_hash(folder / PREDICTIONS, "sha256")})
    write_text(folder / AUDIT, stored.model_dump_json(indent=1) + "\n")


def read_audit(folder: Path) -> Audit:
    """Read what the command `audit` wrote.

    Raises:
        UsageError: there is no audit in `folder`.
        DataError: a file is damaged, or the two do not belong together.
    """
    stored = read_stored(folder)
    if stored is None:
        raise UsageError(f"no audit in '{folder}': name the folder that `python -m results audit` wrote")
    path = folder / PREDICTIONS
    if not path.exists():
        raise DataError(f"{path}: is missing: audit the vendor again")
    same_file = file_hash(path, "sha256") == stored.predictions_sha256
    predictions = read_prediction_set(path)
    num_correct = int(np.count_nonzero(predictions.classes == predictions.labels))
    if not same_file or (len(predictions.labels), num_correct, predictions.fingerprint) != (
        stored.num_images,
        stored.num_correct,
        stored.test_fingerprint,
    ):
        raise DataError(f"{path}: does not belong to {AUDIT} beside it: audit the vendor again")
    return Audit(folder, stored, predictions)


def read_stored(folder: Path) -> StoredAudit | None:
    """The content of `audit.json` in `folder`; None where there is none.

    Raises:
        UsageError: `folder` is a file.
        DataError: it is damaged, or of another version.
    """
    path = folder / AUDIT
    try:
        return StoredAudit.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(
            f"'{folder}' is no folder: name the one that `python -m results audit` wrote"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error, 'audit')} (audit the vendor again)") from None


def folder_name(vendor: str) -> str:
    """The name of a vendor's folder: lower case letters, digits and single underscores.

    Raises:
        UsageError: the name has no letter or digit, is too long, or holds what does not print.
    """
    if not vendor.isprintable() or len(vendor) > _MAX_NAME_LENGTH:
        raise UsageError(f"VENDOR: expected a name of at most {_MAX_NAME_LENGTH} printable characters")
    name = re.sub(r"[^a-z0-9]+", "_", vendor.lower()).strip("_")
    if not name:
        raise UsageError("VENDOR: expected a name with a letter from a to z or a digit")
    return name


def check_same_audit(
    folder: Path, vendor: str, kind: str, test_fingerprint: str | None, labels_sha256: str
) -> None:
    """Refuse a folder with the audit of another vendor, of other images or kind, or with other files.

    Raises:
        UsageError: the folder holds them.
        DataError: what it holds is damaged.
    """
    if kind == "file" and (folder / JOURNAL).exists():
        raise UsageError(f"{folder} holds an audit of an endpoint: choose another folder with --out")
    stored = read_stored(folder)
    if stored is None:
        _check_empty(folder)
        return
    if stored.vendor != vendor:
        words = f"of '{stored.vendor}'"
    elif stored.kind != kind:
        words = f"of the same vendor by {stored.kind}"
    elif (stored.test_fingerprint, stored.labels_sha256) != (test_fingerprint, labels_sha256):
        words = f"of the same vendor on other test images ({stored.images})"
    else:
        return
    raise UsageError(f"{folder} holds an audit {words}: choose another folder with --out")


def _check_empty(folder: Path) -> None:
    """Refuse a folder with files that are not of an audit: a run keeps its own `predictions.npz`, for one."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot read '{folder}': {error.strerror}") from None
    others = [name for name in names if name != LOCK]
    if others and JOURNAL not in others:
        raise UsageError(
            f"{folder} is no folder of an audit, but holds '{one_line(others[0], 80)}': "
            "choose an empty or new one with --out"
        )
