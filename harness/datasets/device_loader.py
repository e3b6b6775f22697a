"""Images that live on the device as uint8, gathered and normalised a batch at a time."""

from __future__ import annotations

import os

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.datasets.base import ImageSet

RESIDENT_SHARE = 0.5  # of the free memory, at most, goes to images


class DeviceImages:
    """A set of images for one device: resident where it fits, otherwise gathered from the host.

    Args:
        image_set: uint8 images [N, 3, H, W], perhaps memory-mapped.
        subset: which of them, in which order; None for all.
        device: where the batches are wanted.
        resident: whether all images stay on the device; None decides by the memory that is free.
    """

    def __init__(
        self,
        image_set: ImageSet,
        subset: np.ndarray[tuple[int], np.dtype[np.int64]] | None,
        device: torch.device,
        resident: bool | None = None,
    ) -> None:
        self._device = device
        self._host = image_set.images
        self._subset = np.arange(len(image_set.labels)) if subset is None else subset
        num_channels, height, width = image_set.images.shape[1:]
        if resident is None:
            num_bytes = len(self._subset) * num_channels * height * width
            resident = num_bytes < RESIDENT_SHARE * _free_bytes(device)
        self.index_device = device if resident else torch.device("cpu")
        """Where indices are best made: others are copied for each batch."""

        self.labels = torch.from_numpy(image_set.labels[self._subset]).to(device)
        self._images_NHWC = self._copy_to_device() if resident else None

    def __len__(self) -> int:
        return len(self._subset)

    def gather(self, indices: Tensor) -> Tensor:
        """uint8 images [B, 3, H, W] in channels_last memory format, on the device."""
        if self._images_NHWC is not None:
            return self._images_NHWC[indices.to(self._device)].permute(0, 3, 1, 2)
        rows = self._host[self._subset[indices.cpu().numpy()]]
        return _to_channels_last(rows).to(self._device, non_blocking=True).permute(0, 3, 1, 2)

    def labels_of(self, indices: Tensor) -> Tensor:
        """int64 labels [B], on the device."""
        return self.labels[indices.to(self._device, non_blocking=True)]

    def _copy_to_device(self) -> Tensor:
        """All images, [N, H, W, 3], so that rows of it are channels_last; block by block, to save memory."""
        num_channels, height, width = self._host.shape[1:]
        shape = (len(self._subset), height, width, num_channels)
        images = torch.empty(shape, dtype=torch.uint8, device=self._device)
        for start in range(0, len(self._subset), 4096):
            rows = self._subset[start : start + 4096]
            images[start : start + len(rows)] = _to_channels_last(self._host[rows])
        return images


class Normalizer:
    """Maps uint8 images to float32 of one size, with zero mean and unit variance in each channel.

    Args:
        mean: of each channel, for pixels scaled to 0..1.
        std: likewise.
        image_size: height and width that the model sees.
        device: where the images are.
    """

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], image_size: int, device: torch.device
    ) -> None:
        self.image_size = image_size
        self.mean, self.std = mean, std
        self._mean = 255 * torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(std, device=device).view(1, 3, 1, 1)

    def __call__(self, images_BCHW: Tensor, image_size: int | None = None) -> Tensor:
        """float32 [B, 3, S, S] of uint8 images, resized (bilinear) to `image_size` or the usual size."""
        size = image_size or self.image_size
        images = images_BCHW.float()
        if images.shape[-1] != size:
            is_smaller = size < images.shape[-1]
            images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=is_smaller)
        return images.sub_(self._mean).div_(self._std)


def channel_statistics(image_set: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all images, for pixels scaled to 0..1."""
    histogram = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(image_set.images), 4096):
        block = image_set.images[start : start + 4096]
        for channel in range(3):
            histogram[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    level = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ level
    std = np.sqrt(share @ level**2 - mean**2)
    return tuple(mean.tolist()), tuple(np.maximum(std, 1e-3).tolist())


def epoch_order(num_images: int, generator: torch.Generator) -> Tensor:
    """int64 [num_images] on the CPU: the order in which an epoch visits the images."""
    return torch.randperm(num_images, generator=generator)


def _to_channels_last(images_NCHW: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1)))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # which share it
    return int(psutil.virtual_memory().available) // num_local
