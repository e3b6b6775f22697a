"""Every command in the documentation exists, and what a page says runs does run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs_pages import ROOT, blocks_of, commands_in, models_added_by, problems_of, run_page

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LONGEST_S = 540


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.name


def unmarked_lines(page: str) -> list[int]:
    return [block.line for block in blocks_of(page) if block.language == "bash" and not block.is_marked]


def command_problems(page: str) -> list[str]:
    blocks = blocks_of(page)
    models = models_added_by(blocks)
    return [
        f"line {block.line}: {problem}"
        for block in blocks
        if block.language == "bash"
        for command in commands_in(block.text)
        for problem in problems_of(command, models)
    ]


RUNNING = [page for page in PAGES if any(block.runs for block in blocks_of(text_of(page)))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_bash_block_says_whether_it_is_run(page: Path) -> None:
    assert unmarked_lines(text_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_one_that_there_is(page: Path) -> None:
    assert command_problems(text_of(page)) == []


def test_the_index_leads_to_every_page() -> None:
    index = text_of(DOCS / "index.md")
    pages = [page.name for page in DOCS.glob("*.md") if page.name != "index.md"]
    assert [name for name in sorted(pages) if f"]({name})" not in index] == []


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_S + 60)
@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_what_a_page_says_runs_does_run(page: Path, tmp_path: Path) -> None:
    code, output = run_page(text_of(page), tmp_path, LONGEST_S)
    assert code == 0, output[-6000:]


def page_with(command: str, marker: str = "<!-- needs: time -->") -> str:
    return f"# A page\n\n{marker}\n```bash\n{command}\n```\n"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python -m launch run demo --job 2", "--job"),
        ("python harness/run.py --model mlp --epoch 3", "--epoch"),
        ("accelerate launch --multi_gpu harness/run.py --data cifar10", "--data"),
        ("torchrun --nproc-per-node 2 harness/run.py --epochs many", "--epochs"),
        ("python -m results rank runs/", "no such command: rank"),
        ("python -m results compare", "Missing argument"),
        ("python -m launch run cifar11-quick", "cifar11-quick"),
        ("python harness/run.py --model mlp,resnet19", "resnet19"),
        ("python harness/run.py --augment flip_crop,mixout", "mixout"),
        ("python harness/run.py --recipe fast,slow", "slow"),
        ("python harness/run.py --precision int8", "int8"),
        ("python harness/run.py --dataset cifar100", "cifar100"),
        ("python -m results.ranking runs/", "results.ranking"),
        ("best=$(python -m results leaderboard runs/ --best | tail -n 1)", "--best"),
        ("python -m launch run demo \\\n    --epochs 2 \\\n    --shuffel", "--shuffel"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, complaint: str) -> None:
    problems = command_problems(page_with(command))
    assert len(problems) == 1
    assert problems[0].startswith("line 5: ")
    assert complaint in problems[0]


@pytest.mark.parametrize(
    "command",
    [
        "python harness/run.py $options --model mlp,timm:resnet18 --augment flip+crop  # --no-such",
        "ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 harness/run.py --model A,B ...",
        "python -m results show runs/<cell_id> --json | head -n 3",
        "python -m launch run my_matrix.yaml --then 'echo done; date' && python -m launch status",
        "pip install --no-such-option verdict-bench",
        "python -m pytest --no-such-option",
        "python -m results audit --help",
    ],
)
def test_what_exists_or_is_not_ours_is_not_complained_about(command: str) -> None:
    assert command_problems(page_with(command)) == []


def test_a_model_that_the_page_adds_is_known_on_that_page() -> None:
    entry = '```python\n    "two_convs": ModelEntry("models.two_convs", "two_convs", "an example"),\n```\n'
    command = "python harness/run.py --model two_convs"
    assert command_problems(page_with(command)) != []
    assert command_problems(entry + page_with(command)) == []


@pytest.mark.parametrize("marker", ["", "<!-- needs: -->", "<!-- run -->", "<!-- runs -->\n"])
def test_a_block_without_a_marker_right_above_it_is_found(marker: str) -> None:
    page = page_with("ls", marker)
    assert unmarked_lines(page) == [len(page.splitlines()) - 1]


def test_blocks_run_in_order_in_a_copy_of_the_sources(tmp_path: Path) -> None:
    page = """
<!-- file: notes/a.txt -->
```text
written
```
<!-- runs -->
```bash
value=kept
cat notes/a.txt
```
<!-- needs: time -->
```bash
exit 3
```
<!-- runs -->
```python
import models.registry
print(models.registry.__file__)
```
<!-- insert: models/registry.py: MODELS: dict[str, ModelEntry] = { -->
```python
    # inserted
```
<!-- runs -->
```bash
echo $value
grep -c inserted models/registry.py
```
"""
    code, output = run_page(page, tmp_path, LONGEST_S)
    lines = [line for line in output.splitlines() if not line.startswith("--- ")]
    registry = Path(os.path.realpath(tmp_path), "models", "registry.py")
    assert (code, lines) == (0, ["written", str(registry), "kept", "1"])


def test_a_command_that_fails_fails_the_page(tmp_path: Path) -> None:
    page = "<!-- runs -->\n```bash\nfalse | cat\necho on\n```\n"
    code, output = run_page(page, tmp_path, LONGEST_S)
    assert code != 0
    assert "on" not in output.splitlines()
