from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from launch.matrix.budget import Budget
from launch.matrix.files import (
    SCHEMA_PATH,
    load_preset,
    matrix_schema,
    read_matrix,
    schema_text,
)
from launch.matrix.matrix import Matrix, expand_matrix, with_overrides
from launch.matrix.rules import AXES, Exclude, Include, Match, Override

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "m.yaml"


def problem(file: Path, text: str, **typed: Any) -> str:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        expand_matrix(with_overrides(read_matrix(file.name), typed, {}))
    return str(caught.value)


def test_a_file_says_all_that_a_matrix_is(file: Path) -> None:
    file.write_text(
        "name: small\n"
        "description: two nets\n"
        "dataset: cifar10\n"
        "models: [resnet20, vit_tiny]\n"
        "processes: 2\n"
        "set: {epochs: 3, lr: 1e-2}\n"
        "compile: default\n"
        "overrides:\n"
        "  - match: {model: vit_tiny}\n"
        "    seeds: [0, 1]\n"
        "exclude:\n"
        "  - match: {model: vit_tiny, seed: 1}\n"
        "    reason: enough\n"
        "include:\n"
        "  - {model: mlp, processes: 1, compile: none}\n"
        "budget: 1h30m\n"
    )
    matrix = read_matrix("m.yaml")
    assert (matrix.name, matrix.description, matrix.budget) == ("small", "two nets", Budget("time_s", 5400))
    expanded = expand_matrix(matrix)
    assert [(cell.model, cell.strategy, cell.compile) for cell in expanded.cells] == [
        ("resnet20", "ddp", "default"),
        ("vit_tiny", "ddp", "default"),
        ("mlp", "single", "none"),
    ]
    assert [(cell.recipe.epochs, cell.recipe.lr) for cell in expanded.cells] == [(3, 0.01)] * 3
    assert [(cell.model, cell.seed, reason) for cell, reason in expanded.excluded] == [
        ("vit_tiny", 1, "enough")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models: [mlp]\nmodles: [mlp]\n",
            "m.yaml, line 2, modles: there is no 'modles': did you mean 'models'?",
        ),
        (
            "models:\n- mlp\n- resnet19\n",
            "m.yaml, line 3, models.1: unknown model 'resnet19': did you mean resnet18",
        ),
        ("models: mlp\n", "m.yaml, line 1, models: expected a list, not 'mlp'"),
        (
            "overrides:\n- match:\n    modle: mlp\n  seeds: [1]\n",
            "m.yaml, line 3, overrides.0.match.modle: there is no 'modle': did you mean 'model'?",
        ),
        ("dataset: cifar11\n", "m.yaml, line 1, dataset: unknown dataset 'cifar11': did you mean cifar10?"),
        (
            "set:\n  epoch: 3\n",
            "m.yaml, line 2, set.epoch: recipe: there is no 'epoch': did you mean 'epochs'?",
        ),
        (
            "set:\n  lr: 1\n  epochs: three\n",
            "m.yaml, line 3, set.epochs: recipe: epochs: Input should be a valid int",
        ),
        ("exclude:\n- match: {seed: 0}\n", "m.yaml, line 2, exclude.0: 'reason' is missing"),
        (
            "seeds: [0,\n 1, -1]\n",
            "m.yaml, line 2, seeds.2: Input should be greater than or equal to 0, not -1",
        ),
        ("image_size: 3\n", "m.yaml, line 1, image_size: Input should be greater than or equal to 8, not 3"),
        ("modles: [mlp]\nimage_size: 3\n", "m.yaml, line 1, modles: "),
        ("image_size: 3\nmodles: [mlp]\n", "m.yaml, line 1, image_size: "),
        ("budget: 3 apples\n", "m.yaml, line 1, budget: budget '3 apples': expected a time"),
        (
            "exclude:\n- match:\n    model: mlp\n  reason: x\n",
            "m.yaml, line 3, exclude.0.match.model: no cell has the model mlp: there are fast_cnn",
        ),
        ("seeds: [0, 1]\ninclude:\n- model: mlp\n", "m.yaml, line 3, include.0: say which seed"),
        ("seeds: [0]\nmodels: [mlp\n", "m.yaml, line 3, column 1: "),
        ("- mlp\n", "m.yaml: expected keys with values, such as 'models: [mlp]'"),
    ],
)
def test_an_error_points_at_file_line_and_key(file: Path, text: str, message: str) -> None:
    assert problem(file, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models: [mlp, vit_tiny]\nimage_size: 30\n",
            "m.yaml, line 2, image_size: model 'vit_tiny' cuts images into patches of 4 pixels, which do not "
            "fit into 30: try --image-size 32 (cell: vit_tiny flip_crop bf16 seed 0)",
        ),
        (
            "models: [vit_tiny]\nset: {batch_size: 101}\naccumulation_steps: 3\nimage_size: 30\n",
            "m.yaml, line 4, image_size: model 'vit_tiny' cuts images",
        ),
        (
            "models: [mlp]\nset:\n  batch_size: 100\naccumulation_steps: 3\n",
            "m.yaml, line 4, accumulation_steps: batch size 100 is not divisible by 3",
        ),
        (
            "models: [resnet20]\nset:\n  batch_size: 129\nprocesses: 2\n",
            "m.yaml, line 3, set.batch_size: batch size 129 is not divisible by 2",
        ),
        (
            "models: [fast_cnn]\nprocesses: 2\nstrategies:\n- ddp\n- zero1\n",
            "m.yaml, line 5, strategies.1: strategy 'zero1' spreads the weights",
        ),
        (
            "models: [vgg11]\noverrides:\n- match: {seed: 0}\n  image_size: 16\n",
            "m.yaml, line 4, overrides.0.image_size: model 'vgg11' needs images of 32 pixels or more",
        ),
        (
            "models: [resnet20]\ninclude:\n- model: vgg11\n  image_size: 16\n",
            "m.yaml, line 4, include.0.image_size: model 'vgg11' needs images of 32 pixels or more",
        ),
        (
            "models: [vgg11, vgg16]\noverrides:\n- match: {model: vgg16}\n  recipes: [probe]\n",
            "m.yaml, line 4, overrides.0.recipes.0: recipe 'probe' is for models that start from weights",
        ),
        (
            "models: ['timm:resnet18']\nrecipes: [probe]\npretrained: hub\naugmentations: [none, cutout]\n",
            "m.yaml, line 2, recipes.0: recipe: tuning 'head' computes the features of each image once",
        ),
    ],
)
def test_a_cell_that_cannot_be_is_blamed_on_a_value_of_the_file(file: Path, text: str, message: str) -> None:
    assert problem(file, text).startswith(message)


def test_values_of_the_command_line_are_not_blamed_on_the_file(file: Path) -> None:
    text = "models: [vit_tiny]\nimage_size: 64\n"
    assert problem(file, text, image_size=30).startswith("model 'vit_tiny' cuts images into patches")
    assert problem(file, text, models=("resnet21",)).startswith("unknown model 'resnet21'")
    assert problem(file, text, seeds=(-1,)).startswith("matrix: seeds.0: ")
    assert problem(file, text + "budget: 0h\n", seeds=(1,)).startswith("m.yaml, line 3, budget: ")


def test_a_word_is_a_preset_and_a_path_is_a_file(file: Path) -> None:
    file.write_text("models: [mlp]\n")
    (file.parent / "demo").write_text("models: [resnet20]\n")
    (file.parent / "mine").write_text("models: [resnet32]\n")
    assert read_matrix("demo").name == "demo"
    assert read_matrix("./demo").models == ("resnet20",)
    assert read_matrix("mine").models == ("resnet32",)
    assert read_matrix(str(file)).models == ("mlp",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dmeo", r"unknown preset 'dmeo': did you mean demo\? valid: .*; and there is no such file"),
        ("dmeo.yaml", "cannot read dmeo.yaml: No such file or directory"),
        ("folder/demo", "cannot read folder/demo: No such file or directory"),
    ],
)
def test_neither_a_preset_nor_a_file_is_one_line(file: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        read_matrix(name)


@pytest.mark.parametrize("name", ["dmeo", "../presets/demo", "m.yaml", ""])
def test_a_preset_name_is_no_way_to_other_files(file: Path, name: str) -> None:
    file.write_text("models: [mlp]\n")
    with pytest.raises(UsageError, match=r"^unknown preset"):
        load_preset(name)


def test_the_published_schema_is_that_of_the_code() -> None:
    hint = "write it anew: python -m launch schema > launch/matrix.schema.json"
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), hint
    assert json.loads(schema_text()) == matrix_schema()


def test_the_schema_has_every_key_and_describes_those_of_a_matrix() -> None:
    schema = matrix_schema()
    assert set(schema["properties"]) == set(Matrix.model_fields)
    for part in (Match, Override, Include, Exclude):
        assert set(schema["$defs"][part.__name__]["properties"]) == set(part.model_fields)
    undescribed = {name for name, value in schema["properties"].items() if "description" not in value}
    assert undescribed == set()
    assert set(AXES) == set(schema["$defs"]["Match"]["properties"])


def test_the_example_of_the_documentation_is_a_matrix(file: Path) -> None:
    text = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    expanded = expand_matrix(read_matrix("m.yaml"))
    assert len(expanded.cells) == 3 * 3 * (3 + 1)  # three seeds in bf16, one in fp32; one out, one in
    assert [cell.label() for cell, _ in expanded.excluded] == ["vit_tiny none fp32 seed 0"]
    assert expanded.cells[-1].label() == "resnet18 cutmix bf16 seed 0"
