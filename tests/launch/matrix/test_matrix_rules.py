from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from tests.launch.matrix.matrix_helpers import expanded, named


def test_an_override_changes_the_cells_that_match_and_no_other() -> None:
    rule = {"match": {"model": "vit_tiny"}, "set": {"epochs": 3}, "image_size": 64, "mirror_tta": True}
    for cell in expanded(set={"epochs": 9, "lr": 0.5}, overrides=[rule]).cells:
        is_changed = cell.model == "vit_tiny"
        assert (cell.recipe.epochs, cell.recipe.lr) == (3 if is_changed else 9, 0.5)
        assert (cell.image_size, cell.mirror_tta) == ((64, True) if is_changed else (32, False))


def test_a_match_needs_one_of_the_values_on_every_axis() -> None:
    rule = {"match": {"model": ["vit_tiny", "mlp"], "augmentation": ["none", "mixup"]}, "image_size": 64}
    cells = expanded(overrides=[rule]).cells
    assert named([cell for cell in cells if cell.image_size == 64], "model", "augmentation") == [
        ("vit_tiny", "none")
    ]


def test_an_axis_in_an_override_takes_the_place_of_the_matrix_s() -> None:
    rule = {"match": {"model": "resnet20"}, "augmentations": ["mixup"], "seeds": [1, 2]}
    cells = expanded(overrides=[rule]).cells
    assert named(cells, "model", "augmentation", "seed") == [
        ("resnet20", "mixup", 1),
        ("resnet20", "mixup", 2),
        ("vit_tiny", "none", 0),
        ("vit_tiny", "cutout", 0),
    ]


def test_of_strategies_in_an_override_those_that_fit_make_cells() -> None:
    rule = {"match": {"model": "resnet20"}, "strategies": ["single", "ddp", "fsdp"]}
    cells = expanded(augmentations=["none"], processes=[1, 2], overrides=[rule]).cells
    assert named(cells, "model", "strategy") == [
        ("resnet20", "single"),
        ("resnet20", "ddp"),
        ("resnet20", "fsdp"),
        ("vit_tiny", "single"),
        ("vit_tiny", "ddp"),
    ]


def test_seeds_stay_side_by_side_where_another_axis_is_overridden() -> None:
    rule = {"match": {"model": "resnet20"}, "augmentations": ["mixup", "cutmix"]}
    cells = expanded(models=["resnet20"], seeds=[0, 1], overrides=[rule]).cells
    assert named(cells, "augmentation", "seed") == [("mixup", 0), ("mixup", 1), ("cutmix", 0), ("cutmix", 1)]


def test_a_later_override_sees_what_an_earlier_one_left() -> None:
    first = {"match": {"model": "resnet20"}, "augmentations": ["mixup"]}
    second = {"match": {"augmentation": "mixup"}, "set": {"epochs": 3}}
    cells = expanded(overrides=[first, second]).cells
    assert named([cell for cell in cells if cell.recipe.epochs == 3], "model") == ["resnet20"]
    with pytest.raises(UsageError, match="no cell has the augmentation mixup: there are cutout, none"):
        expanded(overrides=[second, first])


def test_an_axis_that_is_null_in_an_override_follows_from_the_others() -> None:
    rule = {"match": {"model": "vit_tiny"}, "augmentations": None, "recipes": None, "seeds": [4]}
    cells = expanded(recipes=["strong"], overrides=[rule]).cells
    assert named(cells, "model", "augmentation", "seed") == [
        ("resnet20", "none", 0),
        ("resnet20", "cutout", 0),
        ("vit_tiny", "strong", 4),
    ]


def test_the_augmentation_of_a_recipe_follows_where_the_recipe_is_overridden() -> None:
    rule = {"match": {"model": "timm:resnet18"}, "recipes": ["probe", "finetune"], "pretrained": "hub"}
    axes = {"models": ["mlp", "timm:resnet18"], "augmentations": None}
    cells = expanded(**axes, overrides=[rule]).cells
    assert named(cells, "model", "augmentation", "pretrained") == [
        ("mlp", "flip_crop", None),
        ("timm:resnet18", "none", "hub"),
        ("timm:resnet18", "flip_crop", "hub"),
    ]


def test_a_rule_matches_what_the_recipe_and_the_processes_imply() -> None:
    rules = [
        {"match": {"augmentation": "flip_crop", "strategy": "ddp"}, "sync_batchnorm": True},
        {"match": {"strategy": "single"}, "image_size": 64},
    ]
    cells = expanded(models=["resnet20"], augmentations=None, processes=[1, 2], overrides=rules).cells
    assert named(cells, "num_processes", "sync_batchnorm", "image_size") == [(1, False, 64), (2, True, 32)]


def test_an_operation_list_matches_under_its_name() -> None:
    rule = {"match": {"augmentation": "flip+crop+cutout"}, "image_size": 64}
    cells = expanded(overrides=[rule]).cells
    assert {cell.augmentation for cell in cells if cell.image_size == 64} == {"cutout"}


def test_an_excluded_cell_is_left_out_and_reported_with_the_first_reason() -> None:
    rules = [
        {"match": {"model": "vit_tiny", "augmentation": "none"}, "reason": "overfits"},
        {"match": {"model": "vit_tiny"}, "reason": "slow"},
    ]
    result = expanded(exclude=rules)
    assert named(result.cells, "model") == ["resnet20", "resnet20"]
    assert [(cell.model, cell.augmentation, reason) for cell, reason in result.excluded] == [
        ("vit_tiny", "none", "overfits"),
        ("vit_tiny", "cutout", "slow"),
    ]


def test_exclude_acts_after_the_overrides() -> None:
    override = {"match": {"model": "vit_tiny"}, "augmentations": ["mixup"]}
    result = expanded(overrides=[override], exclude=[{"match": {"augmentation": "mixup"}, "reason": "no"}])
    assert named([cell for cell, _ in result.excluded], "model") == ["vit_tiny"]


def test_what_could_not_be_a_cell_can_be_excluded() -> None:
    axes = {"models": ["fast_cnn", "resnet20"], "processes": 2, "strategies": ["ddp", "fsdp"]}
    with pytest.raises(UsageError, match="optimizer 'muon' works on whole matrices"):
        expanded(**axes)
    rule = {"match": {"model": "fast_cnn", "strategy": "fsdp"}, "reason": "Muon works on whole matrices"}
    result = expanded(**axes, exclude=[rule])
    assert {(cell.model, cell.strategy) for cell in result.cells} == {
        ("fast_cnn", "ddp"),
        ("resnet20", "ddp"),
        ("resnet20", "fsdp"),
    }
    assert {cell.label() for cell, _ in result.excluded} == {
        "fast_cnn none fp32 fsdp x2 seed 0",
        "fast_cnn cutout fp32 fsdp x2 seed 0",
    }


def test_a_matrix_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(UsageError, match="no cell is left: every cell is excluded"):
        expanded(exclude=[{"match": {"precision": "fp32"}, "reason": "all of it"}])


def test_an_included_cell_has_the_rest_from_the_matrix() -> None:
    cell = expanded(
        augmentations=["none"],
        set={"epochs": 9},
        val_fraction=0.2,
        seeds=[5],
        include=[{"model": "mlp", "set": {"lr": 0.125}, "image_size": 8}],
    ).cells[-1]
    assert (cell.model, cell.augmentation, cell.precision, cell.seed) == ("mlp", "none", "fp32", 5)
    assert (cell.recipe.epochs, cell.recipe.lr, cell.val_fraction, cell.image_size) == (9, 0.125, 0.2, 8)


def test_an_included_cell_says_itself_where_the_matrix_has_several_values() -> None:
    with pytest.raises(UsageError, match=r"say which augmentation: the matrix has several \(none, cutout\)"):
        expanded(include=[{"model": "mlp"}])


def test_several_values_of_an_included_cell_are_as_many_cells() -> None:
    cells = expanded(include=[{"model": "mlp", "augmentation": ["mixup", "none"], "seed": [1, 2]}]).cells
    assert named(cells[4:], "augmentation", "seed") == [("mixup", 1), ("mixup", 2), ("none", 1), ("none", 2)]


def test_the_strategy_of_an_included_cell_is_clear_where_one_fits() -> None:
    axes = {"models": ["resnet20"], "augmentations": ["none"], "processes": [1, 2]}
    cells = expanded(**axes, strategies=["single", "ddp"], include=[{"processes": 4}]).cells
    assert named(cells, "num_processes", "strategy") == [(1, "single"), (2, "ddp"), (4, "ddp")]
    with pytest.raises(UsageError, match=r"say which strategy: the matrix has several \(ddp, fsdp\)"):
        expanded(**axes, strategies=["single", "ddp", "fsdp"], include=[{"processes": 4}])


def test_an_included_cell_is_neither_overridden_nor_excluded() -> None:
    result = expanded(
        overrides=[{"match": {"model": "vit_tiny"}, "image_size": 64}],
        exclude=[{"match": {"model": "vit_tiny"}, "reason": "slow"}],
        include=[
            {"model": "vit_tiny", "augmentation": "none"},
            {"model": "vit_tiny", "augmentation": "mixup"},
        ],
    )
    assert named(result.cells[2:], "augmentation", "image_size") == [("none", 32), ("mixup", 32)]
    assert len(result.excluded) == 2


def test_a_cell_that_is_excluded_and_included_is_run() -> None:
    rule = {"match": {"model": "vit_tiny"}, "reason": "slow"}
    result = expanded(exclude=[rule], include=[{"model": "vit_tiny", "augmentation": "none"}])
    assert named(result.cells, "model", "augmentation")[2:] == [("vit_tiny", "none")]
    assert named([cell for cell, _ in result.excluded], "augmentation") == ["cutout"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"exclude": [{"match": {"model": "resnet32"}, "reason": "slow"}]},
            "no cell has the model resnet32: there are resnet20, vit_tiny",
        ),
        (
            {
                "overrides": [{"match": {"model": "vit_tiny"}, "augmentations": ["none"]}],
                "exclude": [{"match": {"model": "vit_tiny", "augmentation": "cutout"}, "reason": "slow"}],
            },
            "fits no cell: there are these values, but no cell has all of them",
        ),
        ({"overrides": [{"match": {"model": "resnet21"}, "seeds": [1]}]}, "unknown model 'resnet21'"),
        ({"overrides": [{"match": {}, "seeds": [1]}]}, "says nothing: name at least one of dataset, model"),
        ({"overrides": [{"match": {"seed": 0}}]}, "changes nothing: give other values beside match"),
        ({"include": [{}]}, "says nothing: name at least one of dataset, model"),
        ({"exclude": [{"match": {"models": "mlp"}, "reason": "x"}]}, "no 'models': did you mean 'model'?"),
        ({"overrides": [{"match": {"seed": 0}, "model": "mlp"}]}, "no 'model': did you mean 'models'?"),
        ({"exclude": [{"match": {"seed": 0}, "reason": "x", "lr": 1}]}, "no 'lr': there are match, reason"),
        ({"exclude": [{"match": {"seed": 0}, "reason": " "}]}, "exclude.0.reason: expected some text"),
        (
            {"overrides": [{"match": {"model": "vit_tiny"}, "strategies": ["ddp"]}]},
            "strategy 'ddp' does not fit 1 process",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        expanded(**rules)
    assert message in str(caught.value)
