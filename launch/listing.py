"""What a cell can name: models, augmentations and recipes, as tables. No torch here."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from harness.augment.names import AUGMENTATIONS, MIXING, OPERATIONS
from harness.recipes import RECIPES
from models.external import SOURCES
from models.registry import MODELS


def print_listing(console: Console) -> None:
    """Print every name that `--model`, `--augment` and `--recipe` take."""
    models = _table("--model", "where it comes from")
    for name, entry in MODELS.items():
        models.add_row(name, entry.source)
    for source in SOURCES:
        models.add_row(f"{source}:NAME", f"any classifier of {source}; see --small-stem for small images")
    augmentations = _table("--augment", "operations on a batch, in this order")
    for name, operations in AUGMENTATIONS.items():
        augmentations.add_row(name, " + ".join(operations))
    augmentations.add_row("A+B+...", f"any of {', '.join(OPERATIONS)}; last, perhaps, {' or '.join(MIXING)}")
    recipes = _table("--recipe", "how long, and with which augmentation where none is named")
    for name, recipe in RECIPES.items():
        recipes.add_row(name, f"{recipe.summary}; {recipe.augmentation}")
    for table in (models, augmentations, recipes):
        console.print(table)
        console.print()


def _table(option: str, meaning: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(option, no_wrap=True, style="bold")
    table.add_column(meaning)
    return table
