"""What a Ray worker runs: one attempt, until it ends. No torch here, and no Ray."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import VerdictError
from harness.settings import Settings
from launch.cluster.node import NodeExecutor
from launch.command import cell_path
from launch.job import Ended, Job, Kind
from launch.local import Limits
from launch.outcome import EXIT_INTERRUPTED, judge

LOOK_EVERY_S = 0.2
STOPPED: tuple[Kind, str] = ("interrupted", "stopped on the user's word; it goes on from its checkpoint")

Result = tuple[Kind, str, float]
"""Kind, message and seconds of an attempt's end."""


def run_attempt(
    job: Job,
    settings: Settings,
    limits: Limits,
    command_of: Callable[[Job, Settings], list[str]],
    folder: str,
) -> Result:
    """Run one attempt to its end in this process, a Ray worker; KeyboardInterrupt lets it stop.

    `folder` is where the launcher was started: names of data may be relative to it.
    """
    for path in (cell_path(job), Path(folder)):
        if not path.exists():
            return "hardware", f"{path} is not there on {socket.gethostname()}: all nodes must see it", 0.0
    os.chdir(folder)
    begun = time.monotonic()
    executor = NodeExecutor(settings, limits, cores=settings.threads or 1, command_of=command_of)
    reason = None
    ended: list[Ended] = []
    try:
        executor.start(job)
    except VerdictError as error:
        return "storage", str(error), 0.0
    while executor.running():
        try:
            ended = executor.poll()
            time.sleep(0 if ended else LOOK_EVERY_S)
        except KeyboardInterrupt:  # what `ray.cancel` raises here
            reason = STOPPED
            executor.stop(hard=False)
    if not ended:  # the interrupt came between its end and our hearing of it
        ended = [judge(job, EXIT_INTERRUPTED, time.monotonic() - begun, reason)]
    return ended[0].kind, ended[0].message, ended[0].seconds
