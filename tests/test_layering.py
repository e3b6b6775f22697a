"""Who may import whom, read from the source with `ast`: each check returns its violations as lines."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[1]

CHAIN = ("models", "harness", "results", "launch")
"""A package imports only from itself and those to its left."""

ENTRY_SCRIPT = "harness/run.py"
"""Wires everything together, so it may import from the whole chain."""

HEAVY = ("torch", "torchvision", "accelerate", "deepspeed")
"""They take seconds to load; commands that only read records must start at once."""

LIGHT = (
    "launch/**/*.py",
    "results/**/*.py",
    "models/registry.py",
    "harness/errors.py",
    "harness/files.py",
    "harness/cell.py",
    "harness/record.py",
    "harness/live.py",
    "harness/outcome.py",
    "harness/settings.py",
    "harness/tether.py",
    "harness/augment/names.py",
    "harness/corruptions/names.py",
    "harness/datasets/base.py",
    "harness/datasets/cache.py",
    "harness/datasets/cifar10.py",
    "harness/datasets/digits.py",
    "harness/datasets/download.py",
    "harness/datasets/imagefolder.py",
    "harness/datasets/names.py",
    "harness/datasets/registry.py",
    "harness/datasets/splits.py",
)
"""The files that load nothing heavy, neither themselves nor through what they import."""

When = Literal["load", "call", "typing"]


@dataclass(frozen=True)
class Import:
    """A module that a file imports: when it loads, when a function is called, or for types alone."""

    module: str
    line: int
    when: When

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


@cache  # most files are loaded by many others
def imports_of(path: Path, root: Path) -> list[Import]:
    """Every import of a file; `from a import b` counts as `a` and as `a.b`, which may be a module."""
    found = []
    for node, when in _import_statements(ast.parse(path.read_text(encoding="utf-8")), "load"):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            package = ".".join(path.relative_to(root).parts[:-1])
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            modules = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        found += [Import(module, node.lineno, when) for module in modules]
    return found


def _import_statements(node: ast.AST, when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, when
    elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for statement in node.body:
            yield from _import_statements(statement, "typing")
        for statement in node.orelse:
            yield from _import_statements(statement, when)
    else:
        in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and when == "load"
        for child in ast.iter_child_nodes(node):
            yield from _import_statements(child, "call" if in_function else when)


def against_the_chain(root: Path) -> list[str]:
    """Imports, even lazy or for types, of a package to the right."""
    found = set()
    for position, package in enumerate(CHAIN):
        forbidden = (*CHAIN[position + 1 :], "benchmarks", "tests")
        for path in (root / package).rglob("*.py"):
            name = path.relative_to(root).as_posix()
            if name != ENTRY_SCRIPT:
                imports = [each for each in imports_of(path, root) if each.package in forbidden]
                found |= {f"{name}:{each.line} imports {each.package}" for each in imports}
    return sorted(found)


def heavy_imports(root: Path) -> list[str]:
    """Heavy packages that a light file imports anywhere, or loads through a module of the project."""
    found = set()
    for path in {path for pattern in LIGHT for path in root.glob(pattern)}:
        name = path.relative_to(root).as_posix()
        found |= {
            f"{name}:{each.line} imports {each.package}"
            for each in imports_of(path, root)
            if each.package in HEAVY and each.when != "typing"
        }
        for loaded in _loaded_with(path, root) - {path}:
            via = loaded.relative_to(root).as_posix()
            found |= {
                f"{name} loads {each.package} through {via}:{each.line}"
                for each in imports_of(loaded, root)
                if each.package in HEAVY and each.when == "load"
            }
    return sorted(found)


def _loaded_with(path: Path, root: Path) -> set[Path]:
    """The file itself and every file of the project that is loaded when it is."""
    loaded, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        loaded.add(current)
        for each in imports_of(current, root):
            target = root / f"{each.module.replace('.', '/')}.py"
            if each.when == "load" and target.is_file() and target not in loaded:
                waiting.append(target)
    return loaded


def filled_init_files(root: Path) -> list[str]:
    paths = [path for package in CHAIN for path in (root / package).rglob("__init__.py")]
    return sorted(path.relative_to(root).as_posix() for path in paths if path.read_bytes())


def shadowing_names(root: Path) -> list[str]:
    """Files and folders that would hide another module when `harness/` itself is first on `sys.path`."""
    taken = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), *CHAIN}
    modules = [path for path in (root / "harness").iterdir() if path.suffix == ".py" or path.is_dir()]
    return sorted(path.relative_to(root).as_posix() for path in modules if path.stem in taken)


CHECKS = [against_the_chain, heavy_imports, filled_init_files, shadowing_names]


@pytest.mark.parametrize("check", CHECKS)
def test_the_project_keeps_the_rule(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


def test_light_modules_leave_torch_out_of_a_real_process() -> None:
    modules = [
        module
        for module in (
            "harness.record",
            "harness.live",
            "harness.tether",
            "models.registry",
            "results.__main__",
            "launch.__main__",
        )
        if (ROOT / f"{module.replace('.', '/')}.py").exists()
    ]
    code = f"import sys, {', '.join(modules)}; print([name for name in {HEAVY} if name in sys.modules])"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stdout == "[]\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project that keeps every rule."""
    files = {
        "models/__init__.py": "",
        "models/registry.py": "if TYPE_CHECKING:\n    from torch import nn\nelse:\n    nn = None\n",
        "models/layers.py": "import torch.nn\n",
        "harness/__init__.py": "",
        "harness/record.py": "import json\nfrom harness import files\nfrom .cell import Cell\n",
        "harness/cell.py": "from models.registry import nn\n",
        "harness/files.py": "def late():\n    import harness.train\n",
        "harness/train.py": "import accelerate\nfrom models import layers\n",
        "harness/run.py": "import torch\nfrom launch import plan\nfrom results import table\n",
        "results/__init__.py": "",
        "results/table.py": "from harness.record import json\n",
        "launch/__init__.py": "",
        "launch/plan.py": "import results.table\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_tree_that_keeps_the_rules_has_no_violations(tree: Path) -> None:
    assert [violation for check in CHECKS for violation in check(tree)] == []


@pytest.mark.parametrize(
    ("check", "name", "text", "violations"),
    [
        (
            against_the_chain,
            "models/layers.py",
            "import harness.cell",
            ["models/layers.py:1 imports harness"],
        ),
        (
            against_the_chain,
            "harness/cell.py",
            "from results import x",
            ["harness/cell.py:1 imports results"],
        ),
        (
            against_the_chain,
            "results/table.py",
            "\ndef late():\n    import launch.plan as plan",
            ["results/table.py:3 imports launch"],
        ),
        (
            against_the_chain,
            "models/registry.py",
            "if TYPE_CHECKING:\n    from results.table import Table",
            ["models/registry.py:2 imports results"],
        ),
        (against_the_chain, "harness/clock.py", "import tests.fakes", ["harness/clock.py:1 imports tests"]),
        (
            heavy_imports,
            "launch/plan.py",
            "def late():\n    from torch import cuda",
            ["launch/plan.py:2 imports torch"],
        ),
        (
            heavy_imports,
            "harness/cell.py",
            "import models.layers",
            [
                "harness/cell.py loads torch through models/layers.py:1",
                "harness/record.py loads torch through models/layers.py:1",
                "launch/plan.py loads torch through models/layers.py:1",
                "results/table.py loads torch through models/layers.py:1",
            ],
        ),
        (
            heavy_imports,
            "launch/plan.py",
            "try:\n    from harness import train\nexcept ImportError:\n    raise",
            [
                "launch/plan.py loads accelerate through harness/train.py:1",
                "launch/plan.py loads torch through models/layers.py:1",
            ],
        ),
        (filled_init_files, "harness/__init__.py", "from harness import cell", ["harness/__init__.py"]),
        (shadowing_names, "harness/queue.py", "", ["harness/queue.py"]),
        (shadowing_names, "harness/numpy/__init__.py", "", ["harness/numpy"]),
        (shadowing_names, "harness/models.py", "", ["harness/models.py"]),
    ],
)
def test_a_planted_violation_is_found(
    tree: Path, check: Callable[[Path], list[str]], name: str, text: str, violations: list[str]
) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text(text)
    assert check(tree) == violations
