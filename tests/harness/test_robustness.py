from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import robustness
from harness.adversarial import NUM_STEPS
from harness.asking import Answers, Indices, Ledger
from harness.corruptions.registry import corrupt
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import Normalizer
from harness.datasets.shifted import CLASS_NAMES, Cifar10C, Cifar101, Published, open_published
from harness.errors import DivergedError, UsageError
from harness.precision import make_autocast
from harness.process import Process
from harness.robustness import (
    LEVELS,
    Arrays,
    Level,
    measure_robustness,
    num_pieces,
    spread,
)
from harness.shifts import CHANGES, flip
from tests.harness.robustness_processes import measure
from tests.harness.run_helpers import run_two

CPU = torch.device("cpu")
NORMALIZE = Normalizer((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 12, CPU)
FP32 = make_autocast("fp32", CPU)
NUM_IMAGES = 25


@dataclass
class Notes(Ledger):
    """Writes down what it is told."""

    done: dict[str, Answers] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    num_kept: int = 0

    def keep(self) -> None:
        self.num_kept += 1

    def tell(self, name: str, given: Answers, labels: Indices) -> None:
        assert given.predicted.shape[-1] == len(labels)
        self.told.append(name)


@dataclass(frozen=True)
class FewPublished(Cifar10C):
    """A folder of which twelve images are black, darker with the severity."""

    def images(self, name: str, severity: int) -> ImageSet:
        del name
        return ImageSet(np.full((len(self.labels), 3, 12, 12), 250 // severity, np.uint8), self.labels)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels that take no time."""
    monkeypatch.setitem(LEVELS, "quick", Level((1, 5), ("contrast", "spatter"), 10, 4))
    monkeypatch.setitem(LEVELS, "full", Level((1, 3, 5), ("contrast", "spatter"), None, 6))


@pytest.fixture
def scored(random_images: Callable[[int, int], ImageSet]) -> ImageSet:
    return random_images(NUM_IMAGES, 12)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10)).eval()


def measured(
    model: nn.Module, test: ImageSet, process: Process, level: str = "quick", **others: Any
) -> Arrays:
    return measure_robustness(level, model, test, NORMALIZE, FP32, process, **others)


def predicted_by(model: nn.Module, images: Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        classes: np.ndarray[Any, Any] = model(NORMALIZE(images)).argmax(dim=1).numpy()
    return classes


def test_nothing_is_measured_where_nothing_is_asked(
    model: nn.Module, scored: ImageSet, one_process: Process, tmp_path: Path
) -> None:
    assert measured(model, scored, one_process, "none") == {}
    robustness.write_robustness(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_level_is_refused_with_those_there_are(
    model: nn.Module, scored: ImageSet, one_process: Process
) -> None:
    with pytest.raises(UsageError, match=r"'quik': did you mean quick.* valid: full, none, quick"):
        measured(model, scored, one_process, "quik")


def scored_are_taken_at_equal_distances() -> None:
    np.testing.assert_array_equal(spread(10, 4), [0, 2, 5, 7])
    np.testing.assert_array_equal(spread(3, 1000), [0, 1, 2])
    np.testing.assert_array_equal(spread(3, None), [0, 1, 2])
    np.testing.assert_array_equal(spread(10_000, 1000), np.arange(0, 10_000, 10))


def test_classes_and_confidences_of_every_set_are_kept(
    model: nn.Module, scored: ImageSet, one_process: Process
) -> None:
    arrays = measured(model, scored, one_process)
    shapes = {"clean": (10,), "corrupted": (2, 2, 10), "changed": (len(CHANGES), 10), "attacked_pgd": (4,)}
    for name, shape in shapes.items():
        assert arrays[f"{name}_predicted"].shape == arrays[f"{name}_confidence"].shape == shape
        assert arrays[f"{name}_predicted"].dtype == np.uint8
        assert arrays[f"{name}_confidence"].dtype == np.float16
    np.testing.assert_array_equal(arrays["labels"], scored.labels[arrays["indices"]])
    np.testing.assert_array_equal(arrays["attacked_labels"], scored.labels[spread(NUM_IMAGES, 4)])
    assert arrays["corruption_is_main"].tolist() == [True, False]
    assert str(arrays["test_fingerprint"]) == scored.fingerprint()
    assert int(arrays["pgd_num_steps"]) == NUM_STEPS
    assert not any("accuracy" in name for name in arrays)


def test_the_model_answers_the_images_as_they_are_corrupted_at_their_place_in_the_test_set(
    model: nn.Module, scored: ImageSet, one_process: Process
) -> None:
    arrays = measured(model, scored, one_process)
    indices = torch.from_numpy(arrays["indices"])
    images = torch.from_numpy(scored.images)[indices]
    np.testing.assert_array_equal(arrays["clean_predicted"], predicted_by(model, images))
    for row, name in enumerate(["contrast", "spatter"]):
        for column, severity in enumerate([1, 5]):
            expected = predicted_by(model, corrupt(images, name, severity, indices))
            np.testing.assert_array_equal(arrays["corrupted_predicted"][row, column], expected)
    at = arrays["change_names"].tolist().index("flip")
    np.testing.assert_array_equal(arrays["changed_predicted"][at], predicted_by(model, flip(images)))


def test_the_full_level_takes_all_images(model: nn.Module, scored: ImageSet, one_process: Process) -> None:
    arrays = measured(model, scored, one_process, "full")
    np.testing.assert_array_equal(arrays["indices"], np.arange(NUM_IMAGES))
    assert arrays["corrupted_predicted"].shape == (2, 3, NUM_IMAGES)


def test_a_model_in_parts_is_not_attacked_and_the_file_says_why(
    model: nn.Module, scored: ImageSet, one_process: Process
) -> None:
    arrays = measured(model, scored, one_process, in_parts=True)
    assert "python -m harness.robustness" in str(arrays["attacks_unavailable"])
    assert not any(name.startswith("attacked_") for name in arrays)


def test_every_piece_is_told_and_none_that_is_done_is_asked_again(
    model: nn.Module, scored: ImageSet, one_process: Process
) -> None:
    notes = Notes()
    arrays = measured(model, scored, one_process, ledger=notes)
    assert len(notes.told) == notes.num_kept == num_pieces("quick", Published())
    del notes.done["spatter"]

    class Refusing(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise AssertionError(f"{len(inputs)} images were asked again")

    with pytest.raises(AssertionError, match="10 images were asked again"):
        measured(Refusing(), scored, one_process, ledger=notes)
    again = measured(model, scored, one_process, ledger=notes)
    assert notes.num_kept == num_pieces("quick", Published()) + 1
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)


def test_published_images_are_answered_where_they_are_there(
    model: nn.Module, one_process: Process, random_images: Callable[[int, int], ImageSet]
) -> None:
    few = FewPublished(Path("nowhere"), ("fog", "spatter"), np.arange(12) % 10)
    published = Published(few, Cifar101("v6", random_images(5, 12)))
    notes = Notes()
    test = random_images(NUM_IMAGES, 12)
    arrays = measured(model, test, one_process, published=published, ledger=notes)
    assert len(notes.told) == num_pieces("quick", published)
    assert arrays["cifar10_c_names"].tolist() == ["fog"]  # the quick level leaves out the extra ones
    assert arrays["cifar10_c_predicted"].shape == (1, 2, 10)
    darkest = torch.full((1, 3, 12, 12), 50, dtype=torch.uint8)
    assert (arrays["cifar10_c_predicted"][0, 1] == predicted_by(model, darkest)).all()
    assert arrays["cifar10_1_predicted"].shape == (5,)
    full = measured(model, test, one_process, "full", published=published)
    assert full["cifar10_c_names"].tolist() == ["fog", "spatter"]
    assert full["cifar10_c_is_main"].tolist() == [True, False]


def test_published_images_are_for_models_of_the_classes_of_cifar10(tmp_path: Path) -> None:
    (tmp_path / "CIFAR-10-C").mkdir()  # with nothing in it, which is an error for such a model
    assert open_published(("cat", "dog"), tmp_path) == Published()
    with pytest.raises(Exception, match="none of its corruptions"):
        open_published(CLASS_NAMES, tmp_path)


def test_logits_that_are_not_finite_are_an_error(scored: ImageSet, one_process: Process) -> None:
    class Broken(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.full((len(inputs), 3), torch.nan)

    with pytest.raises(DivergedError, match="not finite"):
        measured(Broken(), scored, one_process)


def test_two_processes_measure_what_one_does(tmp_path: Path, one_process: Process) -> None:
    first, second = run_two(Path(__file__).with_name("robustness_processes.py"), tmp_path)[0]
    alone = measure(one_process)
    assert first.keys() == second.keys() == alone.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(first[name], second[name])
        if name.endswith("_confidence"):
            np.testing.assert_allclose(first[name], array, atol=1e-3)
        else:
            np.testing.assert_array_equal(first[name], array)
