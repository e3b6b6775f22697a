from __future__ import annotations

from harness import errors
from harness.errors import UsageError, VerdictError, unknown_name


def every_subclass(base: type[VerdictError]) -> list[type[VerdictError]]:
    return [base] + [each for child in base.__subclasses__() for each in every_subclass(child)]


def test_each_error_has_a_kind_of_its_own_and_is_drawn_in_the_module_docstring() -> None:
    kinds = {error.__name__: error.kind for error in every_subclass(VerdictError)}
    assert len(set(kinds.values())) == len(kinds)
    assert [name for name in kinds if name not in (errors.__doc__ or "")] == []


def test_unknown_name_suggests_near_names_first_and_lists_every_valid_one() -> None:
    error = unknown_name("model", "resnet8", ["resnet20", "mlp", "resnet18"])
    assert isinstance(error, UsageError)
    assert str(error) == (
        "unknown model 'resnet8': did you mean resnet18 or resnet20? valid: mlp, resnet18, resnet20"
    )


def test_unknown_name_without_a_near_one_makes_no_guess() -> None:
    assert str(unknown_name("model", "xyz", iter(["mlp"]))) == "unknown model 'xyz': valid: mlp"
