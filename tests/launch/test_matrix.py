from __future__ import annotations

from typing import Any

import pytest

from harness.cell import CellSpec
from harness.errors import UsageError
from harness.recipes import recipe_for
from launch.matrix import PRESETS_DIR, expand, load_preset, make_matrix


def cells(num_processes: int = 1, **axes: Any) -> list[CellSpec]:
    return expand(make_matrix(axes), num_processes)


def test_the_cells_are_the_product_of_the_axes_with_the_seeds_side_by_side() -> None:
    expanded = cells(
        models=["mlp", "resnet20"],
        augmentations=["none", "cutout"],
        precisions=["fp32", "bf16"],
        seeds=[3, 1],
    )
    points = [(cell.model, cell.augmentation, cell.precision, cell.seed) for cell in expanded]
    assert points == [
        (model, augmentation, precision, seed)
        for model in ("mlp", "resnet20")
        for augmentation in ("none", "cutout")
        for precision in ("fp32", "bf16")
        for seed in (3, 1)
    ]


def test_what_is_not_an_axis_is_the_same_for_every_cell() -> None:
    expanded = cells(
        dataset="cifar10",
        models=["mlp", "resnet20"],
        image_size=64,
        val_fraction=0.2,
        accumulation_steps=2,
        mirror_tta=True,
    )
    for cell in expanded:
        assert (cell.dataset, cell.image_size, cell.val_fraction) == ("cifar10", 64, 0.2)
        assert (cell.accumulation_steps, cell.mirror_tta) == (2, True)


def test_each_model_has_its_own_recipe_with_the_same_fields_replaced() -> None:
    mlp, resnet = cells(models=["mlp", "resnet20"], set={"epochs": 3})
    assert mlp.recipe == recipe_for("mlp", "fast", {"epochs": 3})
    assert resnet.recipe == recipe_for("resnet20", "fast", {"epochs": 3})


def test_recipes_are_an_axis_and_each_brings_its_augmentation_where_none_is_named() -> None:
    expanded = cells(models=["resnet20"], recipes=["fast", "strong"])
    assert [(cell.recipe.epochs, cell.augmentation) for cell in expanded] == [
        (15, "flip_crop"),
        (200, "strong"),
    ]
    named = cells(models=["resnet20"], recipes=["fast", "strong"], augmentations=["none", "mixup"])
    assert [cell.augmentation for cell in named] == ["none", "mixup"] * 2


def test_a_recipe_for_pre_trained_models_asks_for_weights() -> None:
    with pytest.raises(UsageError, match="recipe 'finetune' is for models that start from weights"):
        cells(models=["timm:resnet18d"], recipes=["finetune"])
    (cell,) = cells(models=["timm:resnet18d"], recipes=["finetune"], pretrained="hub")
    assert cell.league == "pre-trained"


def test_a_cell_that_is_named_twice_runs_once() -> None:
    expanded = cells(models=["mlp", "fast_cnn", "mlp"], seeds=[0, 1, 0])
    assert [(cell.model, cell.seed) for cell in expanded] == [
        ("mlp", 0),
        ("mlp", 1),
        ("fast_cnn", 0),
        ("fast_cnn", 1),
    ]


@pytest.mark.parametrize(("num_processes", "strategy"), [(1, "single"), (4, "ddp")])
def test_the_strategy_follows_the_number_of_processes(num_processes: int, strategy: str) -> None:
    (cell,) = cells(num_processes)
    assert (cell.strategy, cell.num_processes) == (strategy, num_processes)


def test_a_matrix_without_axes_is_one_cell() -> None:
    assert len(cells()) == 1


@pytest.mark.parametrize("name", [path.stem for path in PRESETS_DIR.glob("*.yaml")])
def test_every_shipped_preset_expands_to_its_whole_product(name: str) -> None:
    axes = load_preset(name)
    num_points = 1
    for axis in ("models", "augmentations", "precisions", "seeds"):
        num_points *= len(axes.get(axis, [0]))
    assert len(cells(**axes)) == num_points


def test_the_demo_needs_no_download_and_compares_models_and_augmentations() -> None:
    expanded = cells(**load_preset("demo"))
    assert {cell.dataset for cell in expanded} == {"digits"}
    assert len({cell.model for cell in expanded}) > 1
    assert len({cell.augmentation for cell in expanded}) > 1


def test_an_unknown_preset_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"^unknown preset 'dmeo': did you mean demo\? valid: .*demo"):
        load_preset("dmeo")


def test_a_preset_name_is_no_way_to_other_files() -> None:
    with pytest.raises(UsageError, match="unknown preset"):
        load_preset("../presets/demo")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"models": ["resnet19"]}, r"unknown model 'resnet19': did you mean .*resnet18.*\? valid: .*"),
        ({"augmentations": ["blur"]}, "unknown augmentation 'blur': .*valid: .*"),
        ({"dataset": "cifar11"}, "unknown dataset 'cifar11': did you mean cifar10.*"),
        ({"precisions": ["fp8"]}, "matrix: precisions.0: .* not 'fp8'"),
        ({"modles": ["mlp"]}, "matrix: there is no 'modles'"),
        ({"models": []}, r"matrix: models: .* not \[\]"),
        ({"augmentations": []}, r"matrix: augmentations: .* not \[\]"),
        ({"precisions": []}, r"matrix: precisions: .* not \[\]"),
        ({"seeds": []}, r"matrix: seeds: .* not \[\]"),
        ({"seeds": ["first"]}, "matrix: seeds.0: .* not 'first'"),
        ({"seeds": [-1]}, "cell: seed: .* not -1"),
        ({"models": "mlp"}, "matrix: models: .* not 'mlp'"),
        ({"set": {"epoch": 3}}, "recipe: there is no 'epoch'"),
        ({"accumulation_steps": 3, "set": {"batch_size": 128}}, "batch size 128 is not divisible by 3 .*"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        cells(**axes)
