"""A matrix on Slurm, through submitit: cells that wait are one job array. No torch here.

    executor = SlurmExecutor(SlurmOptions(partition="gpu", time_minutes=240), settings, Limits())

Jobs outlive the launcher. The next one finds them by `slurm.json` in the folders of their runs, which is
there before Slurm knows of them, and goes on waiting for them instead of running their cells twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.errors import HardwareError
from harness.settings import Settings
from launch.cluster.node import processes_per_node
from launch.cluster.slurm_options import SlurmOptions
from launch.cluster.slurm_queue import KINDS, JobState, SlurmSilentError, cancel, look, look_back
from launch.cluster.slurm_submit import check_slurm, log_path, prepare, read_result, submit_array
from launch.cluster.slurm_task import STOP_SIGNAL, CellTask
from launch.cluster.slurm_ticket import Ticket, index_of, read_ticket, write_ticket
from launch.command import child_command
from launch.job import Ended, Job
from launch.local import Limits
from launch.outcome import judge

FOLDER_NAME = ".slurm"
"""Where submitit keeps its files, in the folder of the runs."""

LARGEST_ARRAY = 1000  # MaxArraySize is 1001 where nobody changed it
SAY_STOP_EVERY_S = 10.0
RESULT_WITHIN_S = 30.0  # a shared file system may show a file late
SURE_AFTER_S = 2.0
SILENT_FOR_S = 600.0
_KILLED = -9


@dataclass
class _Submitted:
    ticket: Ticket
    job_id: str
    state: JobState | None = None
    gone_at: float | None = None
    """Since when the job has been over and what it left has not been found."""

    stop: str | None = None
    """soft, hard"""

    said_stop_at: float = float("-inf")


class SlurmExecutor:
    """Runs attempts as Slurm jobs. See `launch.job.Executor`.

    Args:
        options: what a cell asks of Slurm.
        settings: of each attempt.
        limits: of each attempt.
        poll_every_s: Slurm is asked no more often.
        command_of: the words that start an attempt on one node.

    Raises:
        HardwareError: submitit is not installed, or there is no Slurm here.
    """

    def __init__(
        self,
        options: SlurmOptions,
        settings: Settings,
        limits: Limits,
        poll_every_s: float = 5.0,
        command_of: Callable[[Job, Settings], list[str]] = child_command,
    ) -> None:
        check_slurm()
        use_cpu = settings.cpu or options.gpus_per_cell == 0
        out, data_dir = settings.out.resolve(), settings.data_dir.resolve()
        self._settings = replace(settings, out=out, data_dir=data_dir, cpu=use_cpu)
        self._options = options
        self._limits = limits
        self._poll_every_s = poll_every_s
        self._command_of = command_of
        self._launcher = uuid.uuid4().hex
        self._waiting: list[Job] = []
        self._submitted: dict[Job, _Submitted] = {}
        self._over: list[Ended] = []
        self._looked_at = float("-inf")
        self._answered_at = time.monotonic()

    def has_room(self, job: Job) -> bool:
        """Whether Slurm's queue takes more; how many of them run is Slurm's affair."""
        del job
        return len(self._waiting) + len(self._submitted) < self._options.max_waiting

    def start(self, job: Job) -> None:
        """Note the attempt; the next `poll` submits all that were noted, as one job array.

        Raises:
            UsageError: its processes cannot be divided among the nodes.
        """
        processes_per_node(job, self._options.nodes_per_cell)
        self._waiting.append(job)

    def running(self) -> list[Job]:
        """The attempts that have been handed over and not ended; they may still wait in Slurm's queue."""
        return [*self._waiting, *self._submitted, *(ended.job for ended in self._over)]

    def place(self, job: Job) -> str:
        """The job and its nodes, or what it waits for."""
        submitted = self._submitted.get(job)
        if submitted is None:
            return "Slurm"
        state = submitted.state
        if state is None:
            return f"Slurm job {submitted.job_id}"
        where = f"on {state.nodes}" if state.nodes else f"waiting ({state.reason})"
        return f"Slurm job {submitted.job_id} {where}"

    def poll(self) -> list[Ended]:
        """Submit what waits, and ask Slurm, every few seconds, what has ended.

        Raises:
            UsageError: Slurm refuses the jobs.
            HardwareError: Slurm has not answered for ten minutes; its jobs live on.
        """
        over, self._over = self._over, []
        if self._waiting:
            self._submit()
        now = time.monotonic()
        if not self._submitted or now - self._looked_at < self._poll_every_s:
            return over
        self._looked_at = now
        try:
            states = self._look()
            self._answered_at = now
        except SlurmSilentError as error:
            self._heed_silence(error)
            return over
        for job, submitted in list(self._submitted.items()):
            submitted.state = states.get(submitted.job_id)
            ended = self._end_of(job, submitted)
            if ended is not None:
                del self._submitted[job]
                over.append(ended)
        self._say_stop()
        return over

    def stop(self, hard: bool, job: Job | None = None) -> None:
        """Let one attempt, or all, save a checkpoint and end; `hard`: cancel its job.

        A job that another launcher has taken over is left to it.
        """
        for each in [job] if job is not None else self.running():
            if each in self._waiting:
                self._waiting.remove(each)
                self._over.append(Ended(each, "interrupted", "was not submitted yet", 0.0))
            elif each in self._submitted:
                submitted = self._submitted[each]
                ticket = read_ticket(each.run_dir)
                if ticket is not None and ticket.launcher != self._launcher:
                    del self._submitted[each]
                    self._over.append(Ended(each, "taken", "another launcher waits for its job", 0.0))
                elif submitted.stop != "hard":
                    submitted.stop = "hard" if hard else "soft"
                    submitted.said_stop_at = float("-inf")
        self._say_stop()

    def close(self) -> None:
        """Let go of everything; jobs that are with Slurm live on, and the next launcher finds them."""
        self._waiting.clear()
        self._submitted.clear()

    def _submit(self) -> None:
        waiting, self._waiting = self._waiting, []
        fresh: dict[int, list[Job]] = {}
        alive = self._alive({job: read_ticket(job.run_dir) for job in waiting})
        for job in waiting:
            if job in alive:
                self._adopt(job, *alive[job])
            else:
                fresh.setdefault(job.cell.num_processes, []).append(job)
        for num_processes, jobs in fresh.items():
            for start in range(0, len(jobs), LARGEST_ARRAY):
                self._submit_array(jobs[start : start + LARGEST_ARRAY], num_processes)

    def _alive(self, tickets: dict[Job, Ticket | None]) -> dict[Job, tuple[Ticket, JobState]]:
        """Those whose job of an earlier launcher waits or runs."""
        known = {job: ticket for job, ticket in tickets.items() if ticket is not None}
        if not known:
            return {}
        try:
            states = look({ticket.name for ticket in known.values()})
        except SlurmSilentError as error:
            raise HardwareError(
                f"Slurm does not answer ({error}), and cells may be running there: try again later"
            ) from None
        alive = [state for state in states.values() if not state.has_ended]
        by_place = {(state.name, index_of(state.job_id)): state for state in alive}
        found = {job: (ticket, by_place.get((ticket.name, ticket.index))) for job, ticket in known.items()}
        return {job: (ticket, state) for job, (ticket, state) in found.items() if state is not None}

    def _adopt(self, job: Job, ticket: Ticket, state: JobState) -> None:
        """Wait for the job; one that stops at another epoch than is wanted is asked to end first."""
        ticket = replace(ticket, job_id=state.job_id, launcher=self._launcher)
        write_ticket(job.run_dir, ticket)
        stop = None if ticket.until_epoch == job.until_epoch else "soft"
        self._submitted[job] = _Submitted(ticket, state.job_id, state, stop=stop)

    def _submit_array(self, jobs: list[Job], num_processes: int) -> None:
        name = f"verdict-{uuid.uuid4().hex[:12]}"
        folder = self._settings.out / FOLDER_NAME / name
        tickets = [
            Ticket(name, index, None, str(folder), self._launcher, job.until_epoch)
            for index, job in enumerate(jobs)
        ]
        for job, ticket in zip(jobs, tickets, strict=True):
            prepare(job)
            write_ticket(job.run_dir, ticket)
        request = self._options.request(num_processes, self._settings.cpu)
        tasks = [self._task(job) for job in jobs]
        job_ids = submit_array(tasks, name, folder, request, self._options.max_requeues)
        self._answered_at = time.monotonic()
        for job, ticket, job_id in zip(jobs, tickets, job_ids, strict=True):
            ticket = replace(ticket, job_id=job_id)
            write_ticket(job.run_dir, ticket)
            self._submitted[job] = _Submitted(ticket, job_id)

    def _task(self, job: Job) -> CellTask:
        there = replace(job, run_dir=job.run_dir.resolve())
        return CellTask(there, self._settings, self._limits, self._command_of)

    def _look(self) -> dict[str, JobState]:
        states = look({submitted.ticket.name for submitted in self._submitted.values()})
        missing = {each.job_id for each in self._submitted.values()} - states.keys()
        return states | look_back(missing)

    def _heed_silence(self, error: SlurmSilentError) -> None:
        if time.monotonic() - self._answered_at < SILENT_FOR_S:
            return
        raise HardwareError(
            f"Slurm has not answered for {SILENT_FOR_S / 60:.0f} minutes ({error}). "
            "Its jobs live on; the same command finds them again"
        )

    def _end_of(self, job: Job, submitted: _Submitted) -> Ended | None:
        """How the attempt ended, by what its task says, or else by Slurm's state; None: it has not."""
        state = submitted.state
        if state is not None and not state.has_ended:
            submitted.gone_at = None
            return None
        result = read_result(submitted.ticket.folder, submitted.job_id)
        if result is not None:
            return Ended(job, *result)
        now = time.monotonic()
        submitted.gone_at = submitted.gone_at or now
        # a job on its way back into the queue can look as if it were over, for an instant
        patience = RESULT_WITHIN_S if state is None or state.state == "COMPLETED" else SURE_AFTER_S
        if now - submitted.gone_at < patience:
            return None
        return _judge(job, submitted)

    def _say_stop(self) -> None:
        """Tell the jobs that are to end so, again and again: a signal can come before a task listens."""
        now = time.monotonic()
        due = [
            each
            for each in self._submitted.values()
            if each.stop is not None and now - each.said_stop_at >= SAY_STOP_EVERY_S
        ]
        for each in due:
            each.said_stop_at = now
        soft = {each.job_id for each in due if each.stop == "soft"}
        cancel(soft, "--state=PENDING")
        cancel(soft, "--state=RUNNING", f"--signal={STOP_SIGNAL.name.removeprefix('SIG')}")
        cancel({each.job_id for each in due if each.stop == "hard"})


def _judge(job: Job, submitted: _Submitted) -> Ended:
    """How an attempt ended whose task left no word."""
    state = submitted.state
    name, seconds = ("UNKNOWN", 0.0) if state is None else (state.state, state.seconds)
    if submitted.stop is not None:
        return judge(job, _KILLED, seconds, ("interrupted", "stopped on the user's word"))
    if name in KINDS:
        return judge(job, _KILLED, seconds, KINDS[name])
    found = judge(job, _KILLED, seconds)
    if found.kind != "killed":
        return found
    if name == "CANCELLED":
        return replace(found, message=f"Slurm job {submitted.job_id} was cancelled, not by this launcher")
    log = log_path(submitted.ticket.folder, submitted.job_id)
    if not log.exists():
        text = f"Slurm job {submitted.job_id} ended as {name} before it began: do all nodes see {log.parent}?"
        return replace(found, kind="hardware", message=text)
    return replace(found, message=f"Slurm job {submitted.job_id} ended as {name}, without a word: see {log}")
