"""A whole matrix of cells, unattended: `python -m launch run cifar10-quick`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.console import EXIT_INTERRUPTED, run_command
from harness.errors import UsageError
from harness.settings import ROBUSTNESS, TIMEOUT_S, TRACKERS, Settings, check_trackers
from launch.axes import Axes, takes_axes
from launch.command import ROOT
from launch.options import split_list

HELP = """Run a matrix of cells, each in a process group of its own, and lose nothing.

\b
Examples:
  python -m launch plan cifar10-quick
  python -m launch run cifar10-quick --jobs 2 --timeout 2h
  python -m launch run my_matrix.yaml --seed 0,1,2 --only-failed
  python -m launch run cifar10-standard --budget 8h
  python -m launch run cifar10-full --executor slurm --partition gpu --gpus-per-cell 1
  python -m launch status runs/
"""
EXIT_SOME_FAILED = 1

app = typer.Typer(help=HELP, add_completion=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def _option(name: str, panel: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text, rich_help_panel=panel, show_default=False)


WHERE, HOW, TROUBLE, CLUSTER = "Data and runs", "How it is run", "Trouble", "Clusters"

MatrixArgument = Annotated[
    str, typer.Argument(metavar="MATRIX", help="A YAML file, or a preset: see `presets`.")
]
Out = Annotated[Path, _option("out", WHERE, "folder of the runs and their table (runs)")]
DataDir = Annotated[
    Path | None, _option("data-dir", WHERE, "where CIFAR-10 is, or is put (data/ in the project)")
]
Unofficial = Annotated[
    bool, _option("allow-unofficial-data", WHERE, "take CIFAR-10 files that are not the published ones")
]
Cpu = Annotated[bool, _option("cpu", HOW, "leave the GPUs alone")]
Jobs = Annotated[int | None, _option("jobs", HOW, "cells at once (one for each GPU; one on the CPU)")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@takes_axes
def plan(
    axes: Axes,
    matrix: MatrixArgument,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    allow_unofficial_data: Unofficial = False,
    cpu: Cpu = False,
    jobs: Jobs = None,
    as_json: Json = False,
    show_all: Annotated[bool, typer.Option("--all", help="One line for each cell.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate/--no-estimate", help="Say how long it would take.")
    ] = True,
) -> None:
    """Say what would be run, what is finished, what failed, and how long the rest would take."""
    from launch.commands import show_plan

    settings = Settings(out, data_dir or ROOT / "data", allow_unofficial_data, cpu)
    show_plan(matrix, axes, settings, jobs, as_json, show_all, estimate)


@app.command()
@takes_axes
def run(
    axes: Axes,
    matrix: MatrixArgument,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    allow_unofficial_data: Unofficial = False,
    cpu: Cpu = False,
    jobs: Jobs = None,
    gpus: Annotated[
        str | None, _option("gpus", HOW, "GPUs to use, by number (those that nobody uses)")
    ] = None,
    threads: Annotated[
        int | None, _option("threads", HOW, "CPU threads of each process (its share of its cores)")
    ] = None,
    memory: Annotated[
        str | None, _option("memory", HOW, "memory that a cell may allocate, such as 8GB (no limit)")
    ] = None,
    budget: Annotated[
        str | None,
        _option("budget", HOW, "2h or '3 PFLOP': halve the cells again and again, and stop when it is spent"),
    ] = None,
    shuffle: Annotated[bool, _option("shuffle", HOW, "in a random order, the same every time")] = False,
    then: Annotated[str | None, _option("then", HOW, "a shell command when all is over")] = None,
    robustness: Annotated[
        str,
        _option("robustness", HOW, f"test on corrupted images too: {', '.join(ROBUSTNESS)} (none)"),
    ] = "none",
    no_weights: Annotated[bool, _option("no-weights", HOW, "do not keep the trained weights")] = False,
    track: Annotated[str | None, _option("track", HOW, f"any of {', '.join(TRACKERS)} (none)")] = None,
    checkpoint_minutes: Annotated[
        float, _option("checkpoint-minutes", TROUBLE, "time between checkpoints; 0: only when stopped (10)")
    ] = 10,
    timeout: Annotated[
        str | None, _option("timeout", TROUBLE, "end a cell that takes longer, such as 90m (no limit)")
    ] = None,
    hang_timeout: Annotated[
        str, _option("hang-timeout", TROUBLE, "kill a cell that gives no sign of life for so long (15m)")
    ] = "15m",
    process_timeout: Annotated[
        float, _option("process-timeout", TROUBLE, "as --timeout of harness/run.py, in seconds (600)")
    ] = TIMEOUT_S,
    on_oom: Annotated[
        str, _option("on-oom", TROUBLE, "where memory runs out: shrink micro-batches, or fail (shrink)")
    ] = "shrink",
    retries: Annotated[
        int, _option("retries", TROUBLE, "further attempts of what was killed, hung or lost a process (1)")
    ] = 1,
    fail_fast: Annotated[bool, _option("fail-fast", TROUBLE, "stop all at the first failure")] = False,
    only_failed: Annotated[bool, _option("only-failed", TROUBLE, "run what has failed before only")] = False,
    executor: Annotated[str, _option("executor", CLUSTER, "local, slurm or ray (local)")] = "local",
    partition: Annotated[str | None, _option("partition", CLUSTER, "of Slurm")] = None,
    gpus_per_cell: Annotated[
        int | None, _option("gpus-per-cell", CLUSTER, "of each cell (one for each process)")
    ] = None,
    cpus_per_cell: Annotated[int | None, _option("cpus-per-cell", CLUSTER, "of each cell")] = None,
    array_parallelism: Annotated[
        int, _option("array-parallelism", CLUSTER, "Slurm tasks at once (256)")
    ] = 256,
    time_limit: Annotated[
        str, _option("time-limit", CLUSTER, "of a Slurm job; a cell that takes longer is requeued (4h)")
    ] = "4h",
    account: Annotated[str | None, _option("account", CLUSTER, "of Slurm")] = None,
    qos: Annotated[str | None, _option("qos", CLUSTER, "of Slurm")] = None,
    setup: Annotated[
        list[str] | None,
        _option("setup", CLUSTER, "shell before each Slurm job, such as 'module load cuda'; repeatable"),
    ] = None,
    nodes_per_cell: Annotated[int, _option("nodes-per-cell", CLUSTER, "machines for each cell (1)")] = 1,
    address: Annotated[str | None, _option("address", CLUSTER, "of the Ray cluster (one of its own)")] = None,
) -> None:
    """Run what is missing; the same command again goes on where it stopped."""
    from launch.cluster.ray_cluster import RayOptions
    from launch.cluster.slurm_options import SlurmOptions
    from launch.commands import Asked, run_matrix
    from launch.units import duration_s, memory_mib

    settings = Settings(
        out=out,
        data_dir=data_dir or ROOT / "data",
        allow_unofficial_data=allow_unofficial_data,
        cpu=cpu,
        threads=threads,
        checkpoint_minutes=checkpoint_minutes,
        on_oom=on_oom,
        timeout_s=process_timeout,
        save_weights=not no_weights,
        robustness=robustness,
        track=split_list(track) or (),
    )
    check_trackers(settings.track)
    limit_mib = None if memory is None else memory_mib("--memory", memory)
    if retries < 0:
        raise UsageError(f"--retries {retries}: expected 0 or more")
    asked = Asked(
        settings=settings,
        jobs=jobs,
        gpus=gpus,
        memory_mib=limit_mib,
        timeout_s=None if timeout is None else duration_s("--timeout", timeout),
        hang_s=duration_s("--hang-timeout", hang_timeout),
        budget=budget,
        retries=retries,
        fail_fast=fail_fast,
        only_failed=only_failed,
        shuffle=shuffle,
        then=then,
        executor=executor,
        slurm=SlurmOptions(
            partition=partition,
            account=account,
            qos=qos,
            gpus_per_cell=gpus_per_cell,
            cpus_per_cell=cpus_per_cell,
            memory_gb=None if limit_mib is None else limit_mib / 1024,
            time_minutes=math.ceil(duration_s("--time-limit", time_limit) / 60),
            array_parallelism=array_parallelism,
            nodes_per_cell=nodes_per_cell,
            setup=tuple(setup or ()),
        ),
        ray=RayOptions(address, gpus_per_cell, cpus_per_cell),
    )
    summary = run_matrix(matrix, axes, asked)
    if summary.was_interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_SOME_FAILED if summary.failed else 0)


@app.command()
def status(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of the runs.")] = Path("runs"),
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Say what is running, finished and failed in a folder, from any shell."""
    from launch.commands import show_status

    show_status(runs, as_json, watch)


@app.command()
def reproduce(
    published: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, such as results/published/M/runs/ID.")
    ],
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cpu: Cpu = False,
    threads: Annotated[
        int | None, _option("threads", HOW, "CPU threads of each process (its share of its cores)")
    ] = None,
) -> None:
    """Train one published run again, and say whether the accuracies agree; exit code 1: they do not.

    Example: python -m launch reproduce results/published/epyc-2-cores/runs/3f1c09a2b7de --data-dir data
    """
    from rich.console import Console

    from launch.reproduce import reproduce as reproduce_run

    settings = Settings(out=out, data_dir=data_dir or ROOT / "data", cpu=cpu, threads=threads)
    raise typer.Exit(reproduce_run(published, settings, Console()))


@app.command()
def presets() -> None:
    """List the matrices that are shipped, with what they are for."""
    from launch.commands import show_presets

    show_presets()


@app.command()
def schema() -> None:
    """Print the JSON schema of a matrix file, for editors."""
    from launch.commands import show_schema

    show_schema()


def main() -> int:
    """The command `verdict-launch`."""
    return run_command(app, prog_name=None if sys.argv[0].endswith("verdict-launch") else "python -m launch")


if __name__ == "__main__":
    sys.exit(main())
