"""Test images and a folder for an audit, and a client that does not wait long between its tries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.base import ImageSet
from results.audit import client
from results.audit.images import AskedImages

CLASS_NAMES = ("cat", "dog", "<b>ship</b>")
NUM_IMAGES = 60


@pytest.fixture
def asked() -> AskedImages:
    """60 small images of noise, of three classes."""
    generator = np.random.default_rng(7)
    images = generator.integers(0, 256, (NUM_IMAGES, 3, 4, 5), dtype=np.uint8)
    labels = np.arange(NUM_IMAGES, dtype=np.int64) % len(CLASS_NAMES)
    return AskedImages("noise", images, labels, CLASS_NAMES, ImageSet(images, labels).fingerprint())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audits" / "acme"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(client, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
