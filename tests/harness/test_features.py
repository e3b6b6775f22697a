from __future__ import annotations

from collections.abc import Callable

import torch

from harness.augment.pipeline import Augmentation
from harness.batches import Inputs, training_batch
from harness.cell import CellSpec
from harness.clock import Clock
from harness.datasets.base import ImageSet
from harness.datasets.device_loader import DeviceImages, Normalizer
from harness.evaluate import predict
from harness.features import cache_features
from harness.precision import make_autocast
from harness.process import Process
from models.pretrained import split_head
from models.registry import build_model

CPU = torch.device("cpu")


def test_a_head_on_cached_features_gives_the_logits_of_the_whole_model(
    random_images: Callable[[int, int], ImageSet], one_process: Process, cell: CellSpec
) -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=10, image_size=16).eval()
    sets = {name: random_images(size, 16) for name, size in (("fit", 30), ("val", 7), ("test", 11))}
    loaded = {name: DeviceImages(images, None, CPU) for name, images in sets.items()}
    inputs = Inputs(
        **loaded,
        augmentation=Augmentation(cell, 30, (0, 0, 0), CPU),
        normalize=Normalizer((0.5,) * 3, (0.25,) * 3, 16, CPU),
        num_classes=10,
    )
    backbone, head = split_head(model)
    autocast = make_autocast("fp32", CPU)
    clock = Clock(one_process)
    cached = cache_features(backbone, inputs, autocast, one_process, clock)
    assert clock.spans_s["train"] > 0
    assert clock.spans_s["evaluate"] > 0
    assert cached.val is not None
    for samples, features in (
        (inputs.fit, cached.fit),
        (inputs.test, cached.test),
        (loaded["val"], cached.val),
    ):
        whole = predict(model, samples, inputs.normalize, autocast, one_process)
        top = predict(head, features, cached.normalize, autocast, one_process)
        torch.testing.assert_close(top, whole)
        assert torch.equal(features.labels, samples.labels)

    batch = torch.tensor([4, 2, 9, 11])
    rows, labels = training_batch(cached, batch, [], range(1, 3), image_size=16)
    assert rows.shape == (2, 64)
    assert torch.equal(labels, torch.from_numpy(sets["fit"].labels)[[2, 9]])
    head(rows).sum().backward()  # what is cached may be trained on
