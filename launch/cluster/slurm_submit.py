"""What submitit does for the launcher: hand tasks to Slurm as a job array, and read what they left.

No torch here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HardwareError, UsageError
from harness.files import storage_error
from harness.live import live_path
from harness.record import write_cell
from launch.cluster.slurm_task import CellTask, Result
from launch.job import Job
from launch.outcome import clear_outcome


def check_slurm() -> None:
    """Refuse to go on where jobs cannot be submitted.

    Raises:
        HardwareError: submitit is not installed, or there is no Slurm here.
    """
    try:
        import submitit  # noqa: F401  # whether it is there
    except ImportError:
        raise HardwareError("--executor slurm needs submitit: pip install 'verdict-bench[slurm]'") from None
    if shutil.which("sbatch") is None:
        raise HardwareError("--executor slurm: there is no sbatch here: run it where jobs are submitted from")


def prepare(job: Job) -> None:
    """Make the attempt's folder as its task expects it.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        clear_outcome(job)
        live_path(job.run_dir).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(job.run_dir, error) from error
    write_cell(job.run_dir, job.cell)


def submit_array(
    tasks: Sequence[CellTask], name: str, folder: Path, request: Mapping[str, Any], max_requeues: int
) -> list[str]:
    """Submit tasks as one job array, or a lone one as a job; their job ids.

    Args:
        tasks: that ask the same of Slurm.
        name: of the job.
        folder: for submitit's files, seen by all nodes.
        request: in submitit's words.
        max_requeues: at the time limit.

    Raises:
        UsageError: Slurm refuses them.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=max_requeues)
        executor.update_parameters(job_name=name, **request)
        with executor.batch():
            handed = [executor.submit(task) for task in tasks]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UsageError(f"Slurm refuses the jobs: {' '.join(str(error).split())}") from None
    return [job.job_id for job in handed]


def read_result(folder: str, job_id: str) -> Result | None:
    """What the task on a job's first node said about its end; None: nothing."""
    import submitit
    from submitit.core.utils import FailedJobError

    job: Any = submitit.SlurmJob(folder=folder, job_id=job_id)
    if not job.paths.result_pickle.exists():
        return None
    try:
        result: Result = job.result()
    except FailedJobError:
        return "crashed", f"the task of Slurm job {job_id} failed: see {job.paths.stdout}", 0.0
    return result


def log_path(folder: str, job_id: str) -> Path:
    """What the task on a job's first node prints, before and after its training."""
    import submitit

    return Path(submitit.SlurmJob(folder=folder, job_id=job_id).paths.stdout)
