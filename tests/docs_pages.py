"""The code blocks of Markdown pages: their markers, the command lines in them, and how to run a page.

    blocks = blocks_of(Path("docs/quickstart.md").read_text())
    for command in commands_in(blocks[0].text):
        problems_of(command, models=())

A marker is an HTML comment on the line above a block:

    <!-- runs -->                           it is run: bash as it is, python as a file
    <!-- needs: CUDA GPUs -->               it is not, and this is why
    <!-- file: models/two_convs.py -->      it is what that file holds, before anything runs
    <!-- insert: models/registry.py: X -->  it stands in that file, right after the line X
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, get_args

import typer

from harness.augment.names import operations_of
from harness.cell import Precision, StrategyName
from harness.datasets.names import split_dataset_name
from harness.errors import UsageError
from harness.recipes import recipe_named
from launch.matrix.files import preset_names
from models.external import SOURCES
from models.registry import MODELS

ROOT = Path(__file__).parents[1]
SOURCE_FOLDERS = ("models", "harness", "results", "launch")
SOURCE_FILES = ("pyproject.toml", "accelerate_config.yaml")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_PLACEHOLDER = re.compile(r"<(\w+)>")
_OPERATOR = re.compile(r"[();<>|&]+")
_NOT_SAID = re.compile(r"[A-Z]+|.*\$.*")
"""A name that the reader has to fill in, or that the shell does."""

# The base of "no such option", "missing argument", ...; see harness/console.py.
_BAD_WORDS: Any = typer.BadParameter.__mro__[1]


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    line: int
    """Of its first line in the page."""

    language: str
    marker: str | None
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is run."""
        return self.marker == "runs"

    @property
    def is_marked(self) -> bool:
        """Whether it says if it is run, and what it needs if not."""
        return self.runs or re.fullmatch(r"needs: \S.*", self.marker or "") is not None


def blocks_of(page: str) -> list[Block]:
    """Every code block of the text of a page, in order."""
    return [
        Block(page.count("\n", 0, found.start("text")) + 1, found["language"], found["marker"], found["text"])
        for found in _BLOCK.finditer(page)
    ]


def commands_in(text: str) -> list[list[str]]:
    """The words of each simple command of a shell script that names Python or `harness/run.py`.

    Lines that end in a backslash are joined, comments cut, `$name` and `...` left out, and what a pipe, a
    redirection or a substitution holds is a command of its own.
    """
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        if "python" not in line and "harness/run.py" not in line:
            continue
        lexer = shlex.shlex(_PLACEHOLDER.sub(r"\1", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for is_operator, words in groupby(lexer, key=lambda word: bool(_OPERATOR.fullmatch(word))):
            if not is_operator:
                commands.append([word for word in words if not re.fullmatch(r"\$\w+|\.\.\.", word)])
    return commands


def problems_of(command: Sequence[str], models: Collection[str]) -> list[str]:
    """What is wrong with a command, where it is one of ours.

    Args:
        command: its words.
        models: names of models that the page adds to the registry.
    """
    found = _program(command)
    if found is None:
        return []
    program, words = found
    if program.partition(".")[0] not in SOURCE_FOLDERS:
        return []
    try:
        problem = _wrong_words(program, words)
    except ModuleNotFoundError as error:
        return [f"python -m {program}: {error}"]
    return [] if problem is None and not words else [*filter(None, [problem]), *_unknown_names(words, models)]


def models_added_by(blocks: Sequence[Block]) -> set[str]:
    """The models for which a page has an entry of the registry."""
    return {name for block in blocks for name in re.findall(r'"(\w+)": ModelEntry\(', block.text)}


def run_page(page: str, folder: Path, timeout_s: float) -> tuple[int, str]:
    """Run what a page says runs, in one bash, on a copy of the sources; exit code and output.

    Args:
        page: its text.
        folder: an empty one.
        timeout_s: after which everything is killed.
    """
    _copy_sources(folder)
    blocks = blocks_of(page)
    _prepare_files(blocks, folder)
    script = folder / "page.sh"
    script.write_text(_script(blocks, folder), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    child = subprocess.Popen(
        ["bash", script.name],
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "110"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
    return child.returncode, output


def _program(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module that a command starts, and the words after it; None for other programs."""
    words = list(command)
    for place, word in enumerate(words):
        if word.endswith("harness/run.py"):
            return "harness.run", words[place + 1 :]
    for place, (before, word) in enumerate(pairwise(words)):
        if word == "-m" and before.endswith("python") and place + 2 < len(words):
            return words[place + 2], words[place + 3 :]
    return None


def _wrong_words(program: str, words: list[str]) -> str | None:
    """Why the command line of a program does not take these words; None where it does."""
    command = _command_line(program)
    if command is None:
        known = _help_text(program)
        unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        return f"{program}: no such option: {', '.join(unknown)}" if unknown else None
    rest = list(words)
    if hasattr(command, "commands"):
        name = next(iter(rest), "--help")
        if name == "--help":
            return None
        if name not in command.commands:
            return f"{program}: no such command: {name}"
        command, rest = command.commands[name], rest[1:]
    if "--help" in rest:
        return None
    try:
        command.make_context(program, rest)
    except _BAD_WORDS as error:
        return f"{program}: {error.format_message()}"
    return None


@cache
def _command_line(program: str) -> Any:
    """The typer command of a program; None where it has none."""
    inside = {
        "launch": "launch.__main__",
        "results": "results.__main__",
        "harness.robustness": "harness.robustness_command",
    }
    module = importlib.import_module(inside.get(program, program))
    return typer.main.get_command(module.app) if hasattr(module, "app") else None


@cache
def _help_text(program: str) -> str:
    command = [sys.executable, "-m", program, "--help"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120, env=_plain_environment()
    ).stdout


def _plain_environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}


def _unknown_names(words: Sequence[str], models: Collection[str]) -> Iterator[str]:
    """Names after options, and the matrix after `run` and `plan`, that there are not."""
    if len(words) > 1 and words[0] in ("run", "plan"):
        words = ["--preset", *words[1:]]
    for option, value in _values(words):
        for name in value.split(","):
            if not _NOT_SAID.fullmatch(name) and option in _CHECKS:
                yield from _complaint(_CHECKS[option], option, name, models)


def _values(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option with the word after it, or behind its equals sign."""
    for word, following in pairwise([*words, "--"]):
        option, equals, value = word.partition("=")
        if option.startswith("--") and (equals or not following.startswith("--")):
            yield option, value if equals else following


Check = Callable[[str, Collection[str]], object]


def _complaint(check: Check, option: str, name: str, models: Collection[str]) -> Iterator[str]:
    try:
        check(name, models)
    except UsageError as error:
        yield f"{option} {name}: {error}"


def _among(known: Collection[str]) -> Check:
    def check(name: str, _: Collection[str]) -> None:
        if name not in known:
            raise UsageError(f"is none of {', '.join(known)}")

    return check


def _check_model(name: str, models: Collection[str]) -> None:
    if name not in {*MODELS, *models} and name.partition(":")[0] not in SOURCES:
        raise UsageError("is no model of the registry")


def _check_matrix(name: str, _: Collection[str]) -> None:
    if name not in preset_names() and not name.endswith((".yaml", ".yml")):
        raise UsageError("is neither a preset nor a YAML file")


_CHECKS: dict[str, Check] = {
    "--model": _check_model,
    "--preset": _check_matrix,
    "--augment": lambda name, _: operations_of(name),
    "--recipe": lambda name, _: recipe_named(name),
    "--dataset": lambda name, _: split_dataset_name(name),
    "--precision": _among(get_args(Precision)),
    "--strategy": _among(get_args(StrategyName)),
}


def _copy_sources(folder: Path) -> None:
    for name in SOURCE_FOLDERS:
        # Files in __pycache__ come and go while other tests run; published runs are large.
        ignored = shutil.ignore_patterns("__pycache__", "published")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in SOURCE_FILES:
        shutil.copy(ROOT / name, folder / name)


def _prepare_files(blocks: Sequence[Block], folder: Path) -> None:
    for block in blocks:
        kind, _, where = (block.marker or "").partition(": ")
        if kind == "file":
            (folder / where).parent.mkdir(parents=True, exist_ok=True)
            (folder / where).write_text(block.text, encoding="utf-8")
        elif kind == "insert":
            path, _, line = where.partition(": ")
            _insert_after(folder / path, line, block.text)


def _insert_after(path: Path, line: str, text: str) -> None:
    before, found, after = path.read_text(encoding="utf-8").partition(f"{line}\n")
    assert found, f"{path.name} has no line '{line}'"
    path.write_text(before + found + text + after, encoding="utf-8")


def _script(blocks: Sequence[Block], folder: Path) -> str:
    """All blocks that run, as one script; those of Python are put into files."""
    parts = ["set -euo pipefail\n"]
    for block in blocks:
        if not block.runs:
            continue
        parts.append(f"echo '--- the block at line {block.line}'\n")
        if block.language == "python":
            name = f"block_{block.line}.py"
            (folder / name).write_text(block.text, encoding="utf-8")
            parts.append(f"python {name}\n")
        else:
            parts.append(block.text)
    return "".join(parts)
