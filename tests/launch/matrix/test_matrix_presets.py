from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.augment.names import AUGMENTATIONS
from harness.cell import SHARDED
from harness.errors import UsageError
from launch.matrix.files import (
    load_preset,
    matrix_schema,
    preset_names,
)
from launch.matrix.matrix import expand_matrix, make_matrix
from launch.options import matrix_cells
from models.registry import MODELS

ROOT = Path(__file__).parents[3]

PRESET_SIZES = {
    "cifar10-full": (3696, 0),
    "cifar10-quick": (8, 0),
    "cifar10-standard": (90, 0),
    "demo": (6, 0),
    "precision-parallelism": (28, 8),
    "transfer": (10, 0),
}


def test_every_preset_has_as_many_cells_as_it_says() -> None:
    assert preset_names() == sorted(PRESET_SIZES)
    for name, (num_cells, num_excluded) in PRESET_SIZES.items():
        matrix = load_preset(name)
        expanded = expand_matrix(matrix)
        assert (len(expanded.cells), len(expanded.excluded)) == (num_cells, num_excluded)
        assert (matrix.name, bool(matrix.description)) == (name, True)
        assert len({cell.cell_id for cell in expanded.cells}) == num_cells
        comment = (ROOT / "launch" / "presets" / f"{name}.yaml").read_text().splitlines()[1]
        assert comment.startswith(f"# {'Six' if name == 'demo' else f'{num_cells:,}'} cells")


def test_the_demo_needs_no_download_and_compares_models_and_augmentations() -> None:
    cells = expand_matrix(load_preset("demo")).cells
    assert {cell.dataset for cell in cells} == {"digits"}
    assert len({cell.model for cell in cells}) > 1
    assert len({cell.augmentation for cell in cells}) > 1


def test_the_full_preset_has_every_model_and_augmentation_there_is() -> None:
    matrix = load_preset("cifar10-full")
    assert set(matrix.models) == set(MODELS)
    assert set(matrix.augmentations or ()) == set(AUGMENTATIONS)


def test_the_parallelism_preset_tries_every_strategy_in_both_precisions() -> None:
    cells = expand_matrix(load_preset("precision-parallelism")).cells
    tried = {(cell.precision, cell.strategy) for cell in cells if cell.model == "resnet20"}
    assert tried == {
        (precision, each) for precision in ("fp32", "bf16") for each in ("single", "ddp", *SHARDED)
    }


def test_the_entry_script_takes_the_cells_of_a_preset_that_fit_its_processes() -> None:
    alone = matrix_cells("precision-parallelism", {}, {}, 1)
    assert {(cell.strategy, cell.num_processes) for cell in alone} == {("single", 1)}
    four = matrix_cells("precision-parallelism", {"models": ("resnet20",)}, {"epochs": 1}, 4)
    assert {cell.strategy for cell in four} == {"ddp", *SHARDED}
    assert {(cell.num_processes, cell.recipe.epochs) for cell in four} == {(4, 1)}


def test_the_entry_script_refuses_a_preset_of_several_image_sizes() -> None:
    with pytest.raises(
        UsageError, match=r"image sizes \(128, 32\): run them with python -m launch run transfer"
    ):
        matrix_cells("transfer", {}, {}, 1)
    models = {cell.model for cell in matrix_cells("transfer", {"image_size": 32}, {}, 1)}
    assert "fast_cnn" in models


def test_presets_and_the_schema_agree_and_slips_of_the_pen_do_not() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(matrix_schema())
    validator.check_schema(validator.schema)
    for name in preset_names():
        text = (ROOT / "launch" / "presets" / f"{name}.yaml").read_text()
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    for slip in (
        {"modles": ["mlp"]},
        {"models": ["resnet19"]},
        {"set": {"epoch": 3}},
        {"budget": "2 parsecs"},
    ):
        assert not validator.is_valid(slip)


def test_values_that_the_matrix_read_can_be_read_again() -> None:
    for name in preset_names():
        matrix = load_preset(name)
        values = {key: getattr(matrix, key) for key in matrix.model_fields_set}
        assert expand_matrix(make_matrix(values)) == expand_matrix(matrix)
