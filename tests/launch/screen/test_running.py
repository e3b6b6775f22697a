from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.live import LiveFile
from harness.record import record_path
from launch.screen.running import attempt_shown
from tests.launch.jobs import make_job


@pytest.mark.parametrize(
    ("has_live", "record_age_s", "phase"),
    [(False, None, "starting"), (True, None, "startup"), (False, 1.0, "ending"), (False, 90.0, "starting")],
)
def test_an_attempt_starts_works_and_ends(
    tmp_path: Path, has_live: bool, record_age_s: float | None, phase: str
) -> None:
    """The last one: the record is that of an attempt before this one, which failed."""
    job = make_job(tmp_path)
    job.run_dir.mkdir()
    if has_live:
        LiveFile(job.run_dir, epochs=1, batch_size=64).phase("startup")
    if record_age_s is not None:
        record_path(job.run_dir).touch()
        os.utime(record_path(job.run_dir), (time.time() - record_age_s,) * 2)

    shown = attempt_shown(job, "core 0", elapsed_s=30.0)

    assert (shown.phase, shown.place, shown.elapsed_s) == (phase, "core 0", 30.0)
    assert (shown.silent_s is not None) == has_live
