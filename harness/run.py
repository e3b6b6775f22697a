"""Train, measure and rank a matrix of cells, one after the other, in one process group.

    accelerate launch harness/run.py                                    # the demo: digits, minutes
    accelerate launch harness/run.py --dataset cifar10 --model fast_cnn,resnet20 --seed 0,1,2
    torchrun --nproc-per-node 2 harness/run.py --dataset cifar10        # data-parallel

This script is where everything is wired together; it parses, calls and prints.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # `python harness/run.py` puts harness/ first on the path, not the project
    sys.path[0] = str(ROOT)
    if "VERDICT_PARENT_PID" in os.environ:
        from harness.tether import die_with_parent

        die_with_parent()

import typer  # noqa: E402  # after the path is set

from harness.cell import CellSpec  # noqa: E402
from harness.console import run_command  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.launched import check_launch  # noqa: E402
from harness.settings import ROBUSTNESS, TIMEOUT_S, TRACKERS, Settings, check_trackers  # noqa: E402
from launch.axes import DATA, MATRIX, Axes, takes_axes  # noqa: E402
from launch.listing import print_listing  # noqa: E402
from launch.options import matrix_cells, read_cell, split_list  # noqa: E402

EXIT_SOME_FAILED = 1

HELP = """
Train, measure and rank a matrix of image classifiers.

Lists (A,B) make a matrix: every combination is one cell. Cells that are
finished in --out are not run again. With none of --dataset, --model and
--augment the demo runs: digits, minutes.

Examples:

  accelerate launch harness/run.py

  accelerate launch harness/run.py --dataset cifar10 --model fast_cnn,resnet20 --seed 0,1,2

  accelerate launch harness/run.py --dataset imagefolder:photos --model resnet18 --epochs 30

  accelerate launch --multi_gpu --num_processes 8 --num_machines 1 harness/run.py --dataset cifar10

  ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 harness/run.py
"""
RUN = "The run"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _option(name: str, panel: str, text: str) -> object:
    return typer.Option(f"--{name}", help=text, rich_help_panel=panel, show_default=False)


@app.command(help=HELP)
@takes_axes
def command(
    axes: Axes,
    preset: Annotated[str | None, _option("preset", MATRIX, "a matrix to start from, such as demo")] = None,
    cell: Annotated[Path | None, _option("cell", MATRIX, "one cell from a JSON file, instead")] = None,
    data_dir: Annotated[
        Path | None, _option("data-dir", DATA, "where CIFAR-10 is, or is put (data/ in the project)")
    ] = None,
    allow_unofficial_data: Annotated[
        bool, _option("allow-unofficial-data", DATA, "take CIFAR-10 files that are not the published ones")
    ] = False,
    processes: Annotated[
        int | None, _option("processes", RUN, "how many must train together (as many as are launched)")
    ] = None,
    cpu: Annotated[bool, _option("cpu", RUN, "leave the GPUs alone")] = False,
    threads: Annotated[
        int | None, _option("threads", RUN, "CPU threads of each process (its share of the cores)")
    ] = None,
    checkpoint_minutes: Annotated[
        float, _option("checkpoint-minutes", RUN, "time between checkpoints; 0: only when stopped (10)")
    ] = 10,
    checkpoint_epochs: Annotated[
        int | None, _option("checkpoint-epochs", RUN, "a checkpoint also after every so many epochs")
    ] = None,
    until_epoch: Annotated[
        int | None,
        _option("until-epoch", RUN, "save a checkpoint and stop after so many epochs, to go on another time"),
    ] = None,
    on_oom: Annotated[
        str,
        _option("on-oom", RUN, "where memory runs out: shrink (micro-batches, not the batch), fail (shrink)"),
    ] = "shrink",
    timeout: Annotated[
        float, _option("timeout", RUN, "seconds until a process that does not answer is given up (600)")
    ] = TIMEOUT_S,
    track: Annotated[
        str | None, _option("track", RUN, f"trackers to tell about each epoch: {', '.join(TRACKERS)} (none)")
    ] = None,
    robustness: Annotated[
        str,
        _option("robustness", RUN, f"test on corrupted images too: {', '.join(ROBUSTNESS)} (none)"),
    ] = "none",
    no_weights: Annotated[
        bool, _option("no-weights", RUN, "do not keep the trained weights: no export, no further tests")
    ] = False,
    no_table: Annotated[
        bool, _option("no-table", RUN, "neither write results.csv nor print the leaderboard: for launchers")
    ] = False,
    list_names: Annotated[
        bool, _option("list", RUN, "print the models, augmentations and recipes there are, and stop")
    ] = False,
    out: Annotated[Path, _option("out", RUN, "folder of the runs and their table (runs)")] = Path("runs"),
) -> None:
    """Turn the options into cells, run them, and end with an exit code."""
    if list_names:
        from rich.console import Console

        print_listing(Console())
        return
    check_launch(cpu)
    num_processes = int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes
    settings = Settings(
        out=out,
        data_dir=data_dir or ROOT / "data",
        allow_unofficial_data=allow_unofficial_data,
        cpu=cpu,
        threads=threads,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_epochs=checkpoint_epochs,
        on_oom=on_oom,
        timeout_s=timeout,
        until_epoch=until_epoch,
        save_weights=not no_weights,
        robustness=robustness,
        track=split_list(track) or (),
    )
    check_trackers(settings.track)
    if cell is not None and (axes or preset or processes is not None):
        raise UsageError("--cell says all about the cell: leave out the other options that describe one")
    cells = [read_cell(cell)] if cell else matrix_cells(preset, axes.axes, axes.fields, num_processes)
    _check_data_options(cells[0], data_dir, allow_unofficial_data)
    if no_table:
        from harness.run_cells import run_cells

        num_failed = run_cells(cells, settings)
    else:
        num_failed = run_and_rank(cells, settings)
    raise typer.Exit(EXIT_SOME_FAILED if num_failed else 0)


def run_and_rank(cells: list[CellSpec], settings: Settings) -> int:
    """Run the cells that are not finished, and rank all that are; how many failed.

    Raises:
        VerdictError: the machine, the data or the disk is not what the cells need.
    """
    from rich.console import Console  # slow imports wait until the options are known to be good

    from harness.run_cells import run_cells
    from results.leaderboard.table import print_leaderboard
    from results.table import write_csv

    def rank(out: Path) -> None:
        write_csv(out)
        print_leaderboard(out, Console())
        print(f"runs: {out.resolve()}   table: {out.resolve() / 'results.csv'}")

    return run_cells(cells, settings, after_each=write_csv, at_end=rank)


def _check_data_options(cell: CellSpec, data_dir: Path | None, allow_unofficial: bool) -> None:
    if cell.dataset != "cifar10" and (data_dir is not None or allow_unofficial):
        raise UsageError(f"--data-dir and --allow-unofficial-data are for cifar10, not for {cell.dataset}")


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="harness/run.py"))
