from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cell import CellSpec, make_cell
from harness.errors import UsageError
from harness.model import check_model, count_compute, make_model
from harness.recipes import recipe_for
from models.complexity import measure_complexity
from models.registry import build_model

CPU = torch.device("cpu")


def cell(
    model: str = "resnet20", recipe: str = "fast", fields: dict[str, Any] | None = None, **values: Any
) -> CellSpec:
    return make_cell(
        dataset="digits",
        model=model,
        augmentation="none",
        recipe=recipe_for(model, recipe, fields or {}),
        precision="fp32",
        **values,
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a resnet20 for 100 classes."""
    torch.manual_seed(5)
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet20", num_classes=100, image_size=32).state_dict(), path)
    return path


def test_a_model_starts_from_the_weights_of_a_file_but_for_the_head(weights: Path) -> None:
    built = make_model(cell(pretrained=f"file:{weights}"), 10, CPU)
    fresh = make_model(cell(), 10, CPU)
    stored = torch.load(weights, weights_only=True)
    for name, value in built.module.state_dict().items():
        if name.startswith("head"):
            assert not value.any(), name
        else:
            assert torch.equal(value, stored[name]), name
    assert "head for 100 classes left out" in built.notes[-1]
    assert (built.mean, fresh.notes) == (None, ())
    assert built.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    first, again, other = (make_model(cell(seed=seed), 10, CPU).module for seed in (0, 0, 1))
    assert torch.equal(first.state_dict()["head.weight"], again.state_dict()["head.weight"])
    assert not torch.equal(first.state_dict()["head.weight"], other.state_dict()["head.weight"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pretrained": "file:/nowhere/weights.pt"}, "no file of weights at /nowhere/weights.pt"),
        ({"model": "torchvision:resnet19"}, "unknown model 'torchvision:resnet19': did you mean"),
        ({"model": "torchvision:inception_v3"}, "cannot take 32x32 images: try"),
    ],
)
def test_a_model_that_cannot_be_made_is_one_clear_line(values: dict[str, Any], message: str) -> None:
    bad = cell(**values)
    for make in (
        lambda: make_model(bad, 10, CPU),
        lambda: check_model(bad.model, 10, bad.image_size, bad.small_stem, bad.pretrained),
    ):
        with pytest.raises(UsageError, match=message) as raised:
            make()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["mlp", "simple_cnn", "vit_tiny", "mlp_mixer"])
def test_progressive_resizing_of_a_model_for_one_size_is_one_clear_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"model '{name}' is built for images of 32 pixels .*start_scale"):
        count_compute(cell(name, fields={"start_scale": 0.75}), 10, num_fit=300, steps_per_epoch=2)


def test_a_small_stem_is_told_in_the_notes() -> None:
    built = make_model(cell("torchvision:resnet18", small_stem=True), 10, CPU)
    assert built.notes[0].startswith("conv1 7x7 stride 2 -> 3x3 stride 1")
    facts = count_compute(cell("torchvision:resnet18", small_stem=True), 10, 100, 1)
    assert facts.num_params == 11_173_962  # of our resnet18


def test_compute_of_a_training_is_that_of_its_images() -> None:
    facts = count_compute(cell(fields={"epochs": 3}), 10, num_fit=300, steps_per_epoch=2)
    with torch.device("meta"):
        whole = measure_complexity(build_model("resnet20", 10, 32), 32)
    assert facts.train_flops_per_image == whole.train_flops_per_image
    assert facts.total_train_flops == 3 * 2 * 128 * whole.train_flops_per_image


def test_smaller_images_of_progressive_resizing_count_for_less() -> None:
    fields = {"epochs": 2, "start_scale": 0.5, "full_scale_at": 1.0}  # 16 pixels, then 24
    facts = count_compute(cell(fields=fields), 10, num_fit=128, steps_per_epoch=1)
    with torch.device("meta"):
        model = build_model("resnet20", 10, 32)
    expected = sum(measure_complexity(model, size).train_flops_per_image for size in (16, 24))
    assert facts.total_train_flops == 128 * expected


def test_a_model_without_a_single_head_at_its_end_cannot_be_probed(weights: Path) -> None:
    probe = cell("fast_cnn", "probe", pretrained=f"file:{weights}")
    with pytest.raises(UsageError, match="FastCNN does more after its head: it cannot be split"):
        count_compute(probe, 10, num_fit=600, steps_per_epoch=1)


def test_frozen_layers_cost_no_gradients_and_features_are_computed_once(weights: Path) -> None:
    source = f"file:{weights}"
    costs = {
        name: count_compute(
            cell(recipe=name, fields={"epochs": 4, "batch_size": 128}, pretrained=source), 10, 300, 2
        )
        for name in ("finetune", "gradual", "probe")
    }
    head = 3 * 2 * 64 * 10 - 2 * 64 * 10  # forward, and the gradient of its weights
    features = 300 * costs["probe"].forward_flops_per_image
    assert costs["probe"].total_train_flops == features + 4 * 2 * 128 * head
    assert costs["gradual"].total_train_flops < 0.8 * costs["finetune"].total_train_flops
