from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.cell import CellSpec
from harness.recipes import recipe_for
from launch.plan.counts import Compute, Counts, Speed
from launch.plan.estimates import Estimate, Estimator, Machine, this_machine
from launch.plan.facts import count_key
from launch.plan.states import scan_runs
from launch.plan.workload import DataSize
from tests.launch.plan.run_folders import NUM_TEST, NUM_TRAIN, NUM_VAL, digits_cell, write_run

HERE = Machine("here", "cpu")
STEPS = 1294 // 64
"""Of an epoch of the demo recipe."""


class KnownCounts(Counts):
    """Counts that know what they are given, and ask nobody."""

    def __init__(self, counts: dict[str, Compute] | None = None, speed: Speed | None = None) -> None:
        super().__init__(may_ask=False)
        self.counts = counts or {}
        self.known_speed = speed or Speed()
        self.asked: list[tuple[set[str], set[str]]] = []

    def speed(self) -> Speed:
        return self.known_speed

    def get(self, key: str) -> Compute | None:
        return self.counts.get(key)

    def ask(self, cells: dict[str, tuple[CellSpec, int, int]], precisions: set[str]) -> None:
        self.asked.append((set(cells), precisions))


def estimate(
    out: Path,
    cell: CellSpec,
    counts: Counts | None = None,
    machine: Machine = HERE,
    sizes: dict[str, DataSize] | None = None,
) -> Estimate:
    return Estimator(scan_runs(out).values(), machine, counts or KnownCounts(), sizes).of(cell)


def test_another_seed_takes_what_the_cell_took(tmp_path: Path) -> None:
    for seed, seconds in enumerate((10.0, 12.0, 30.0)):
        write_run(tmp_path, digits_cell(seed=seed), train_time_s=seconds)
    found = estimate(tmp_path, digits_cell(seed=9))
    assert found.time_s.value == pytest.approx(12 + 2 + 1)
    assert found.time_s.basis == "same_cell"
    assert found.time_s.note == "3 runs of the model here"
    assert (found.flops.value, found.flops.basis) == (6 * STEPS * 64 * 1000, "same_model")


@pytest.mark.parametrize(
    ("values", "seconds", "differs"),
    [
        # training and scoring during it are four times as long, the test images and the start are not
        ({"epochs": 24}, 4 * 10 + 2 * (4 * 6 * NUM_VAL + NUM_TEST) / (6 * NUM_VAL + NUM_TEST) + 1, "epochs"),
        # the last 14 images of an epoch are left out where they do not fill a batch
        ({"batch_size": 128}, 10 * (1294 // 128 * 128) / (STEPS * 64) + 2 + 1, "batch size"),
        ({"augmentation": "flip_crop"}, 10 + 2 + 1, "augmentation"),
        ({"mirror_tta": True}, 10 + 2 * (6 * NUM_VAL + 2 * NUM_TEST) / (6 * NUM_VAL + NUM_TEST) + 1, ""),
    ],
)
def test_another_recipe_or_augmentation_is_scaled(
    tmp_path: Path, values: dict[str, Any], seconds: float, differs: str
) -> None:
    write_run(tmp_path, digits_cell(), train_time_s=10)
    found = estimate(tmp_path, digits_cell(**values)).time_s
    assert found.value == pytest.approx(seconds)
    assert found.basis == ("same_model" if differs else "same_cell")
    assert found.note == "1 run of the model here" + (f", with other {differs}" if differs else "")


def test_the_run_most_like_the_cell_counts(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell(augmentation="none", epochs=3), train_time_s=3)
    write_run(tmp_path, digits_cell(augmentation="flip_crop", epochs=6), train_time_s=60)
    assert estimate(tmp_path, digits_cell(augmentation="flip_crop", epochs=12)).time_s.value == pytest.approx(
        2 * 60 + 2 * (12 * NUM_VAL + NUM_TEST) / (6 * NUM_VAL + NUM_TEST) + 1
    )


@pytest.mark.parametrize(
    ("machine", "cell"),
    [
        ({"hostname": "there"}, {}),
        ({"device": "another processor"}, {}),
        ({"device_type": "cuda"}, {}),
        ({}, {"precision": "bf16"}),
        ({}, {"image_size": 16}),
        ({}, {"batch_size": 256}),
        ({}, {"model": "simple_cnn"}),
        ({}, {"num_processes": 2, "strategy": "ddp"}),
        ({}, {"compile": "default"}),
    ],
)
def test_what_is_too_unlike_is_not_scaled(
    tmp_path: Path, machine: dict[str, str], cell: dict[str, Any]
) -> None:
    write_run(tmp_path, digits_cell(), machine=machine)
    found = estimate(tmp_path, digits_cell(**cell), machine=Machine("here", "cpu", "a processor")).time_s
    assert found.basis not in ("same_cell", "same_model") or "reached in other runs" in found.note


def test_on_a_processor_fewer_threads_take_longer(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell(), train_time_s=10)
    found = estimate(tmp_path, digits_cell(seed=1), machine=Machine("here", "cpu", cores=1)).time_s
    assert found.value == pytest.approx(2 * (10 + 2) + 1)
    assert found.basis == "same_model"
    assert found.note.endswith("with other threads")


def test_the_cores_of_a_cell_are_divided_among_its_processes() -> None:
    machine = Machine("here", "cpu", cores=4)
    assert [machine.threads_of(number) for number in (1, 2, 3, 8)] == [4, 2, 1, 1]
    assert Machine("here", "cuda", cores=4).threads_of(2) is None
    assert this_machine(jobs=1, use_cpu=True).cores == len(os.sched_getaffinity(0))
    assert this_machine(jobs=10_000, use_cpu=True) == Machine(socket.gethostname(), "cpu", cores=1)


def test_progressive_resizing_is_scaled_by_its_compute(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell("fast_cnn"), train_time_s=10, train_flops_per_image=1000)
    cell = digits_cell("fast_cnn", start_scale=0.5)
    key = count_key(cell, 10, NUM_TRAIN - NUM_VAL)
    whole = 6 * STEPS * 64 * 1000
    counted = KnownCounts({key: Compute(333, 1000, whole // 2)})
    assert estimate(tmp_path, cell, counted).time_s.value == pytest.approx(5 + 2 + 1)
    unknown = estimate(tmp_path, cell)
    assert (unknown.time_s.value, unknown.flops.value) == (None, None)
    assert "has not been counted" in unknown.time_s.note


def test_other_models_tell_which_share_of_the_peak_is_reached(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell("mlp"), train_time_s=10, train_flops_per_image=1000)
    cell = digits_cell("simple_cnn")
    images = 6 * STEPS * 64
    per_s = images * 1000 / 10
    counts = KnownCounts(
        {count_key(cell, 10, 1294): Compute(1000, 3000, 0)},
        Speed(device="a processor", threads=2, peak_flop_per_s={"fp32": 4 * per_s}),
    )
    found = estimate(tmp_path, cell, counts)
    assert (found.flops.value, found.flops.basis) == (images * 3000, "counted")
    work = images * 3000 + (6 * NUM_VAL + NUM_TEST) * 1000
    assert found.time_s.value == pytest.approx(work / per_s)
    assert found.time_s.basis == "other_models"
    assert ", 25% of the measured peak, as mlp reached in other runs here" in found.time_s.note


def test_another_precision_is_scaled_by_the_ratio_of_the_peaks(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell("mlp"), train_time_s=10, train_flops_per_image=3000)
    peaks: dict[str, float | None] = {"fp32": 1e6, "bf16": 8e6}
    counts = KnownCounts(speed=Speed("a processor", 2, peak_flop_per_s=peaks))
    found = estimate(tmp_path, digits_cell("mlp", precision="bf16"), counts).time_s
    images = 6 * STEPS * 64
    work = images * 3000 + (6 * NUM_VAL + NUM_TEST) * 1000
    assert found.value == pytest.approx(work / (8 * images * 3000 / 10))
    assert found.basis == "same_model"


def test_without_any_run_the_peak_is_a_lower_bound_and_says_so(tmp_path: Path) -> None:
    cell = digits_cell(val_fraction=0)
    counts = KnownCounts(
        {count_key(cell, 10, NUM_TRAIN): Compute(1000, 3000, 0)}, Speed("x", 2, peak_flop_per_s={"fp32": 2e6})
    )
    found = estimate(tmp_path, cell, counts).time_s
    work = 6 * (NUM_TRAIN // 64) * 64 * 3000 + NUM_TEST * 1000
    assert found.value == pytest.approx(work / 2e6)
    assert found.basis == "lower_bound"
    assert "which no training reaches" in found.note
    one_thread = estimate(tmp_path, cell, counts, Machine("here", "cpu", cores=1)).time_s
    assert one_thread.value == pytest.approx(work / 1e6)


def test_where_nothing_is_known_there_is_no_figure_but_a_reason(tmp_path: Path) -> None:
    cell = digits_cell()
    compute = {count_key(cell, 10, 1294): Compute(1000, 3000, 0)}
    no_peak = estimate(tmp_path, cell, KnownCounts(compute))
    assert no_peak.time_s.value is None
    assert "has no measured peak" in no_peak.time_s.note
    cannot = KnownCounts(compute, Speed("x", 2, peak_flop_per_s={"fp32": None}))
    assert "cannot compute in fp32" in estimate(tmp_path, cell, cannot).time_s.note
    too_large = estimate(tmp_path, digits_cell(batch_size=4096))
    assert (too_large.time_s.value, too_large.flops.value) == (None, None)
    assert "batch size 4096 is larger than the 1294 training images" in too_large.time_s.note


def test_the_size_of_a_folder_of_images_is_known_from_its_runs_or_by_the_caller(tmp_path: Path) -> None:
    cell = digits_cell(dataset="imagefolder:photos")
    unknown = estimate(tmp_path, cell)
    assert (unknown.flops.value, unknown.time_s.value) == (None, None)
    assert "how many images imagefolder:photos has is known after its first run" in unknown.time_s.note
    write_run(tmp_path, digits_cell(dataset="imagefolder:photos", data_fingerprint="3" * 64))
    assert estimate(tmp_path, cell).time_s.basis == "same_cell"
    half = DataSize(NUM_TRAIN // 2, NUM_TEST, 10)
    smaller = estimate(tmp_path, cell, sizes={"imagefolder:photos": half})
    assert smaller.flops.value == 6 * (647 // 64) * 64 * 1000


def test_the_official_sizes_are_those_of_the_data() -> None:
    from harness.datasets.digits import load_digits
    from launch.plan.workload import OFFICIAL_SIZES

    data = load_digits(8)
    found = DataSize(len(data.train.labels), len(data.test.labels), len(data.class_names))
    assert OFFICIAL_SIZES["digits"] == found


def test_what_no_run_tells_is_asked_for_once(tmp_path: Path) -> None:
    write_run(tmp_path, digits_cell("mlp"))
    counts = KnownCounts()
    estimator = Estimator(scan_runs(tmp_path).values(), HERE, counts)
    cells = [digits_cell(model, seed=seed) for model in ("mlp", "simple_cnn") for seed in range(5)]
    estimator.prepare(cells)
    key = count_key(cells[-1], 10, 1294)
    assert counts.asked == [({key}, {"fp32"})]
    estimator.prepare([])
    assert len(counts.asked) == 1


def test_compute_of_a_resized_recipe_is_known_from_a_run_of_the_same_recipe_only(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"start_scale": 0.5, "full_scale_at": 0.5}
    write_run(tmp_path, digits_cell("fast_cnn", **recipe), train_flops_per_image=1000)
    same = estimate(tmp_path, digits_cell("fast_cnn", seed=1, **recipe))
    assert same.flops.value == 6 * STEPS * 64 * 1000
    longer = estimate(tmp_path, digits_cell("fast_cnn", epochs=12, **recipe))
    assert longer.flops.value is None
    assert longer.time_s.note.startswith("1 run of the model here")  # by images, of the same sizes
    plain = estimate(tmp_path, digits_cell("fast_cnn"))
    assert plain.flops.value == 6 * STEPS * 64 * 1000


def test_a_named_recipe_is_the_one_of_the_model() -> None:
    from launch.screen.text import recipe_name

    assert recipe_name("mlp", recipe_for("mlp", "fast", {})) == "fast"
    assert recipe_name("mlp", recipe_for("mlp", "fast", {"epochs": 3})) == "fast, epochs=3"
    assert recipe_name("mlp", recipe_for("mlp", "fast", {"batch_size": 32})) == "fast, batch_size=32"
