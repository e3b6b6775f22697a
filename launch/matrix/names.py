"""What can stand in a field of a matrix: names that are looked up, lists, recipe fields. No torch here.

Each is a type for pydantic: it refuses what no cell could have, and tells the JSON schema what there is.
"""

from __future__ import annotations

import difflib
import functools
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import PydanticCustomError, core_schema
from typing_extensions import TypeAliasType

from harness.augment.names import AUGMENTATIONS, MIXING, OPERATIONS
from harness.cell import make_cell
from harness.datasets.names import DATASET_KINDS
from harness.errors import UsageError
from harness.recipe import Recipe
from harness.recipes import RECIPES, recipe_for, recipe_named
from models.external import SOURCES
from models.registry import MODELS

COMPLETE = "complete"
"""Type of the errors of pydantic whose message says all."""

Schema = dict[str, Any]
T = TypeVar("T")

_SAMPLE = {"dataset": "digits", "model": "timm:any", "augmentation": "none", "precision": "fp32"}
"""A cell that can have any single field replaced by any good name."""


@dataclass(frozen=True)
class _Shown:
    """What the JSON schema says about a type; made when it is asked for."""

    make: Callable[[], Schema]

    def __get_pydantic_json_schema__(self, _: Any, __: GetJsonSchemaHandler) -> Schema:
        return self.make()


class _OneOrMore:
    """Lets a lone value stand for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_before_validator_function(_as_list, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Schema:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def _as_list(value: Any) -> Any:
    return value if value is None or isinstance(value, list | tuple) else (value,)


def refuse(message: str) -> PydanticCustomError:
    """The error for a value of a matrix, to be raised where pydantic validates it."""
    return PydanticCustomError(COMPLETE, "{message}", {"message": textwrap.shorten(message, 2000)})


def near(name: str, valid: Iterable[str]) -> str:
    """The end of an error about a name: what may have been meant, or else what there is."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    quoted = " or ".join(f"'{each}'" for each in close)
    return f"did you mean {quoted}?" if close else f"there are {', '.join(names)}"


def _as_in_a_cell(field: str, value: str) -> str:
    try:
        return _checked(field, value)
    except UsageError as error:
        raise refuse(str(error)) from None


@functools.lru_cache(maxsize=1024)
def _checked(field: str, value: str) -> str:
    checked: str = getattr(make_cell(**_SAMPLE | {"recipe": _sample_recipe(), field: value}), field)
    return checked


@functools.cache
def _sample_recipe() -> Recipe:
    return recipe_for(_SAMPLE["model"], "demo", {})


def _recipe(name: str) -> str:
    try:
        recipe_named(name)
    except UsageError as error:
        raise refuse(str(error)) from None
    return name


def _recipe_field(name: str) -> str:
    if name not in Recipe.model_fields:
        raise refuse(f"recipe: there is no '{name}': {near(name, Recipe.model_fields)}")
    return name


def _recipe_schema() -> Schema:
    schema = Recipe.model_json_schema()
    for field in schema["properties"].values():
        field.pop("default", None)  # of `Recipe`, not of the recipe whose fields are replaced
        del field["title"]
    return {"type": "object", "properties": schema["properties"], "additionalProperties": False}


def _model_schema() -> Schema:
    return {"anyOf": [{"enum": list(MODELS)}, {"type": "string", "pattern": f"^({'|'.join(SOURCES)}):.+"}]}


def _augmentation_schema() -> Schema:
    operation = f"({'|'.join(OPERATIONS)})"
    composed = rf"^{operation}(\+{operation})*(\+({'|'.join(MIXING)}))?$"
    return {"anyOf": [{"enum": list(AUGMENTATIONS)}, {"type": "string", "pattern": composed}]}


def _dataset_schema() -> Schema:
    plain = [kind for kind in DATASET_KINDS if kind != "imagefolder"]
    return {"anyOf": [{"enum": plain}, {"type": "string", "pattern": "^imagefolder:.+"}]}


def _weights_schema() -> Schema:
    return {"anyOf": [{"enum": ["hub", "package"]}, {"type": "string", "pattern": "^file:.+"}]}


def _no_yes(value: Any) -> Any:
    if isinstance(value, bool):
        raise refuse(f"expected a number, not {'yes' if value else 'no'}")
    return value


def _name_of(field: str) -> AfterValidator:
    return AfterValidator(functools.partial(_as_in_a_cell, field))


OneOrMore = Annotated[tuple[T, ...], Field(min_length=1), _OneOrMore()]

# as named types, which the JSON schema describes once
DatasetName = TypeAliasType("DatasetName", Annotated[str, _name_of("dataset"), _Shown(_dataset_schema)])
ModelName = TypeAliasType("ModelName", Annotated[str, _name_of("model"), _Shown(_model_schema)])
AugmentationName = TypeAliasType(
    "AugmentationName", Annotated[str, _name_of("augmentation"), _Shown(_augmentation_schema)]
)
"""In its shortest form: `flip_crop` for `flip+crop`."""

Weights = TypeAliasType("Weights", Annotated[str, _name_of("pretrained"), _Shown(_weights_schema)])
RecipeName = TypeAliasType(
    "RecipeName", Annotated[str, AfterValidator(_recipe), _Shown(lambda: {"enum": list(RECIPES)})]
)
RecipeFields = TypeAliasType(
    "RecipeFields",
    Annotated[dict[Annotated[str, AfterValidator(_recipe_field)], Any], _Shown(_recipe_schema)],
)
NumProcesses = TypeAliasType(
    "NumProcesses", Annotated[int, BeforeValidator(_no_yes), Field(json_schema_extra={"minimum": 1})]
)
"""A cell that has less than one is refused as it is."""

Seed = TypeAliasType("Seed", Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(_no_yes)])
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
