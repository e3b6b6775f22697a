"""Matrix files: YAML that people write, and the presets that are shipped. No torch here.

matrix = read_matrix("cifar10-quick")       # a preset
matrix = read_matrix("matrix.yaml")         # errors name the line
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from harness.errors import UsageError, unknown_name
from launch.matrix.matrix import Matrix, make_matrix
from launch.matrix.strict_yaml import read_yaml

PRESETS_DIR = Path(__file__).resolve().parent.parent / "presets"
SCHEMA_PATH = Path(__file__).resolve().parent.parent / "matrix.schema.json"


class _Untitled(GenerateJsonSchema):
    """Leaves out titles, which only say the key again."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def preset_names() -> list[str]:
    """The presets that are shipped."""
    return sorted(path.stem for path in PRESETS_DIR.glob("*.yaml"))


def read_matrix(path_or_preset: str) -> Matrix:
    """The matrix in a YAML file, or the preset of that name.

    A word without a slash and without `.yaml` or `.yml` at its end is a preset first, and a file only
    where there is no such preset.

    Raises:
        UsageError: there is neither, or what is in it is no matrix; one line says where and what.
    """
    names, path = preset_names(), Path(path_or_preset)
    if path_or_preset in names:
        return _read(PRESETS_DIR / f"{path_or_preset}.yaml")
    if path.suffix in (".yaml", ".yml") or path.name != path_or_preset or path.is_file():
        return _read(path)
    raise UsageError(f"{unknown_name('preset', path_or_preset, names)}; and there is no such file")


def load_preset(name: str) -> Matrix:
    """A shipped preset.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    return read_matrix(name)


def matrix_schema() -> dict[str, Any]:
    """The JSON schema of a matrix file, as in `matrix.schema.json`."""
    schema = Matrix.model_json_schema(schema_generator=_Untitled)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Verdict matrix"}
    return head | {key: value for key, value in schema.items() if key not in head}


def schema_text() -> str:
    """The same as the text of the file."""
    return json.dumps(matrix_schema(), indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> Matrix:
    values, source = read_yaml(path)
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys with values, such as 'models: [mlp]'")
    return make_matrix(values, source)
