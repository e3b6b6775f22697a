"""Whole runs along the axes of the matrix: transfer, mixing, resizing, optimizers, compilation, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.datasets.base import Dataset
from harness.errors import VerdictError
from harness.preparing import check_cell
from models.complexity import measure_complexity
from models.fast_cnn import proxy_cnn
from models.registry import MODELS, build_model
from tests.harness.run_helpers import ONE_PROCESS, RunFunction, small_cell

ADAMW = {"optimizer": "adamw", "lr": 0.003}


@pytest.fixture
def weights(run: RunFunction, tmp_path: Path) -> str:
    """Weights of a resnet20 for 100 classes, as `file:PATH`."""
    torch.manual_seed(5)
    path = tmp_path / "weights.pt"
    torch.save(build_model("resnet20", num_classes=100, image_size=32).state_dict(), path)
    return f"file:{path}"


def accuracy(predictions: dict[str, Any]) -> float:
    return float((predictions["test_logits"].argmax(axis=1) == predictions["test_labels"]).mean())


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.bf16)])
def test_a_linear_probe_learns_on_features_that_stay_as_they_are(
    run: RunFunction, weights: str, precision: str
) -> None:
    probe = {"tuning": "head", "epochs": 8, **ADAMW}
    values = {"model": "resnet20", "augmentation": "none", "pretrained": weights, "precision": precision}
    record, predictions, _ = run(recipe=probe, **values)
    assert accuracy(predictions) > 0.6
    assert record.model is not None
    assert "head for 100 classes left out" in record.model.notes[0]
    assert record.model.total_train_flops < 2 * 200 * record.model.forward_flops_per_image


def test_all_of_a_pre_trained_model_is_tuned_layer_by_layer_slower(run: RunFunction, weights: str) -> None:
    recipe = {"layer_lr_decay": 0.5, "epochs": 4, **ADAMW}
    record, predictions, _ = run(model="resnet20", pretrained=weights, recipe=recipe)
    assert record.cell.league == "pre-trained"
    assert accuracy(predictions) > 0.9


def test_gradual_unfreezing_trains_and_gives_the_same_bits_twice(run: RunFunction, weights: str) -> None:
    recipe = {"tuning": "gradual", "layer_lr_decay": 0.7, "epochs": 4, **ADAMW}
    values = {"model": "resnet20", "image_size": 16, "pretrained": weights, "recipe": recipe}
    _, predictions, steps = run("a", **values)
    _, _, again = run("b", **values)
    assert accuracy(predictions) > 0.5
    assert steps["loss"].tobytes() == again["loss"].tobytes()


@pytest.mark.parametrize("augmentation", ["mixup", "cutmix"])
def test_mixed_images_train_alike_whole_and_in_micro_batches(run: RunFunction, augmentation: str) -> None:
    _, predictions, steps = run("a", augmentation=augmentation, recipe={"epochs": 6})
    _, _, parts = run("b", augmentation=augmentation, recipe={"epochs": 6}, accumulation_steps=4)
    assert accuracy(predictions) > 0.9
    np.testing.assert_allclose(parts["loss"][:9], steps["loss"][:9], rtol=1e-4)


def test_progressive_resizing_trains_on_small_images_first_and_scores_full_ones(run: RunFunction) -> None:
    resizing = {"start_scale": 0.5, "full_scale_at": 0.7, "epochs": 3}
    values = {"model": "resnet20", "image_size": 24}
    record, predictions, _ = run(**values, recipe=resizing)
    plain, _, _ = run("plain", **values, recipe={"epochs": 3})
    assert accuracy(predictions) > 0.9
    assert record.model is not None
    assert plain.model is not None
    assert record.model.total_train_flops < 0.8 * plain.model.total_train_flops


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.bf16)])
def test_muon_trains(run: RunFunction, precision: str) -> None:
    muon = {"optimizer": "muon", "muon_lr": 0.05, "epochs": 3}
    _, predictions, _ = run(model="resnet20", recipe=muon, precision=precision)
    assert accuracy(predictions) > 0.9


@pytest.mark.parametrize("augmentation", ["flip_crop", "cutmix"])
def test_the_hardest_half_of_each_batch_is_trained_on_and_counted(
    run: RunFunction, augmentation: str
) -> None:
    selection = {"keep_hardest": 0.5, "epochs": 6}
    values = {"model": "resnet20", "image_size": 16, "augmentation": augmentation, "recipe": selection}
    record, predictions, steps = run("a", **values)
    _, _, again = run("b", **values)
    assert accuracy(predictions) > 0.9
    assert steps["loss"].tobytes() == again["loss"].tobytes()
    assert record.model is not None
    with torch.device("meta"):
        proxy = measure_complexity(proxy_cnn(num_classes=3), image_size=16)
    flops = record.model.train_flops_per_image // 2 + proxy.train_flops_per_image
    assert record.model.total_train_flops == 6 * 180 * flops


def test_images_larger_than_the_stored_ones_are_made_on_the_device(run: RunFunction) -> None:
    record, predictions, _ = run(model="resnet20", image_size=48, recipe={"epochs": 1})
    plain, _, _ = run("plain", model="resnet20", recipe={"epochs": 1})
    assert accuracy(predictions) > 0.5
    assert record.model is not None
    assert plain.model is not None
    ratio = record.model.forward_flops_per_image / plain.model.forward_flops_per_image
    assert ratio == pytest.approx(48**2 / 32**2, rel=0.01)


def test_weights_that_were_loaded_are_not_made_anew_from_the_images(
    run: RunFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fast_cnn.pt"
    torch.save(build_model("fast_cnn", num_classes=3, image_size=32).state_dict(), path)
    shown: list[int] = []
    monkeypatch.setattr(
        "models.fast_cnn.FastCNN.init_from_images", lambda _, images: shown.append(len(images))
    )
    run("loaded", model="fast_cnn", pretrained=f"file:{path}", recipe={"epochs": 1})
    assert shown == []
    run("fresh", model="fast_cnn", recipe={"epochs": 1})
    assert shown == [180]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compile": "reduce-overhead"}, "is about CUDA graphs, and this is no GPU"),
        ({"model": "torchvision:resnet19"}, "unknown model 'torchvision:resnet19'"),
        ({"model": "torchvision:inception_v3"}, "cannot take 32x32 images: try 96x96"),
        ({"model": "vit_tiny", "recipe": {"start_scale": 0.5}}, "cannot take 16: leave out start_scale"),
        ({"model": "resnet20", "pretrained": "file:/nowhere"}, "no file of weights at /nowhere"),
    ],
)
def test_a_cell_that_cannot_be_made_is_refused_before_any_cell_runs(
    striped_images: Dataset, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(VerdictError, match=message):
        check_cell(small_cell(**changes), striped_images, ONE_PROCESS)


@pytest.mark.slow
def test_a_compiled_model_trains_as_the_plain_one_and_its_compilation_is_told_apart(run: RunFunction) -> None:
    _, _, plain = run("plain", model="resnet20")
    record, predictions, compiled = run("compiled", model="resnet20", compile="default")
    # at this rate rounding errors of ResNet-20 grow tenfold a step, as between one thread and two
    np.testing.assert_allclose(compiled["loss"][:4], plain["loss"][:4], rtol=1e-3)
    assert record.measurements is not None
    assert record.measurements.compile_time_s > 1
    assert accuracy(predictions) > 0.5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.bf16)])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_an_epoch(run: RunFunction, model: str, precision: str) -> None:
    record, _, steps = run(model=model, precision=precision, recipe={"epochs": 1, **ADAMW})
    assert record.status == "finished"
    assert np.isfinite(steps["loss"]).all()
