from __future__ import annotations

import time
from typing import Any

import pytest

from harness.cell import CellSpec
from harness.errors import UsageError
from harness.recipes import recipe_for
from launch.matrix.matrix import Matrix, expand, expand_matrix, make_matrix
from launch.matrix.rules import AXES, SETTINGS
from models.registry import MODELS


def cells(num_processes: int | None = None, **axes: Any) -> list[CellSpec]:
    matrix = make_matrix(axes)
    return expand(matrix, num_processes) if num_processes else expand_matrix(matrix).cells


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


def test_settings_have_the_defaults_and_limits_of_a_cell() -> None:
    for name in SETTINGS:
        ours, theirs = Matrix.model_fields[name], CellSpec.model_fields[name]
        assert (name, ours.default, ours.metadata) == (name, theirs.default, theirs.metadata)


def test_a_matrix_can_say_all_that_a_cell_is() -> None:
    known_later = {"schema_version", "data_fingerprint", "weights_sha256"}
    said = {*AXES, *SETTINGS} - {"processes"} | {"num_processes"}
    assert said == set(CellSpec.model_fields) - known_later


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
    with pytest.raises(UsageError, match=r"^recipe 'finetune' is for models that start from weights"):
        cells(models=["timm:resnet18d"], recipes=["finetune"])
    (cell,) = cells(models=["timm:resnet18d"], recipes=["finetune"], pretrained="hub")
    assert cell.league == "pre-trained"


def test_a_cell_that_is_named_twice_runs_once() -> None:
    expanded = cells(
        models=["mlp", "fast_cnn", "mlp"], augmentations=["flip_crop", "flip+crop"], seeds=[0, 1, 0]
    )
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


def test_several_data_sets_make_cells_of_each() -> None:
    expanded = cells(dataset=["digits", "cifar10"], models=["mlp"])
    assert [cell.dataset for cell in expanded] == ["digits", "cifar10"]


def points(**axes: Any) -> list[tuple[int, str]]:
    expanded = expand_matrix(make_matrix({"models": ["resnet20"]} | axes))
    return [(cell.num_processes, cell.strategy) for cell in expanded.cells]


def test_processes_are_an_axis_and_bring_their_strategies() -> None:
    assert points(processes=[1, 2]) == [(1, "single"), (2, "ddp")]
    assert points(processes=4) == [(4, "ddp")]


def test_of_several_strategies_and_processes_those_that_fit_make_cells() -> None:
    assert points(processes=[1, 2, 4], strategies=["single", "ddp", "fsdp"]) == [
        (1, "single"),
        (2, "ddp"),
        (2, "fsdp"),
        (4, "ddp"),
        (4, "fsdp"),
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"strategies": ["single", "fsdp"]}, "'fsdp' does not fit 1 process"),
        ({"strategies": ["ddp", "single"], "processes": 2}, "'single' does not fit 2 process"),
        ({"strategies": ["ddp", "fsdp"], "processes": [1, 2]}, "'ddp' does not fit 1 process"),
        ({"strategies": ["single"], "processes": [1, 2]}, "'single' does not fit 2 process"),
    ],
)
def test_a_strategy_or_a_number_of_processes_that_makes_no_cell_is_refused(
    axes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        points(**axes)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"models": ["resnet19"]}, r"unknown model 'resnet19': did you mean .*resnet18.*\? valid: .*"),
        ({"augmentations": ["blur"]}, "unknown augmentation 'blur': .*valid: .*"),
        ({"dataset": "cifar11"}, "unknown dataset 'cifar11': did you mean cifar10.*"),
        ({"recipes": ["fasd"]}, "unknown recipe 'fasd': did you mean fast.*"),
        ({"pretrained": "cloud"}, "pretrained 'cloud': expected hub, package or file:PATH"),
        ({"precisions": ["fp8"]}, "matrix: precisions.0: .* not 'fp8'"),
        ({"modles": ["mlp"]}, r"matrix: there is no 'modles': did you mean 'models'\?"),
        ({"lr": 1}, "matrix: there is no 'lr': it is a field of the recipe, so write set: {lr: ...}"),
        ({"models": []}, r"matrix: models: expected one value or more, not \[\]"),
        ({"augmentations": []}, r"matrix: augmentations: .* not \[\]"),
        ({"precisions": []}, r"matrix: precisions: .* not \[\]"),
        ({"seeds": []}, r"matrix: seeds: .* not \[\]"),
        ({"seeds": ["first"]}, "matrix: seeds.0: .* not 'first'"),
        ({"seeds": [-1]}, "matrix: seeds.0: .* not -1"),
        ({"seeds": [2**31]}, "matrix: seeds.0: .* not 2147483648"),
        ({"seeds": [True]}, "expected a number, not yes"),
        ({"processes": 0}, "cell: num_processes: .* not 0"),
        ({"models": "mlp"}, "matrix: models: expected a list, not 'mlp'"),
        ({"set": {"epoch": 3}}, r"recipe: there is no 'epoch': did you mean 'epochs'\?"),
        ({"set": {"epochs": 0}}, "recipe: epochs: .* not 0"),
        ({"accumulation_steps": 3, "set": {"batch_size": 128}}, "batch size 128 is not divisible by 3 .*"),
        ({"budget": "2 parsecs"}, "budget '2 parsecs': expected a time .*"),
        ({"exclude": [{"match": {"model": "fast_cnn"}}]}, "matrix: exclude.0: 'reason' is missing"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        cells(**axes)


def test_limits_of_seeds_are_those_of_a_cell() -> None:
    (cell,) = cells(seeds=[2**31 - 1])
    assert CellSpec.model_validate(cell.model_dump()) == cell


def test_every_cell_is_what_it_would_be_alone() -> None:
    for cell in cells(models=["mlp", "timm:resnet18"], seeds=[0, 7], small_stem=False):
        assert CellSpec.model_validate(cell.model_dump()).cell_id == cell.cell_id


def test_a_matrix_beyond_all_measure_is_refused_before_it_is_made() -> None:
    with pytest.raises(UsageError, match=r"^200,000 cells: a matrix has 100,000 at most$"):
        cells(models=list(MODELS)[:10], seeds=list(range(20_000)))


def test_included_cells_count_towards_the_limit() -> None:
    seeds = list(range(60_000))
    with pytest.raises(UsageError, match="more than 100,000 cells"):
        cells(models=["mlp"], seeds=seeds, include=[{"model": "resnet20", "seed": seeds}])


def test_ten_thousand_cells_take_much_less_than_two_seconds() -> None:
    started = time.process_time()
    matrix = make_matrix({"models": ["mlp", "resnet20"], "seeds": list(range(5_000))})
    assert len({cell.cell_id for cell in expand_matrix(matrix).cells}) == 10_000
    assert time.process_time() - started < 2
