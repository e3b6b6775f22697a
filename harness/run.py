"""Train, measure and rank a matrix of cells, one after the other, in one process group.

    accelerate launch harness/run.py                                    # the demo: digits, minutes
    accelerate launch harness/run.py --dataset cifar10 --model fast_cnn,resnet20 --seed 0,1,2
    torchrun --nproc-per-node 2 harness/run.py --dataset cifar10        # data-parallel

This script is where everything is wired together; it parses, calls and prints.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # `python harness/run.py` puts harness/ first on the path, not the project
    sys.path[0] = str(ROOT)

import typer  # noqa: E402  # after the path is set

from harness.cell import CellSpec  # noqa: E402
from harness.console import run_command  # noqa: E402
from harness.errors import DivergedError, MemoryShortError, UsageError, VerdictError  # noqa: E402
from harness.files import clear_temporaries  # noqa: E402
from harness.launched import check_launch  # noqa: E402
from harness.recipes import DEFAULT_RECIPE, RECIPES  # noqa: E402
from harness.settings import TIMEOUT_S, Settings  # noqa: E402
from launch.listing import print_listing  # noqa: E402
from launch.options import matrix_cells, read_cell, recipe_fields, split_list  # noqa: E402

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.progress import Reporter
    from harness.record import Environment
    from harness.run_cell import Run

EXIT_SOME_FAILED = 1
STALE_AFTER_S = 3600  # another launcher may be writing into the same folder

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
MATRIX, TRAINING, DATA, RUN = "The matrix", "Training", "Data", "The run"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _option(name: str, panel: str, text: str) -> object:
    return typer.Option(f"--{name}", help=text, rich_help_panel=panel, show_default=False)


@app.command(help=HELP)
def command(
    dataset: Annotated[str | None, _option("dataset", MATRIX, "cifar10, digits or imagefolder:PATH")] = None,
    model: Annotated[
        str | None, _option("model", MATRIX, "see --list; or timm:NAME, torchvision:NAME (fast_cnn)")
    ] = None,
    augment: Annotated[
        str | None, _option("augment", MATRIX, "see --list; or OPERATION+OPERATION (the recipe's)")
    ] = None,
    recipe: Annotated[
        str | None, _option("recipe", MATRIX, f"{', '.join(RECIPES)} ({DEFAULT_RECIPE})")
    ] = None,
    precision: Annotated[
        str | None, _option("precision", MATRIX, "fp32, tf32, bf16, fp16 (accelerate's, else bf16)")
    ] = None,
    strategy: Annotated[
        str | None, _option("strategy", MATRIX, "single, ddp, fsdp, zero1, zero2, zero3 (single or ddp)")
    ] = None,
    seed: Annotated[str | None, _option("seed", MATRIX, "seeds (0)")] = None,
    preset: Annotated[str | None, _option("preset", MATRIX, "a matrix to start from: demo")] = None,
    cell: Annotated[Path | None, _option("cell", MATRIX, "one cell from a JSON file, instead")] = None,
    epochs: Annotated[int | None, _option("epochs", TRAINING, "passes over the training images")] = None,
    batch_size: Annotated[
        int | None, _option("batch-size", TRAINING, "over all processes; the learning rate follows")
    ] = None,
    accumulate: Annotated[
        int | None, _option("accumulate", TRAINING, "micro-batches for one optimizer step (1)")
    ] = None,
    set_fields: Annotated[
        list[str] | None,
        _option("set", TRAINING, "KEY=VALUE: any other field of the recipe, such as lr=0.2; repeatable"),
    ] = None,
    pretrained: Annotated[
        str | None,
        _option("pretrained", TRAINING, "weights to start with: hub, package or file:PATH (none)"),
    ] = None,
    small_stem: Annotated[
        bool, _option("small-stem", TRAINING, "adapt timm: and torchvision: models to small images")
    ] = False,
    compile_mode: Annotated[
        str | None, _option("compile", TRAINING, "torch.compile mode: default, reduce-overhead (none)")
    ] = None,
    sync_batchnorm: Annotated[
        bool, _option("sync-batchnorm", TRAINING, "normalise over the batches of all processes")
    ] = False,
    tta: Annotated[
        bool, _option("tta", TRAINING, "also score each image together with its mirror image")
    ] = False,
    data_dir: Annotated[
        Path | None, _option("data-dir", DATA, "where CIFAR-10 is, or is put (data/ in the project)")
    ] = None,
    allow_unofficial_data: Annotated[
        bool, _option("allow-unofficial-data", DATA, "take CIFAR-10 files that are not the published ones")
    ] = False,
    val_fraction: Annotated[
        float | None, _option("val-fraction", DATA, "share of the training images held out (0.1)")
    ] = None,
    image_size: Annotated[int | None, _option("image-size", DATA, "height and width in pixels (32)")] = None,
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
    on_oom: Annotated[
        str,
        _option("on-oom", RUN, "where memory runs out: shrink (micro-batches, not the batch), fail (shrink)"),
    ] = "shrink",
    timeout: Annotated[
        float, _option("timeout", RUN, "seconds until a process that does not answer is given up (600)")
    ] = TIMEOUT_S,
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
    fields = {"epochs": epochs, "batch_size": batch_size}
    axes = {
        "dataset": dataset,
        "models": split_list(model),
        "augmentations": split_list(augment),
        "recipes": split_list(recipe),
        "precisions": split_list(precision),
        "strategies": split_list(strategy),
        "seeds": split_list(seed),
        "accumulation_steps": accumulate,
        "val_fraction": val_fraction,
        "image_size": image_size,
        "mirror_tta": tta or None,
        "small_stem": small_stem or None,
        "pretrained": pretrained,
        "compile": compile_mode,
        "sync_batchnorm": sync_batchnorm or None,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    axes = {name: value for name, value in axes.items() if value is not None}
    num_processes = int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes
    fields |= recipe_fields(set_fields or [])
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
    )
    if cell is not None and (axes or fields or preset or processes is not None):
        raise UsageError("--cell says all about the cell: leave out the other options that describe one")
    cells = [read_cell(cell)] if cell else matrix_cells(preset, axes, fields, num_processes)
    _check_data_options(cells[0], data_dir, allow_unofficial_data)
    num_failed = run_cells(cells, settings)
    raise typer.Exit(EXIT_SOME_FAILED if num_failed else 0)


def run_cells(cells: list[CellSpec], settings: Settings) -> int:
    """Run the cells that are not finished, and rank all that are; how many failed.

    All cells share one data set and image size, those of the first.

    Raises:
        VerdictError: the machine, the data or the disk is not what the cells need.
    """
    from rich.console import Console  # slow imports wait until the options are known to be good

    from harness.datasets.everywhere import load_everywhere
    from harness.environment import describe_environment
    from harness.host_memory import keep_freed_memory
    from harness.in_effect import check_devices
    from harness.pin import pin_data, pin_weights
    from harness.process import leave_process_group, start_process, use_threads
    from harness.progress import Reporter
    from harness.run_cell import Run, check_cell
    from harness.run_dir import pending_cells
    from harness.seeding import use_deterministic_kernels
    from results.leaderboard import print_leaderboard
    from results.table import write_csv

    use_deterministic_kernels()
    use_threads(settings.threads)
    process = start_process(settings.cpu, settings.timeout_s)
    check_devices(process)
    if process.device.type == "cpu":
        keep_freed_memory()
    reporter = Reporter(Console() if process.is_main else None)
    data = load_everywhere(cells[0], settings, process)
    cells = [pin_weights(pin_data(cell, data)) for cell in cells]
    out = settings.out
    pending = process.agree(pending_cells(out, cells))
    for cell in pending:
        check_cell(cell, data, process)
    if process.is_main:
        clear_temporaries(out, STALE_AFTER_S)
    environment = describe_environment(process)
    reporter.line(_headline(cells, pending, data, environment))
    command = shlex.join(sys.argv)
    runs = [Run(cell, data, process, environment, out / cell.cell_id, command, settings) for cell in pending]
    num_failed = _run_all(runs, reporter, out)
    if process.is_main:
        write_csv(out)
        print_leaderboard(out, Console())
        reporter.line(f"runs: {out.resolve()}   table: {out.resolve() / 'results.csv'}")
    leave_process_group()
    return num_failed


def _run_all(runs: list[Run], reporter: Reporter, out: Path) -> int:
    """Run the cells one after the other, those that another process has not taken; how many failed."""
    from harness.run_dir import claim, is_finished
    from results.table import write_csv

    num_failed = 0
    for number, run in enumerate(runs, start=1):
        title = f"cell {number}/{len(runs)}"
        with claim(run.run_dir) if run.process.is_main else nullcontext(True) as ours:
            if run.process.agree(ours and not is_finished(run.run_dir)):
                num_failed += not _run_one(run, reporter, title)
                if run.process.is_main:
                    write_csv(out)
            else:
                reporter.line(f"{title}: {run.cell.label()}: left to another process on this folder")
    return num_failed


def _run_one(run: Run, reporter: Reporter, title: str) -> bool:
    """Run one cell; False when it failed and others can go on.

    Raises:
        VerdictError: what stopped this cell stops the others too.
    """
    from harness.run_cell import run_cell

    try:
        run_cell(run, reporter, title)
    except DivergedError:
        return False
    except MemoryShortError:
        if run.process.world_size > 1:
            raise  # one process may have met it alone
        return False
    except VerdictError:
        raise
    except Exception:  # recorded with its traceback
        if run.process.world_size > 1:
            raise  # the other processes still wait for this one
        return False
    return True


def _check_data_options(cell: CellSpec, data_dir: Path | None, allow_unofficial: bool) -> None:
    if cell.dataset != "cifar10" and (data_dir is not None or allow_unofficial):
        raise UsageError(f"--data-dir and --allow-unofficial-data are for cifar10, not for {cell.dataset}")


def _headline(cells: list[CellSpec], pending: list[CellSpec], data: Dataset, environment: Environment) -> str:
    facts = data.provenance
    official = "" if facts.official else " (not the published set)"
    return (
        f"{len(cells)} cell(s), {len(cells) - len(pending)} finished already; {facts.dataset}: "
        f"{facts.num_train_images:,} training and {facts.num_test_images:,} test images{official}; "
        f"{environment.num_processes} process(es) of {environment.threads_per_process} thread(s) "
        f"on {environment.device}"
    )


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="harness/run.py"))
