from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import MODELS

ROOT = Path(__file__).parents[2]


def test_the_registry_loads_without_torch() -> None:
    code = "import sys, models.registry; print('torch' in sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stdout == "False\n"


@pytest.mark.parametrize("name", MODELS)
def test_each_entry_points_to_a_function_of_its_module(name: str) -> None:
    entry = MODELS[name]
    tree = ast.parse((ROOT / f"{entry.module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [argument.arg for argument in functions[entry.function].args.args] == ["num_classes", "image_size"]


def test_each_entry_says_where_the_model_comes_from() -> None:
    assert [name for name, entry in MODELS.items() if not entry.source.strip()] == []
