from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cell import CellSpec, make_cell
from harness.errors import UsageError
from harness.recipe import Recipe, make_recipe
from tests.harness.run_helpers import small_cell

ROOT = Path(__file__).parents[2]

RECIPE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 512,
    "optimizer": "sgd",
    "lr": 0.4,
    "weight_decay": 5e-4,
    "schedule": "cosine",
}
CELL: dict[str, Any] = {
    "dataset": "cifar10",
    "model": "resnet20",
    "augmentation": "flip_crop",
    "recipe": RECIPE,
    "precision": "bf16",
}

# Every field of the first version, none at its default.
FULL: dict[str, Any] = {
    "dataset": "imagefolder:/data/parts",
    "data_fingerprint": "0" * 64,
    "image_size": 64,
    "val_fraction": 0.2,
    "model": "fast_cnn",
    "augmentation": "cutout",
    "recipe": {
        "epochs": 8,
        "batch_size": 1024,
        "optimizer": "adamw",
        "lr": 0.001,
        "weight_decay": 0.05,
        "schedule": "triangular",
        "momentum": 0.85,
        "warmup_fraction": 0.23,
        "final_lr_fraction": 0.07,
        "norm_bias_lr_scale": 64.0,
        "label_smoothing": 0.2,
        "crop_padding": 2,
        "ema_decay": 0.99,
    },
    "precision": "fp16",
    "strategy": "ddp",
    "num_processes": 2,
    "accumulation_steps": 4,
    "mirror_tta": True,
    "seed": 7,
}

# Every field that came later, none at its default.
LATER: dict[str, Any] = {
    **FULL,
    "model": "timm:resnet18d",
    "small_stem": True,
    "pretrained": "file:/weights/resnet18d.safetensors",
    "weights_sha256": "1" * 64,
    "recipe": {
        **FULL["recipe"],
        "optimizer": "muon",
        "muon_lr": 0.24,
        "muon_momentum": 0.7,
        "start_scale": 0.5,
        "full_scale_at": 0.5,
        "tuning": "gradual",
        "layer_lr_decay": 0.7,
    },
}


def changed(**values: Any) -> CellSpec:
    """The plain cell with some fields changed; `recipe__lr` is the recipe's `lr`."""
    recipe = {key.removeprefix("recipe__"): values.pop(key) for key in list(values) if "__" in key}
    return make_cell(**{**CELL, "recipe": {**RECIPE, **recipe}, **values})


def test_the_id_of_a_cell_never_changes() -> None:
    # A cell id names the folder of a finished run, on every machine and in every later version. If
    # these fail, runs that people have paid for are no longer found and are trained again: change
    # the code back, never these lines.
    assert make_cell(**CELL).cell_id == "e28566e0a9a1"
    assert make_cell(**FULL).cell_id == "2e9d5bb83a82"
    assert make_cell(**LATER).cell_id == "1ed2050f1f4e"


def test_the_defaults_never_change() -> None:
    # Fields at their default are left out of the id: with another default, an old id would name a
    # cell that was trained in another way.
    defaults = {
        model.__name__: {
            name: field.default for name, field in model.model_fields.items() if not field.is_required()
        }
        for model in (CellSpec, Recipe)
    }
    assert defaults == {
        "CellSpec": {
            "schema_version": 1,
            "data_fingerprint": None,
            "image_size": 32,
            "val_fraction": 0.1,
            "small_stem": False,
            "pretrained": None,
            "weights_sha256": None,
            "strategy": "single",
            "num_processes": 1,
            "sync_batchnorm": False,
            "accumulation_steps": 1,
            "compile": "none",
            "mirror_tta": False,
            "seed": 0,
        },
        "Recipe": {
            "momentum": 0.9,
            "warmup_fraction": 0.1,
            "final_lr_fraction": 0.0,
            "norm_bias_lr_scale": 1.0,
            "label_smoothing": 0.0,
            "crop_padding": 4,
            "ema_decay": None,
            "muon_lr": None,
            "muon_momentum": 0.6,
            "start_scale": 1.0,
            "full_scale_at": 0.6,
            "keep_hardest": 1.0,
            "tuning": "all",
            "layer_lr_decay": 1.0,
        },
    }


def test_the_id_is_the_same_in_another_process() -> None:
    # A new process has another hash seed, so an id that hung on the order of a set would differ.
    code = (
        "import json, sys; from harness.cell import make_cell\n"
        "print(make_cell(**json.load(sys.stdin)).cell_id)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        input=json.dumps(FULL),
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == make_cell(**FULL).cell_id


def test_neither_the_order_of_fields_nor_spelling_out_a_default_changes_the_id() -> None:
    plain = make_cell(**CELL)
    backwards = {key: CELL[key] for key in reversed(CELL)}
    backwards["recipe"] = {key: RECIPE[key] for key in reversed(RECIPE)}
    assert make_cell(**backwards).cell_id == plain.cell_id
    assert make_cell(**plain.model_dump()).cell_id == plain.cell_id
    assert CellSpec.model_validate_json(plain.model_dump_json()) == plain


def test_a_whole_number_means_the_same_with_and_without_a_point() -> None:
    assert changed(recipe__lr=1).cell_id == changed(recipe__lr=1.0).cell_id


def test_every_field_of_a_cell_counts_for_its_id() -> None:
    tied = {"optimizer", "muon_lr", "tuning"}  # not without another field
    variants = [
        make_cell(**CELL),
        changed(dataset="digits"),
        changed(data_fingerprint="0" * 64),
        changed(image_size=64),
        changed(val_fraction=0.2),
        changed(model="resnet18"),
        changed(augmentation="cutout"),
        changed(precision="fp32"),
        changed(strategy="ddp", num_processes=2),
        changed(strategy="ddp", num_processes=4),
        changed(strategy="fsdp", num_processes=2),
        changed(strategy="ddp", num_processes=2, sync_batchnorm=True),
        changed(precision="tf32"),
        changed(accumulation_steps=2),
        changed(mirror_tta=True),
        changed(seed=1),
        changed(compile="reduce-overhead"),
        changed(model="timm:resnet18d", small_stem=True),
        changed(pretrained="file:/a"),
        changed(pretrained="file:/a", weights_sha256="0" * 64),
        changed(pretrained="file:/a", weights_sha256="1" * 64),
        changed(recipe__optimizer="muon", recipe__muon_lr=0.1),
        changed(recipe__optimizer="muon", recipe__muon_lr=0.2),
        changed(pretrained="file:/a", recipe__tuning="gradual"),
        *(changed(**{f"recipe__{key}": value}) for key, value in LATER["recipe"].items() if key not in tied),
    ]
    assert {name for cell in variants for name in cell.model_fields_set} >= CellSpec.model_fields.keys() - {
        "schema_version"
    }
    assert len({cell.cell_id for cell in variants}) == len(variants)


def test_where_the_images_lie_counts_only_without_their_fingerprint() -> None:
    here, there = "imagefolder:/here", "imagefolder:/there"
    assert changed(dataset=here).cell_id != changed(dataset=there).cell_id
    known = [changed(dataset=path, data_fingerprint="a" * 64).cell_id for path in (here, there)]
    assert known[0] == known[1]
    assert known[0] != changed(dataset=here, data_fingerprint="b" * 64).cell_id
    assert known[0] != changed(dataset="cifar10", data_fingerprint="a" * 64).cell_id


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"dataset": "cifar11"}, "dataset"),
        ({"dataset": "imagefolder"}, "dataset"),
        ({"dataset": "digits:/here"}, "dataset"),
        ({"model": "resnet21"}, "model"),
        ({"augmentation": "flop"}, "augmentation"),
        ({"augmentation": "mixup+flip"}, "put it last"),
        ({"model": "keras:resnet18"}, "model"),
        ({"small_stem": True}, "small images already"),
        ({"pretrained": "imagenet"}, "expected hub, package or file:PATH"),
        ({"pretrained": "file:"}, "expected hub, package or file:PATH"),
        ({"pretrained": "hub"}, "no published weights for 'resnet20'"),
        ({"compile": "fast"}, "compile"),
        ({"model": "vit_tiny", "image_size": 30}, "try --image-size 32"),
        ({"recipe__tuning": "head"}, "try --pretrained file:PATH"),
        ({"recipe__tuning": "head", "model": "timm:x"}, "try --pretrained hub"),
        (
            {"recipe__tuning": "head", "recipe__layer_lr_decay": 0.5, "pretrained": "file:/a"},
            "leave out layer_lr_decay",
        ),
        ({"compile": "default", "recipe__start_scale": 0.5}, "leave out --compile, or start_scale"),
        ({"compile": "default", "recipe__tuning": "gradual", "pretrained": "file:/a"}, "leave out --compile"),
        ({"compile": "reduce-overhead", "accumulation_steps": 2}, "cannot accumulate gradients"),
        ({"recipe__tuning": "head", "pretrained": "file:/a"}, "use --augment none"),
        ({"recipe__keep_hardest": 0}, "recipe.keep_hardest"),
        ({"recipe__keep_hardest": 0.5, "accumulation_steps": 2}, "keep_hardest chooses from whole batches"),
        ({"recipe__keep_hardest": 0.5, "compile": "default"}, "keep_hardest chooses from whole batches"),
        (
            {"recipe__keep_hardest": 0.5, "strategy": "ddp", "num_processes": 2},
            "keep_hardest chooses from whole batches",
        ),
        (
            {"recipe__keep_hardest": 0.5, "recipe__tuning": "gradual", "pretrained": "file:/a"},
            "keep_hardest chooses from whole batches",
        ),
        (
            {"recipe__keep_hardest": 0.5, "recipe__start_scale": 0.375},
            "keep_hardest needs images of 16 pixels",
        ),
        ({"recipe__optimizer": "muon"}, "muon_lr"),
        ({"recipe__muon_lr": 0.1}, "muon_lr"),
        ({"recipe__start_scale": 0.1}, "recipe.start_scale"),
        ({"recipe__start_scale": 0.25, "model": "fast_cnn"}, "not 8: try a larger start_scale"),
        ({"image_size": 7}, "image_size"),
        ({"image_size": "big"}, "image_size"),
        ({"val_fraction": 0.6}, "val_fraction"),
        ({"val_fraction": float("nan")}, "val_fraction"),
        ({"precision": "int8"}, "precision"),
        ({"strategy": "fsdp"}, "strategy"),
        ({"strategy": "ddp"}, "strategy"),
        ({"num_processes": 2}, "strategy"),
        ({"num_processes": 0}, "num_processes"),
        ({"accumulation_steps": 0}, "accumulation_steps"),
        ({"accumulation_steps": 3}, "batch size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"schema_version": 2}, "schema_version"),
        ({"epochs": 3}, "epochs"),
        ({"recipe": None}, "recipe"),
        ({"recipe__epochs": 0}, "recipe.epochs"),
        ({"recipe__epochs": 1.5}, "recipe.epochs"),
        ({"recipe__batch_size": 1}, "recipe.batch_size"),
        ({"recipe__optimizer": "adam"}, "recipe.optimizer"),
        ({"recipe__lr": 0}, "recipe.lr"),
        ({"recipe__lr": float("inf")}, "recipe.lr"),
        ({"recipe__weight_decay": -1}, "recipe.weight_decay"),
        ({"recipe__schedule": "stairs"}, "recipe.schedule"),
        ({"recipe__momentum": 1}, "recipe.momentum"),
        ({"recipe__warmup_fraction": 1}, "recipe.warmup_fraction"),
        ({"recipe__final_lr_fraction": 1.1}, "recipe.final_lr_fraction"),
        ({"recipe__norm_bias_lr_scale": 0}, "recipe.norm_bias_lr_scale"),
        ({"recipe__label_smoothing": 1}, "recipe.label_smoothing"),
        ({"model": "fast_cnn", "image_size": 12}, "model 'fast_cnn' needs images of 16 pixels"),
        ({"recipe__ema_decay": 1}, "recipe.ema_decay"),
        ({"recipe__nesterov": True}, "recipe.nesterov"),
    ],
)
def test_an_invalid_value_is_one_line_that_names_it(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError) as raised:
        changed(**values)
    message = str(raised.value)
    assert key in message
    assert "\n" not in message


@pytest.mark.parametrize("key", CELL)
def test_a_missing_field_of_a_cell_is_named(key: str) -> None:
    with pytest.raises(UsageError, match=f"^cell: '{key}' is missing$"):
        make_cell(**{name: value for name, value in CELL.items() if name != key})


@pytest.mark.parametrize("key", RECIPE)
def test_a_missing_field_of_a_recipe_is_named(key: str) -> None:
    with pytest.raises(UsageError, match=f"^recipe: '{key}' is missing$"):
        make_recipe({name: value for name, value in RECIPE.items() if name != key})


def test_the_batch_size_that_is_proposed_works() -> None:
    with pytest.raises(UsageError, match=r"try --batch-size 513$"):
        changed(accumulation_steps=3)
    assert changed(accumulation_steps=3, recipe__batch_size=513).micro_batch_size == 171


def test_a_cell_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_cell(**CELL).seed = 1  # type: ignore[misc]


def test_the_micro_batch_is_the_global_batch_shared_by_processes_and_steps() -> None:
    assert make_cell(**CELL).micro_batch_size == 512
    assert make_cell(**FULL).micro_batch_size == 1024 // (2 * 4)


def test_an_augmentation_by_name_and_by_its_operations_is_the_same_cell() -> None:
    assert changed(augmentation="flip+crop") == changed(augmentation="flip_crop")
    assert changed(augmentation="crop+flip").cell_id != changed(augmentation="flip_crop").cell_id


def test_where_the_weights_lie_counts_only_without_their_hash() -> None:
    here, there = "file:/here", "file:/there"
    assert changed(pretrained=here).cell_id != changed(pretrained=there).cell_id
    known = [changed(pretrained=path, weights_sha256="a" * 64).cell_id for path in (here, there)]
    assert known[0] == known[1]
    assert known[0] != changed(pretrained=here, weights_sha256="b" * 64).cell_id


def test_cells_that_start_from_weights_are_a_league_of_their_own() -> None:
    assert make_cell(**CELL).league == "from scratch"
    assert changed(pretrained="file:/a").league == "pre-trained"


def test_the_label_says_what_people_tell_cells_apart_by() -> None:
    assert make_cell(**CELL).label() == "resnet20 flip_crop bf16 seed 0"
    assert make_cell(**FULL).label() == "fast_cnn cutout fp16 x2 seed 7"


@pytest.mark.parametrize("image_size", [8, 28, 34, 50, 100, 150, 224, 260, 299])
def test_without_progressive_resizing_every_image_size_is_kept(image_size: int) -> None:
    assert changed(image_size=image_size).image_size_at(0) == image_size


def test_without_progressive_resizing_every_epoch_has_the_full_size() -> None:
    assert {changed(recipe__epochs=7).image_size_at(epoch) for epoch in range(7)} == {32}


@pytest.mark.parametrize(
    ("image_size", "fields", "sizes"),
    [
        (32, {"epochs": 6, "start_scale": 0.625, "full_scale_at": 0.5}, [20, 24, 28, 32, 32, 32]),
        (64, {"epochs": 4, "start_scale": 0.5, "full_scale_at": 1.0}, [32, 40, 48, 56]),
        (32, {"epochs": 3, "start_scale": 0.5, "full_scale_at": 0.1}, [16, 32, 32]),
        (30, {"epochs": 2, "start_scale": 0.5, "full_scale_at": 1.0}, [15, 24]),
    ],
)
def test_progressive_resizing_grows_in_a_line_and_stays_at_the_full_size(
    image_size: int, fields: dict[str, Any], sizes: list[int]
) -> None:
    resizing = changed(image_size=image_size, **{f"recipe__{key}": value for key, value in fields.items()})
    assert [resizing.image_size_at(epoch) for epoch in range(len(sizes))] == sizes


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "zero1", "zero2", "zero3"])
def test_a_strategy_for_several_processes_needs_several(strategy: str) -> None:
    assert small_cell(strategy=strategy, num_processes=2).strategy == strategy
    with pytest.raises(UsageError, match=f"strategy '{strategy}' does not fit 1 process"):
        small_cell(strategy=strategy, num_processes=1)


@pytest.mark.parametrize("strategy", ["fsdp", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": {"optimizer": "muon", "muon_lr": 0.1}}, "optimizer 'muon' works on whole matrices"),
        ({"compile": "default"}, "--compile compiles the model as a whole"),
        (
            {"recipe": {"tuning": "gradual"}, "model": "timm:resnet18", "pretrained": "hub"},
            "tuning 'gradual' freezes layers",
        ),
    ],
)
def test_what_needs_whole_weights_is_refused_where_they_are_in_parts(
    strategy: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=f"strategy '{strategy}' spreads .*{reason}: use --strategy ddp"):
        small_cell(strategy=strategy, num_processes=2, **changes)
    assert small_cell(strategy="ddp", num_processes=2, **changes).strategy == "ddp"


def test_one_process_has_nothing_to_synchronise() -> None:
    with pytest.raises(UsageError, match="--sync-batchnorm is about two processes or more"):
        small_cell(sync_batchnorm=True)


def test_the_label_names_a_strategy_that_is_not_the_usual_one() -> None:
    assert " fp32 x2 seed 0" in small_cell(strategy="ddp", num_processes=2).label()
    assert " fp32 zero2 x2 seed 0" in small_cell(strategy="zero2", num_processes=2).label()
