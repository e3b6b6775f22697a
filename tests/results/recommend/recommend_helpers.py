"""A vendor's audit, made from what a run of ours was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.record import read_record
from results.audit.result import StoredAudit, write_audit
from results.predictions import PredictionSet
from results.store import read_predictions

Array = np.ndarray[Any, Any]


def classes_of(run_dir: Path, wrong: Array) -> Array:
    """The true classes of a run's test images, but for those at the places `wrong`."""
    labels = _labels(run_dir)
    classes = labels.copy()
    classes[wrong] = (labels[wrong] + 1) % 3
    return classes


def audit_of(run_dir: Path, folder: Path, classes: Array, price: float | None = None) -> Path:
    """Write the audit of a vendor that gave `classes` for the test images of a run."""
    record = read_record(run_dir)
    assert record is not None
    assert record.data is not None
    labels = _labels(run_dir)
    predictions = PredictionSet(
        name="Acme",
        run_dir=None,
        known="classes",
        classes=classes,
        labels=labels,
        class_names=record.data.class_names,
        scores=None,
        fingerprint=record.data.test_fingerprint,
    )
    stored = StoredAudit(
        vendor="Acme",
        claim_percent=70.0,
        claim_source="its own",
        kind="file",
        source="acme.csv",
        source_sha256="0" * 64,
        images="cifar10",
        test_fingerprint=record.data.test_fingerprint,
        labels_sha256="0" * 64,
        num_images=len(labels),
        num_correct=int((classes == labels).sum()),
        price_per_1000_images_usd=price,
        endpoint=None,
        cheapest_better=None,
        cheapest_better_reason="not looked for",
        num_runs_compared=0,
        num_runs_on_other_images=0,
        same_images_by=None,
        notes=(),
        audited_at="2026-11-29T10:00:00+00:00",
    )
    folder.mkdir()
    write_audit(folder, stored, predictions)
    return folder


def _labels(run_dir: Path) -> Array:
    record = read_record(run_dir)
    assert record is not None
    return read_predictions(run_dir, record).test_labels
