"""Train, measure and rank a matrix of cells, one after the other, in one process group.

    accelerate launch harness/run.py                                    # the demo: digits, minutes
    accelerate launch harness/run.py --dataset cifar10 --model fast_cnn,resnet20 --seed 0,1,2
    torchrun --nproc-per-node 2 harness/run.py --dataset cifar10        # data-parallel

Cells that are finished in the output folder are not run again. This script is where everything is
wired together; it parses, calls and prints.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # `python harness/run.py` puts harness/ first on the path, not the project
    sys.path[0] = str(ROOT)

import typer  # noqa: E402  # after the path is set
import yaml  # noqa: E402

from harness.cell import CellSpec, make_cell  # noqa: E402
from harness.errors import DivergedError, UsageError, VerdictError  # noqa: E402
from harness.record import read_record  # noqa: E402
from launch.matrix import expand, load_preset, make_matrix  # noqa: E402

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.process import Process

EXIT_SOME_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

HELP = """
Train, measure and rank a matrix of image classifiers.

Lists (A,B) make a matrix: every combination is one cell. Cells that are finished in --out are not
run again. With none of --dataset, --model, --augment the demo preset runs: scikit-learn's digits,
minutes on two cores.

Examples:

  accelerate launch harness/run.py

  accelerate launch harness/run.py --dataset cifar10 --model fast_cnn,resnet20 --seed 0,1,2

  accelerate launch harness/run.py --dataset imagefolder:photos --model resnet18 --epochs 30

  accelerate launch --multi_gpu --num_processes 8 --num_machines 1 harness/run.py --dataset cifar10

  ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 harness/run.py --processes 2
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=HELP)
def command(
    dataset: Annotated[str | None, typer.Option(help="cifar10, digits or imagefolder:PATH")] = None,
    model: Annotated[str | None, typer.Option(help="models, such as fast_cnn,resnet20")] = None,
    augment: Annotated[str | None, typer.Option(help="augmentations: none,flip_crop,cutout")] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32,bf16,fp16 [default: what accelerate was told, else bf16]")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="seeds, such as 0,1,2")] = None,
    epochs: Annotated[int | None, typer.Option(help="instead of the recipe's")] = None,
    batch_size: Annotated[int | None, typer.Option(help="global; SGD's learning rate follows")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="another field of the recipe, such as lr=0.2"),
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="share of training images held out [default: 0.1]")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="in pixels [default: 32]")] = None,
    accumulate: Annotated[int | None, typer.Option(help="micro-batches for one step [default: 1]")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="also score images and their mirror images")] = False,
    processes: Annotated[
        int | None, typer.Option(help="refuse to run on fewer or more [default: as launched]")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="do not use a GPU")] = False,
    preset: Annotated[str | None, typer.Option(help="axes to start from, such as demo")] = None,
    cell: Annotated[Path | None, typer.Option(help="run the one cell in this JSON file")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="where CIFAR-10 is, or is put [default: data/ beside harness/]")
    ] = None,
    allow_unofficial_data: Annotated[
        bool,
        typer.Option("--allow-unofficial-data", help="take CIFAR-10 files that are not the published ones"),
    ] = False,
    out: Annotated[Path, typer.Option(help="where the runs are kept")] = Path("runs"),
) -> None:
    """Turn the options into cells, and run them."""
    sys.stderr = sys.__stderr__  # see main()
    num_processes = processes or int(os.environ.get("WORLD_SIZE", "1"))
    axes = {
        "dataset": dataset,
        "models": _split(model),
        "augmentations": _split(augment),
        "precisions": _split(precision),
        "seeds": _split(seed),
        "image_size": image_size,
        "val_fraction": val_fraction,
        "accumulation_steps": accumulate,
        "mirror_tta": tta or None,
    }
    axes = {name: value for name, value in axes.items() if value is not None}
    try:
        recipe = _recipe_fields(epochs, batch_size, set_ or [])
        cells = (
            _cells(preset, axes, recipe, num_processes) if cell is None else [_read_cell(cell, axes, recipe)]
        )
        _check_data_options(cells[0], data_dir, allow_unofficial_data)
        code = run_cells(cells, data_dir or ROOT / "data", allow_unofficial_data, out, cpu)
    except VerdictError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: finished cells are kept; the same command goes on with the rest", file=sys.stderr)
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def run_cells(cells: list[CellSpec], data_dir: Path, allow_unofficial: bool, out: Path, cpu: bool) -> int:
    """Run the cells that are not finished, and rank all that are; the exit code.

    Raises:
        VerdictError: the machine, the data or the disk is not what the cells need.
    """
    from rich.console import Console  # slow imports wait until the options are known to be good

    from harness.datasets.registry import load_dataset
    from harness.environment import describe_environment
    from harness.process import leave_process_group, start_process
    from harness.progress import Reporter
    from harness.run_cell import Run, check_cell, run_cell
    from harness.seeding import use_deterministic_kernels
    from results.leaderboard import print_leaderboard
    from results.table import write_csv

    use_deterministic_kernels()
    process = start_process(cpu)
    console = Console() if process.is_main else None
    reporter = Reporter(console)
    first = cells[0]
    data = load_dataset(
        first.dataset, data_dir, first.image_size, allow_unofficial, quiet=not process.is_main
    )
    cells = [_pin_data(cell, data) for cell in cells]
    for cell in cells:
        check_cell(cell, data, process)
    pending = process.agree([cell for cell in cells if not _is_finished(out, cell)])
    environment = describe_environment(process)
    reporter.line(_headline(cells, pending, data, process, environment.device))
    num_failed = 0
    for number, cell in enumerate(pending, start=1):
        run = Run(cell, data, process, environment, out / cell.cell_id, shlex.join(sys.argv))
        try:
            run_cell(run, reporter, f"cell {number}/{len(pending)}")
        except DivergedError:
            num_failed += 1
        except VerdictError:
            raise
        except Exception:  # recorded with its traceback; the other cells go on
            if process.world_size > 1:
                raise  # the other processes still wait for this one
            num_failed += 1
        if process.is_main:
            write_csv(out)
    if console is not None:
        print_leaderboard(out, console)
        console.print(f"runs: {out.resolve()}   table: {(out / 'results.csv').resolve()}", soft_wrap=True)
    leave_process_group()
    return EXIT_SOME_FAILED if num_failed else 0


def _cells(
    preset: str | None, axes: dict[str, Any], recipe: dict[str, Any], num_processes: int
) -> list[CellSpec]:
    if preset is None and not axes.keys() & {"dataset", "models", "augmentations"}:
        preset = "demo"
    start = load_preset(preset) if preset else {}
    recipe = start.get("recipe", {}) | recipe
    told = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if "precisions" not in axes and told != "no":
        axes = axes | {"precisions": (told,)}
    return expand(make_matrix(start | axes | {"recipe": recipe}), num_processes)


def _read_cell(path: Path, axes: dict[str, Any], recipe: dict[str, Any]) -> CellSpec:
    if axes or recipe:
        raise UsageError(f"--cell {path} says all about the cell: leave out the options that describe one")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--cell {path}: cannot be read as JSON: {error}") from None
    return make_cell(**values)


def _recipe_fields(epochs: int | None, batch_size: int | None, settings: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected KEY=VALUE, such as lr=0.2")
        fields[key] = yaml.safe_load(value)
    return {name: value for name, value in fields.items() if value is not None}


def _check_data_options(cell: CellSpec, data_dir: Path | None, allow_unofficial: bool) -> None:
    if cell.dataset != "cifar10" and (data_dir is not None or allow_unofficial):
        raise UsageError(f"--data-dir and --allow-unofficial-data are for cifar10, not for {cell.dataset}")


def _pin_data(cell: CellSpec, data: Dataset) -> CellSpec:
    """Name the data by their fingerprint where the name of the data set does not settle it."""
    fingerprint = data.provenance.fingerprint
    if cell.data_fingerprint not in (None, fingerprint):
        raise UsageError(
            f"the cell was made for data with fingerprint {cell.data_fingerprint}, "
            f"but {data.provenance.source} has {fingerprint}"
        )
    return cell if data.provenance.official else cell.model_copy(update={"data_fingerprint": fingerprint})


def _is_finished(out: Path, cell: CellSpec) -> bool:
    record = read_record(out / cell.cell_id)
    return record is not None and record.status == "finished"


def _headline(
    cells: list[CellSpec], pending: list[CellSpec], data: Dataset, process: Process, device: str
) -> str:
    facts = data.provenance
    finished = len(cells) - len(pending)
    return (
        f"{len(cells)} cell(s), {finished} finished already; {facts.dataset}: "
        f"{facts.num_train_images:,} training and {facts.num_test_images:,} test images{'' if facts.official else ' (not the official set)'}; "
        f"{process.world_size} process(es) on {device}"
    )


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def main() -> None:
    """Parse the command line; only the first process of a machine prints what is wrong with it."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")
    app()


if __name__ == "__main__":
    main()
