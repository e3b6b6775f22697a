from __future__ import annotations

import pytest

from harness.errors import UsageError
from tests.launch.matrix.matrix_helpers import expanded, named


def test_the_command_line_replaces_an_axis_wherever_the_file_names_it() -> None:
    rule = {
        "match": {"model": "vit_tiny"},
        "seeds": [1, 2],
        "set": {"epochs": 3, "lr": 0.5},
        "image_size": 64,
    }
    cells = expanded(
        overrides=[rule],
        set={"epochs": 9},
        typed={"augmentations": ("mixup",), "seeds": ("7",), "image_size": 16},
        fields={"epochs": 4},
    ).cells
    assert named(cells, "model", "augmentation", "seed", "image_size") == [
        ("resnet20", "mixup", 7, 16),
        ("vit_tiny", "mixup", 7, 16),
    ]
    assert [(cell.recipe.epochs, cell.recipe.lr) for cell in cells] == [(4, 0.1), (4, 0.5)]


def test_an_included_cell_stays_where_the_command_line_names_its_values_too() -> None:
    include = [
        {"model": "mlp", "augmentation": "none", "seed": [0, 1]},
        {"model": "mlp", "augmentation": "mixup", "precision": "bf16"},
    ]
    cells = expanded(include=include, typed={"models": ("mlp", "resnet20"), "seeds": (1, 2)}).cells
    assert named(cells[8:], "augmentation", "precision", "seed") == [
        ("mixup", "bf16", 1),
        ("mixup", "bf16", 2),
    ]
    assert (
        named(expanded(include=include, typed={"models": ("resnet20",)}).cells, "model") == ["resnet20"] * 2
    )


def test_rules_that_fit_nothing_any_more_are_no_error_after_the_command_line() -> None:
    rules = {
        "overrides": [{"match": {"model": "vit_tiny"}, "image_size": 64}],
        "exclude": [{"match": {"model": "vit_tiny", "augmentation": "none"}, "reason": "overfits"}],
    }
    result = expanded(**rules, typed={"models": ("resnet20",)})
    assert named(result.cells, "augmentation", "image_size") == [("none", 32), ("cutout", 32)]
    assert result.excluded == []
    with pytest.raises(UsageError, match="no cell has the model mlp"):
        expanded(exclude=[{"match": {"model": "mlp"}, "reason": "x"}], typed={"image_size": 64})


def test_strategies_of_the_file_that_fit_no_typed_processes_are_left_out() -> None:
    axes = {"models": ["resnet20"], "augmentations": ["none"], "processes": [1, 2]}
    axes |= {"strategies": ["single", "ddp", "fsdp"]}
    assert named(expanded(**axes, typed={"processes": 1}).cells, "strategy") == ["single"]
    assert named(expanded(**axes, typed={"processes": 4}).cells, "strategy") == ["ddp", "fsdp"]
    cells = expanded(**axes, typed={"strategies": ("fsdp",)}).cells
    assert named(cells, "num_processes", "strategy") == [(2, "fsdp")]
    with pytest.raises(UsageError, match="strategy 'fsdp' does not fit 1 process"):
        expanded(**axes, typed={"strategies": ("fsdp",), "processes": 1})
    with pytest.raises(UsageError, match="strategy 'fsdp' does not fit 1 process"):
        expanded(**axes, typed={"strategies": ("single", "fsdp"), "processes": 1})
    with pytest.raises(UsageError, match="strategy 'ddp' does not fit 1 process"):
        expanded(**axes | {"strategies": ["ddp"], "processes": 2}, typed={"processes": 1})


def test_a_typed_value_that_cannot_be_is_refused_without_a_place() -> None:
    with pytest.raises(UsageError, match=r"^unknown model 'resnet21': did you mean"):
        expanded(typed={"models": ("resnet21",)})
    with pytest.raises(UsageError, match=r"^recipe: there is no 'epoch': did you mean 'epochs'\?$"):
        expanded(fields={"epoch": 3})
    with pytest.raises(UsageError, match=r"^model 'vit_tiny' cuts images into patches"):
        expanded(typed={"image_size": 30})
