"""What Slurm says about jobs: one `squeue` for all, `sacct` for those that it has forgotten. No torch here.

states = look({"verdict-1f0c9a"})
states["17_3"].state        # 'RUNNING'
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from launch.job import Kind

ANSWER_WITHIN_S = 20.0
_MAX_NAMES = 500  # on one command line

ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}
"""States that a job does not leave by itself. All others, such as COMPLETING or REQUEUED, it will."""

KINDS: dict[str, tuple[Kind, str]] = {
    "DEADLINE": ("timed_out", "Slurm ended it at its deadline"),
    "OUT_OF_MEMORY": ("out_of_memory", "Slurm ended it: it used more memory than the job had asked for"),
    "PREEMPTED": ("interrupted", "another job took its place; it goes on from its checkpoint"),
    "TIMEOUT": ("timed_out", "Slurm ended it at its time limit, before it had saved a checkpoint and left"),
}
"""States that say by themselves how an attempt ended, whatever it has left."""


class SlurmSilentError(Exception):
    """Slurm's controller does not answer."""


@dataclass(frozen=True)
class JobState:
    """One job, or one task of an array, as Slurm sees it."""

    job_id: str
    """`17`, or `17_3` in an array."""

    name: str
    state: str
    reason: str
    """Why it waits, or failed; `None` where there is nothing to say."""

    nodes: str
    seconds: float
    """For which it has run, since it was started last."""

    @property
    def has_ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED


def look(names: Collection[str]) -> dict[str, JobState]:
    """The state of each of the user's jobs of these names, by job id; jobs that ended long ago are missing.

    Raises:
        SlurmSilentError: there is no answer.
    """
    words = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%j|%T|%r|%N|%M"]
    if len(names) <= _MAX_NAMES:
        words.append(f"--name={','.join(sorted(names))}")
    rows = (line.split("|") for line in _ask(words).splitlines())
    found = {
        job_id: JobState(job_id, name, state, reason, nodes, elapsed_s(elapsed))
        for job_id, name, state, reason, nodes, elapsed in (row for row in rows if len(row) == 6)
    }
    return {job_id: job for job_id, job in found.items() if job.name in names}


def look_back(job_ids: Collection[str]) -> dict[str, JobState]:
    """The same from Slurm's accounting, for jobs that `look` does not find; nothing where there is none."""
    if not job_ids:
        return {}
    words = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={','.join(sorted(job_ids))}"]
    try:
        text = _ask([*words, "--format=JobID,JobName,State,NodeList,Elapsed"])
    except SlurmSilentError:
        return {}
    found = {}
    for job_id, name, state, nodes, elapsed in (
        line.split("|") for line in text.splitlines() if line.count("|") == 4
    ):
        words_of_state = state.split()  # as in "CANCELLED by 1000"
        found[job_id] = JobState(job_id, name, words_of_state[0], "None", nodes, elapsed_s(elapsed))
    return {job_id: found[job_id] for job_id in job_ids if job_id in found}


def cancel(job_ids: Collection[str], *options: str) -> None:
    """`scancel` these jobs. Those that have ended are left alone; a Slurm that is silent is asked again."""
    if job_ids:
        with suppress(SlurmSilentError):
            _ask(["scancel", "--quiet", *options, *sorted(job_ids)])


def elapsed_s(text: str) -> float:
    """Seconds from Slurm's `[days-][hours:]minutes:seconds`; 0 where it says something else."""
    days, dash, rest = text.strip().rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        seconds = sum(value * 60**place for place, value in enumerate(reversed(parts)))
        return float(seconds + 86_400 * (int(days) if dash else 0))
    except ValueError:
        return 0.0


def _ask(words: list[str]) -> str:
    try:
        answer = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_WITHIN_S,
            start_new_session=True,  # Ctrl-C is for the launcher
        )
    except OSError as error:
        raise SlurmSilentError(str(error)) from None
    except subprocess.TimeoutExpired:
        raise SlurmSilentError(f"no answer to {words[0]} within {ANSWER_WITHIN_S:.0f} s") from None
    if answer.returncode != 0:
        text = " ".join(answer.stderr.split())
        raise SlurmSilentError(text or f"{words[0]} ended with {answer.returncode}")
    return answer.stdout
