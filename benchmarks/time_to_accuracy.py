"""Training time until a test accuracy, over several seeds: of a recipe as a whole, not of its best moment.

    python -m benchmarks.time_to_accuracy --data-dir FOLD --allow-unofficial-data --target 93 --tta
    python -m benchmarks.time_to_accuracy --data-dir data --recipe standard --target 94

As the CIFAR speed records count (Jordan 2024, arXiv 2404.00498, section 2): a recipe is fixed before it
is run, each seed trains it to its end on all training images, nothing is selected, and the recipe
reaches the target where the mean over the seeds does. Time is that of the training steps; evaluation,
start-up and data have columns of their own in `results.csv`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

from harness.cell import CellSpec
from harness.errors import VerdictError
from harness.run import run_and_rank
from harness.settings import Settings
from launch.matrix.matrix import expand, make_matrix
from results.store import load_runs


def main() -> None:
    """Train the seeds that are not trained yet, and print times and accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with CIFAR-10")
    parser.add_argument("--allow-unofficial-data", action="store_true", help="as for harness/run.py")
    parser.add_argument("--model", default="fast_cnn")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--augment", help="(the recipe's)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=93, help="test accuracy in percent (93)")
    parser.add_argument("--tta", action="store_true", help="count the accuracy with mirrored images added")
    parser.add_argument("--out", type=Path, default=Path("runs-time-to-accuracy"))
    args = parser.parse_args()

    axes = {
        "dataset": "cifar10",
        "models": (args.model,),
        "recipes": (args.recipe,),
        "augmentations": None if args.augment is None else (args.augment,),
        "precisions": ("bf16",),
        "seeds": tuple(range(args.seeds)),
        "val_fraction": 0,
        "mirror_tta": True,
    }
    cells = expand(make_matrix(axes), num_processes=1)
    try:
        run_and_rank(cells, Settings(args.out, args.data_dir, args.allow_unofficial_data))
    except VerdictError as error:
        parser.error(str(error))

    names = {_name(cell) for cell in cells}
    stored = load_runs(args.out).runs
    runs = [run for run in stored if _name(run.record.cell) in names and run.scores is not None]
    if len(runs) != len(cells):
        parser.error(f"{len(runs)} finished runs for {len(cells)} seeds: one --out for each data set, please")
    accuracies: list[float] = []
    times_s: list[float] = []
    for run in runs:
        assert run.scores is not None
        assert run.record.measurements is not None
        mirrored = run.scores.test_tta_accuracy_percent
        assert mirrored is not None
        accuracies.append(mirrored if args.tta else run.scores.test_accuracy_percent)
        times_s.append(run.record.measurements.training_time_s)
        print(f"seed {run.record.cell.seed}: {accuracies[-1]:.2f}% in {times_s[-1]:.0f} s of training")
    spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    verdict = "reaches" if mean(accuracies) >= args.target else "does not reach"
    print(
        f"{args.recipe}: {mean(accuracies):.2f}{spread}% in {mean(times_s):.0f} s {verdict} {args.target:g}%"
    )


def _name(cell: CellSpec) -> tuple[object, ...]:
    return cell.model, cell.recipe, cell.augmentation, cell.seed


if __name__ == "__main__":
    main()
