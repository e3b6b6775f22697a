"""How long the leaderboard and the table of a hundred thousand runs take, as commands, and their memory.

    python -m benchmarks.records
    python -m benchmarks.records --runs 100000 --folder runs-100k     # kept, and used again when it is there

The runs are synthetic: ten models, five augmentations, two precisions, and as many seeds as it takes. Each
has a real `record.json`, whose first of every model is checked as one of ours, with figures drawn around
those of its model, and a real `predictions.npz` of 100 test and 20 validation images in ten classes, so that
all of them take about 2 GB of disk. One run in a hundred failed, one in a thousand is damaged. Every command
runs in a process of its own, imports included; its memory is the largest resident size of it, or of one of
the processes that it starts. CPU seconds are what it needs on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from harness.cell import CellSpec, make_cell
from harness.datasets.base import DataProvenance
from harness.measurements import Measurements
from harness.record import Environment, EpochRow, Failure, InEffect, ModelFacts, Record
from results.index.load import INDEX_NAME

ROOT = Path(__file__).resolve().parent.parent
NUM_TEST, NUM_VAL, NUM_CLASSES = 100, 20, 10
EPOCHS = 16
NUM_VARIANTS = 40
"""Files of predictions for each number of right answers."""

MODELS = {
    # accuracy in percent, parameters, forward FLOPs an image
    "mlp": (55, 394_762, 789_000),
    "simple_cnn": (66, 62_006, 1_300_000),
    "mobilenet_v2": (88, 2_296_922, 94_000_000),
    "vgg11": (89, 9_231_114, 153_000_000),
    "resnet20": (90, 272_474, 82_000_000),
    "fast_cnn": (92, 1_972_792, 150_000_000),
    "resnet56": (92, 855_770, 251_000_000),
    "vgg16": (93, 14_728_266, 314_000_000),
    "resnet18": (94, 11_173_962, 1_110_000_000),
    "wrn_28_10": (96, 36_479_194, 10_500_000_000),
}
AUGMENTATIONS = ("none", "flip_crop", "cutout", "randaugment", "cutmix")
PRECISIONS = ("fp32", "bf16")
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

RESULTS = ["-m", "results"]

_MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def main() -> None:
    """Write the runs where they are not there yet, time the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the runs are kept; without it they are deleted")
    parser.add_argument("--rounds", type=int, default=3, help="of each command on a known folder (3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verdict-records-") as temporary:
        folder = args.folder or Path(temporary) / "runs"
        if not folder.exists():
            start = time.perf_counter()
            write_runs(folder, args.runs)
            print(f"{args.runs:,} runs written in {time.perf_counter() - start:.0f} s")
        report(folder, args.rounds)


def report(folder: Path, rounds: int) -> None:
    """Time the commands on a folder, and print a line for each."""
    (folder / INDEX_NAME).unlink(missing_ok=True)
    by_accuracy = ("--by", "cell", "--sort", "-test_accuracy_percent")
    commands = {
        "leaderboard, first time": (1, ["leaderboard", str(folder)]),
        "leaderboard": (rounds, ["leaderboard", str(folder)]),
        "leaderboard, seeds pooled": (rounds, ["leaderboard", str(folder), *by_accuracy]),
        "leaderboard, JSON of all": (rounds, ["leaderboard", str(folder), "--format", "json"]),
        "csv": (rounds, ["csv", str(folder)]),
    }
    print(f"{'command':28} {'median s':>9} {'slowest s':>10} {'CPU s':>9} {'peak MiB':>9}")
    for name, (num, words) in commands.items():
        seconds, cpu, peaks = zip(*(measured([*RESULTS, *words]) for _ in range(num)), strict=True)
        times = f"{float(np.median(seconds)):9.2f} {max(seconds):10.2f} {float(np.median(cpu)):9.2f}"
        print(f"{name:28} {times} {max(peaks):9.0f}", flush=True)
    index = (folder / INDEX_NAME).stat().st_size
    print(f"index: {index / 2**20:.0f} MiB")


def measured(words: list[str]) -> tuple[float, float, float]:
    """Seconds that a command of Python takes, its seconds of processor time, and its peak memory in MiB."""
    command = [sys.executable, "-c", _MEASURE, sys.executable, *words]
    # Warnings about the damaged runs go to stderr, where they would bury the table.
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    code, seconds, cpu_s, peak_mib = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
    return float(seconds), float(cpu_s), float(peak_mib)


def write_runs(folder: Path, num: int) -> None:
    """Write so many runs into a new folder."""
    draw = random.Random(0)
    predictions = Predictions()
    templates: dict[str, dict[str, Any]] = {}
    folder.mkdir(parents=True)
    for place, cell in enumerate(islice(_cells(), num)):
        run_dir = folder / cell.cell_id
        run_dir.mkdir()
        if cell.model not in templates:
            templates[cell.model] = _record(cell).model_dump(mode="json")
        record = templates[cell.model] | {"cell": cell.model_dump(mode="json"), "cell_id": cell.cell_id}
        record["started_at"] = f"2026-11-{1 + place % 28:02}T{place % 24:02}:{place % 60:02}:00+00:00"
        text = json.dumps(_drawn(record, draw))
        if place % 100 == 50:
            text = json.dumps(_failed(record))
        elif place % 1000 == 7:
            text = text[: len(text) // 2]
        (run_dir / "record.json").write_text(text, encoding="utf-8")
        num_correct = min(NUM_TEST, max(0, round(draw.gauss(MODELS[cell.model][0], 2))))
        (run_dir / "predictions.npz").write_bytes(predictions.file(num_correct, draw.randrange(NUM_VARIANTS)))


def _cells() -> Iterator[CellSpec]:
    recipe = {"epochs": EPOCHS, "batch_size": 512, "optimizer": "sgd", "lr": 0.5, "weight_decay": 5e-4}
    recipe["schedule"] = "triangular"
    kinds = [
        make_cell(
            dataset="cifar10", model=model, augmentation=augmentation, recipe=recipe, precision=precision
        )
        for model, augmentation, precision in product(MODELS, AUGMENTATIONS, PRECISIONS)
    ]
    for seed in range(2**31):
        for kind in kinds:
            yield kind.model_copy(update={"seed": seed})


def _record(cell: CellSpec) -> Record:
    """A record of a finished run of the cell's model, as the harness writes it."""
    _, num_params, flops = MODELS[cell.model]
    return Record(
        status="finished",
        cell_id=cell.cell_id,
        cell=cell,
        command="harness/run.py",
        started_at="2026-11-20T10:00:00+00:00",
        ended_at="2026-11-28T10:01:00+00:00",
        environment=Environment(
            hostname="node1",
            platform="Linux",
            python="3.11.7",
            torch="2.14.1",
            accelerate="1.15.0",
            verdict="0.1.0",
            git_commit="a6743734990f",
            device="NVIDIA H200",
            device_type="cuda",
            num_processes=1,
            distributed_type="NO",
            backend=None,
            threads_per_process=8,
            cuda="13.0",
            deterministic=True,
        ),
        data=DataProvenance(
            dataset="cifar10",
            source="synthetic",
            official=False,
            notes=("synthetic runs: nothing was trained",),
            class_names=CLASS_NAMES,
            image_shape=(3, 32, 32),
            num_train_images=50_000,
            num_test_images=NUM_TEST,
            fingerprint="5e" * 32,
            train_fingerprint="a1" * 32,
            test_fingerprint="7e" * 32,
        ),
        num_fit_images=45_000,
        num_val_images=NUM_VAL,
        model=ModelFacts(
            num_params=num_params,
            forward_flops_per_image=flops,
            train_flops_per_image=3 * flops,
            total_train_flops=3 * flops * 45_000 * EPOCHS,
        ),
        measurements=_measurements(),
        in_effect=InEffect(
            devices=("node1 NVIDIA H200",),
            num_nodes=1,
            wrapper="ConvNet",
            compute_dtype="float32",
            params_per_process=(num_params,),
            optimizer_values_per_process=(num_params,),
            num_synchronized_norms=0,
            accumulation_steps=1,
        ),
        history=tuple(
            EpochRow(
                epoch=1 + epoch,
                train_loss=2 / (2 + epoch),
                val_loss=1.0,
                val_accuracy=0.5,
                lr=0.1,
                train_time_s=1.5,
            )
            for epoch in range(EPOCHS)
        ),
        selected_epoch=EPOCHS,
        unavailable={"peak_resident_mib": "measured on CPUs only"},
    )


def _measurements() -> Measurements:
    times = (
        "wall_time_s",
        "startup_time_s",
        "data_time_s",
        "train_time_s",
        "evaluate_time_s",
        "write_time_s",
    )
    memory = ("peak_allocated_mib", "peak_reserved_mib")
    speed = ("latency_batch1_p50_ms", "latency_batch1_p99_ms", "inference_images_per_s", "mfu_percent")
    energy = ("energy_j", "train_energy_j", "mean_power_w")
    return Measurements(
        **dict.fromkeys((*times, *memory, *speed, *energy), 10.0),
        other_time_s=0.5,
        num_steps=1408,
        warmup_steps=5,
        images_per_s=8000.0,
        peak_resident_mib=None,
    )


def _drawn(record: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The record with every measurement that is not a whole number drawn anew."""
    measured = {
        name: value * draw.uniform(0.9, 1.1) if isinstance(value, float) else value
        for name, value in record["measurements"].items()
    }
    return record | {"measurements": measured}


def _failed(record: dict[str, Any]) -> dict[str, Any]:
    failure = Failure(kind="diverged", message="the loss is not finite", log_tail="", burnt_s=12.5)
    parts = dict.fromkeys(("data", "model", "measurements", "in_effect", "num_fit_images", "num_val_images"))
    return record | parts | {"status": "failed", "history": [], "failure": failure.model_dump()}


class Predictions:
    """Files of predictions, each made when it is first asked for."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, int], bytes] = {}

    def file(self, num_correct: int, variant: int) -> bytes:
        """The bytes of a `predictions.npz` with so many right answers, and its own choice of them."""
        key = num_correct, variant
        if key not in self._files:
            self._files[key] = self._made(num_correct, np.random.default_rng(key))
        return self._files[key]

    def _made(self, num_correct: int, random: np.random.Generator) -> bytes:
        labels, val_labels = np.arange(NUM_TEST) % NUM_CLASSES, np.arange(NUM_VAL) % NUM_CLASSES
        file = io.BytesIO()
        np.savez(
            file,
            test_logits=_logits(labels, num_correct, random),
            test_labels=labels,
            val_logits=_logits(val_labels, num_correct * NUM_VAL // NUM_TEST, random),
            val_labels=val_labels,
            val_indices=np.arange(NUM_VAL),
            class_names=np.array(CLASS_NAMES),
            test_fingerprint=np.array("7e" * 32),
        )
        return file.getvalue()


def _logits(
    labels: np.ndarray[Any, Any], num_correct: int, random: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Logits whose largest is that of the label for so many images, and never for the others."""
    wrong = np.ones(len(labels), dtype=bool)
    wrong[random.permutation(len(labels))[:num_correct]] = False
    logits = random.normal(size=(len(labels), NUM_CLASSES))
    top = (labels + wrong * random.integers(1, NUM_CLASSES, len(labels))) % NUM_CLASSES
    rows = np.arange(len(labels))
    logits[rows, top] = logits.max(axis=1) + random.exponential(2, len(labels)) + 0.01
    return logits.astype(np.float32)


if __name__ == "__main__":
    main()
