"""The command and the environment of an attempt's process: the same on every executor. No torch here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.settings import Settings
from launch.job import Job

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "harness" / "run.py"
SAVE_WITHIN_S = 55
"""Between SIGTERM and SIGKILL of torchrun's workers by their agent: a little less than the launcher gives."""

CONFIG = ROOT / "accelerate_config.yaml"

_OF_OTHER_LAUNCHES = ("ACCELERATE_", "TORCHELASTIC_", "FSDP_", "SLURM_", "PMI_", "OMPI_")
_OF_A_GROUP = {
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_NAME"),
    *("GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"),
}


def cell_path(job: Job) -> Path:
    """Where the attempt reads its cell."""
    return job.run_dir / "cell.json"


def outcome_path(job: Job) -> Path:
    """Where the attempt says how it ended, as far as it can."""
    return job.run_dir / "outcome.json"


def output_path(job: Job) -> Path:
    """What the attempt, and what starts it, print."""
    return job.run_dir / "output.txt"


def child_command(job: Job, settings: Settings, python: str = sys.executable) -> list[str]:
    """The words that start an attempt: `harness/run.py`, for several processes under accelerate launch.

    One process needs nothing of accelerate launch, which would only load torch once more.
    """
    words = [str(SCRIPT), "--cell", str(cell_path(job)), "--out", str(settings.out), "--no-table"]
    words += _options(settings, job)
    if job.until_epoch is not None:
        words += ["--until-epoch", str(job.until_epoch)]
    if job.cell.num_processes == 1:
        return [python, *words]
    launch = ["-m", "accelerate.commands.launch"]
    if CONFIG.is_file():  # or accelerate reads the user's own
        launch += ["--config_file", str(CONFIG)]
    launch += ["--multi_gpu", "--num_processes", str(job.cell.num_processes), "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [python, *launch, *words]


def child_environment(job: Job, settings: Settings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of an attempt: the launcher's, without what other launchers have left in it."""
    base = os.environ if base is None else base
    kept = {name: value for name, value in base.items() if not _is_foreign(name)}
    kept["VERDICT_OUTCOME_FILE"] = str(outcome_path(job).resolve())
    kept["VERDICT_PARENT_PID"] = str(os.getpid())
    kept["PYTHONUNBUFFERED"] = "1"
    kept.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVE_WITHIN_S))
    if settings.cpu:
        kept["ACCELERATE_USE_CPU"] = "true"
    return kept


def reproducing_command(job: Job, settings: Settings) -> str:
    """What a person types to run the cell alone."""
    words = child_command(job, settings, python="python")
    on_cpu = settings.cpu and job.cell.num_processes > 1
    return ("ACCELERATE_USE_CPU=true " if on_cpu else "") + shlex.join(words)


def _options(settings: Settings, job: Job) -> list[str]:
    """The settings that are not the usual ones, as options of `harness/run.py`."""
    usual = Settings()
    words = ["--cpu"] if settings.cpu else []
    if job.cell.dataset == "cifar10":
        words += ["--data-dir", str(settings.data_dir)]
        words += ["--allow-unofficial-data"] if settings.allow_unofficial_data else []
    named = {
        "threads": "--threads",
        "checkpoint_minutes": "--checkpoint-minutes",
        "checkpoint_epochs": "--checkpoint-epochs",
        "on_oom": "--on-oom",
        "timeout_s": "--timeout",
        "robustness": "--robustness",
    }
    for name, option in named.items():
        value = getattr(settings, name)
        if value != getattr(usual, name):
            words += [option, str(value)]
    words += [] if settings.save_weights else ["--no-weights"]
    return words + (["--track", ",".join(settings.track)] if settings.track else [])


def _is_foreign(name: str) -> bool:
    return name in _OF_A_GROUP or name.startswith(_OF_OTHER_LAUNCHES)
