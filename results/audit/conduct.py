"""From the options of the command to the two files of an audit, in the order in which things happen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from harness.datasets.download import file_hash
from harness.errors import UsageError
from results.audit.address import Address
from results.audit.better_run import RunSearch, find_better_run
from results.audit.endpoint import Asking, ask_endpoint
from results.audit.facts import EndpointFacts
from results.audit.files import read_vendor_file
from results.audit.images import AskedImages
from results.audit.result import Audit, StoredAudit, check_same_audit, folder_name, read_audit, write_audit
from results.predictions import PredictionSet
from results.references import load_references
from results.store import load_runs, one_line

CIFAR10_TEST_LABELS_SHA256 = "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb"
"""Of the labels of the official 10,000 test images in their order, as little-endian int64."""

_NO_RUNS = RunSearch(None, "no runs of ours were named: --runs RUNS compares with them", 0, 0, None)


@dataclass(frozen=True)
class Subject:
    """Who is audited, and what it says about itself."""

    vendor: str
    claim_percent: float | None
    """None: what `references.yaml` knows."""

    price_per_1000_images_usd: float | None


@dataclass(frozen=True)
class FromFile:
    """Where a vendor's predictions are."""

    path: Path
    names: Path | None
    """How its images are called, in data set order."""


@dataclass(frozen=True)
class FromEndpoint:
    """Where a vendor answers."""

    address: Address
    asking: Asking


@dataclass(frozen=True)
class _Found:
    """What a vendor predicted, and what is known about that."""

    kind: Literal["file", "endpoint"]
    source: str
    source_sha256: str
    predictions: PredictionSet
    endpoint: EndpointFacts | None
    notes: tuple[str, ...]
    at: datetime
    """When the file was read, or the last answer came."""


def conduct(
    subject: Subject, asked: AskedImages, origin: FromFile | FromEndpoint, runs: Path | None, folder: Path
) -> Audit:
    """Audit a vendor into `folder`.

    Args:
        subject: the vendor.
        asked: the test images.
        origin: where its predictions come from.
        runs: folder of our runs to compare with; None: no comparison.
        folder: of the audit; holds one of the same vendor on the same images, or none.

    Raises:
        UsageError: the folder holds another audit, or something named is not there.
        DataError: the vendor's answers cannot be scored; those of an endpoint are kept for a second call.
        StorageError: the audit cannot be written.
    """
    kind = "file" if isinstance(origin, FromFile) else "endpoint"
    check_same_audit(folder, subject.vendor, kind, asked.test_fingerprint, asked.labels_sha256)
    ours = None if runs is None else load_runs(runs)  # before a vendor is asked, which costs
    found = _find(subject.vendor, asked, origin, folder)
    search = _NO_RUNS if ours is None else find_better_run(found.predictions, ours.runs)
    claim_percent, claim_source, claim_notes = claim_of(subject, asked)
    notes = (*asked.notes, *found.notes, *claim_notes)
    if ours is not None and ours.warnings:
        notes += (f"{len(ours.warnings):,} run(s) of ours left out, the first: {ours.warnings[0]}",)
    stored = StoredAudit(
        vendor=subject.vendor,
        claim_percent=claim_percent,
        claim_source=claim_source,
        kind=found.kind,
        source=found.source,
        source_sha256=found.source_sha256,
        images=asked.source,
        test_fingerprint=asked.test_fingerprint,
        labels_sha256=asked.labels_sha256,
        num_images=len(asked.labels),
        num_correct=int(np.count_nonzero(found.predictions.classes == asked.labels)),
        price_per_1000_images_usd=subject.price_per_1000_images_usd,
        endpoint=found.endpoint,
        cheapest_better=search.run,
        cheapest_better_reason=search.reason,
        num_runs_compared=search.num_compared,
        num_runs_on_other_images=search.num_other_images,
        same_images_by=search.same_images_by,
        notes=notes,
        audited_at=found.at.isoformat(timespec="seconds"),
    )
    write_audit(folder, stored, found.predictions)
    return read_audit(folder)


def folder_of(vendor: str, out: Path | None) -> Path:
    """The folder of an audit: as named, or `audits/<vendor>`.

    Raises:
        UsageError: the vendor's name makes no folder.
    """
    name = folder_name(vendor)
    return Path("audits") / name if out is None else out


def claim_of(subject: Subject, asked: AskedImages) -> tuple[float | None, str, tuple[str, ...]]:
    """The accuracy that the vendor claims, in percent, where that is from, and notes; or why it is not known.

    A claim that is known beforehand is about one data set: labels alone have to be those of its test images.
    """
    if subject.claim_percent is not None:
        return subject.claim_percent, "as given with --claim", ()
    known = load_references().get(folder_name(subject.vendor))
    if known is None or known.kind != "vendor claim":
        return None, "no claim is known: give it with --claim", ()
    if asked.test_fingerprint is None:
        is_about_these = asked.labels_sha256 == CIFAR10_TEST_LABELS_SHA256
    else:
        is_about_these = asked.source == known.dataset
    if not is_about_these:
        return None, f"its known claim is about {known.dataset}, not these images: give one with --claim", ()
    notes = () if asked.official else ("the claim is about the published test images: these are others",)
    return known.accuracy_percent, known.source, notes


def read_key(variable: str | None) -> str | None:
    """The API key in an environment variable; None where none is named.

    Raises:
        UsageError: the variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if key is None:
        # The name is not repeated: somebody may have given the key itself.
        raise UsageError(
            "--key-env: there is no such environment variable: give the name of one, not the key"
        )
    return key


def _find(vendor: str, asked: AskedImages, origin: FromFile | FromEndpoint, folder: Path) -> _Found:
    if isinstance(origin, FromFile):
        read = read_vendor_file(origin.path, vendor, asked, origin.names)
        sha256 = file_hash(origin.path, "sha256")
        name, now = one_line(origin.path.name), datetime.now(UTC)
        return _Found("file", name, sha256, read.predictions, None, read.notes, now)
    address = origin.address
    told = ask_endpoint(vendor, asked, address, origin.asking, folder)
    notes = (*told.facts.warnings(), *told.notes)
    return _Found(
        "endpoint", address.shown, address.sha256, told.predictions, told.facts, notes, told.last_answer_at
    )
