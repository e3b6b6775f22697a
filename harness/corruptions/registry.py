"""Every corruption by its name, in the order of the paper: `corrupt(images, "fog", 3, indices)`.

They are those of CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv 1903.12261), made on the fly for whole
batches on the images' device. The draw of an image follows from the corruption, the severity and the
index of the image alone.

The constants are for 32x32 pixels. At other sizes lengths in pixels stay what they are (kernels, motion,
drops, glass), save for the elastic transform, the zoom and the number of pixels of `pixelate`, which are
parts of the image's side; a kernel that is larger than the image sees its border again and again. So an
image of 8x8 pixels is corrupted more severely than one of 32x32, and one of 224x224 less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from harness.corruptions.digital import brightness, contrast, jpeg_compression, pixelate, saturate
from harness.corruptions.draws import Draws
from harness.corruptions.elastic import elastic_transform
from harness.corruptions.names import SEVERITIES
from harness.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from harness.corruptions.spatter import spatter
from harness.corruptions.weather import fog, frost, snow
from harness.errors import UsageError, unknown_name
from harness.seeding import derive_seed

CPU_BLOCK_VALUES, BLOCK_VALUES = 2**17, 2**24
"""Grey levels that are worked on at once, on the CPU and elsewhere: their floats stay in the CPU's cache."""

Distort = Callable[[Tensor, int, Draws], Tensor]
"""Makes uint8 images, or grey levels that may be outside 0 to 255, of uint8 images [B, 3, H, W]."""


@dataclass(frozen=True)
class Corruption:
    """One way to spoil images."""

    group: str
    """noise, blur, weather, digital or extra."""

    distort: Distort


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption("noise", gaussian_noise),
    "shot_noise": Corruption("noise", shot_noise),
    "impulse_noise": Corruption("noise", impulse_noise),
    "defocus_blur": Corruption("blur", defocus_blur),
    "glass_blur": Corruption("blur", glass_blur),
    "motion_blur": Corruption("blur", motion_blur),
    "zoom_blur": Corruption("blur", zoom_blur),
    "snow": Corruption("weather", snow),
    "frost": Corruption("weather", frost),
    "fog": Corruption("weather", fog),
    "brightness": Corruption("weather", brightness),
    "contrast": Corruption("digital", contrast),
    "elastic_transform": Corruption("digital", elastic_transform),
    "pixelate": Corruption("digital", pixelate),
    "jpeg_compression": Corruption("digital", jpeg_compression),
    "speckle_noise": Corruption("extra", speckle_noise),
    "gaussian_blur": Corruption("extra", gaussian_blur),
    "spatter": Corruption("extra", spatter),
    "saturate": Corruption("extra", saturate),
}


def corrupt(images: Tensor, name: str, severity: int, indices: Tensor) -> Tensor:
    """New uint8 images of the same shape and memory format, on the same device.

    Args:
        images: uint8 [N, 3, H, W], RGB.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        indices: int64 [N]: place of each image in its set; the random draw depends on it.

    Raises:
        UsageError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise UsageError(f"severity {severity}: valid: 1 to 5")
    assert images.dtype == torch.uint8
    assert images.shape[1] == 3
    assert len(indices) == len(images)
    distort, key = CORRUPTIONS[name].distort, derive_seed(0, "corruption", name, severity)
    corrupted = torch.empty_like(images)
    block_values = CPU_BLOCK_VALUES if images.device.type == "cpu" else BLOCK_VALUES
    block = max(1, block_values // max(images[:1].numel(), 1))
    for start in range(0, len(images), block):
        rows = slice(start, start + block)
        draws = Draws(key, indices[rows], images.device)
        levels = distort(images[rows].contiguous(), severity, draws)
        if levels.dtype != torch.uint8:
            # Cut to whole numbers, not rounded, as the published files are.
            levels = levels.clamp_(0, 255).to(torch.int16)  # a stop on the way to uint8: faster on the CPU
        corrupted[rows] = levels
    return corrupted
