"""A linear probe: the features of every image are computed once, and only the head is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from harness.batches import Inputs, Samples
from harness.clock import Clock
from harness.evaluate import predict
from harness.precision import Autocast
from harness.process import Process


class CachedFeatures:
    """The features of a set of images, on the device; stands where the images stood."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self._features = features
        self.labels = labels
        self.index_device = features.device

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: Tensor) -> Tensor:
        """float32 [B, D]."""
        return self._features[indices.to(self.index_device)]

    def labels_of(self, indices: Tensor) -> Tensor:
        """int64 labels [B], on the device."""
        return self.labels[indices.to(self.index_device)]


@dataclass(frozen=True)
class Identity:
    """The preprocessing of features: none."""

    image_size: int = 1

    def __call__(self, images_BCHW: Tensor, image_size: int | None = None) -> Tensor:
        """The same."""
        del image_size
        return images_BCHW


def cache_features(
    backbone: nn.Module,
    inputs: Inputs,
    autocast: Autocast,
    process: Process,
    clock: Clock,
    beat: Callable[[], None] | None = None,
) -> Inputs:
    """Inputs whose images are replaced by what `backbone` makes of them, float32 [B, D].

    The time counts as training for the training images and as evaluation for the others. `beat` is called
    after each batch.
    """

    def features_of(samples: Samples) -> CachedFeatures:
        features = predict(backbone, samples, inputs.normalize, autocast, process, beat=beat)
        return CachedFeatures(features, samples.labels)

    with clock.span("train"):
        fit = features_of(inputs.fit)
    with clock.span("evaluate"):
        val = None if inputs.val is None else features_of(inputs.val)
        test = features_of(inputs.test)
    return replace(inputs, fit=fit, val=val, test=test, normalize=Identity())
