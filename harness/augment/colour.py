"""Adjustments of brightness, colour and tone, with a strength of its own for every image of a batch.

    brightness(images_BCHW, factor_B)     # one adjustment; the policies are made of these
    jitter = ColorJitter()               # several, in random order
    jitter.apply(images_BCHW, jitter.draw(batch))

Images are uint8 [B, 3, H, W] in RGB, in any memory format. Every adjustment returns new ones of the
same shape, equal to what `torchvision.transforms.v2.functional` makes of the images one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.augment.grouping import apply_by_kind, channels_last
from harness.augment.operation import GlobalBatch


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue, in a random order for each image.

    The same as torchvision's `v2.ColorJitter`, with the strengths that the code of MoCo v2 gives it
    (Chen et al. 2020, arXiv 2003.04297).
    """

    brightness: float = 0.4
    """Largest distance from 1 of the factor, at most 1; likewise for the next two."""

    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    """Largest part of the colour circle by which the hue is turned, at most 0.5."""

    def draw(self, batch: GlobalBatch) -> Tensor:
        """float32 [B, 8]: the order, a permutation of 0 to 3, and the strength of each adjustment."""
        order = batch.uniform(4).argsort(dim=1)
        centres = (1, 1, 1, 0)
        reaches = (self.brightness, self.contrast, self.saturation, self.hue)
        units = (2 * batch.uniform(4) - 1).unbind(1)
        strengths = [
            centre + reach * unit for centre, reach, unit in zip(centres, reaches, units, strict=True)
        ]
        return torch.cat((order.float(), torch.stack(strengths, dim=1)), dim=1)

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Adjust each image four times."""
        order, strengths = parameters[:, :4].long(), parameters[:, 4:]
        images_BCHW = images_BCHW.contiguous()
        for adjustment_B in order.unbind(1):
            strength_B = strengths.gather(1, adjustment_B[:, None])[:, 0]
            adjustments = (brightness, contrast, saturation, hue)
            images_BCHW = apply_by_kind(images_BCHW, 1 + adjustment_B, strength_B, adjustments)
        return channels_last(images_BCHW)


@dataclass(frozen=True)
class Grayscale:
    """Take the colour from one image in five: Chen et al. 2020, arXiv 2002.05709, appendix A."""

    probability: float = 0.2

    def draw(self, batch: GlobalBatch) -> Tensor:
        """int64 [B, 1]: 1 for the images that lose their colour, otherwise 0."""
        return (batch.uniform(1) < self.probability).long()

    def apply(self, images_BCHW: Tensor, parameters: Tensor) -> Tensor:
        """Take the colour from the images that were drawn."""
        images_BCHW = apply_by_kind(
            images_BCHW.contiguous(), parameters[:, 0], parameters, [lambda images, _: greyscale(images)]
        )
        return channels_last(images_BCHW)


def brightness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Multiply by a factor from 0 (black)."""
    return _to_uint8(images_BCHW.float().mul_(_column(factor_B)))


def contrast(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Move away from the image's mean grey by a factor; 0 gives the mean grey itself."""
    grey = _grey(images_BCHW)
    mean = grey.mean(dim=(2, 3), keepdim=True).expand_as(grey).contiguous()  # faster than a broadcast
    return _blend(images_BCHW, mean, factor_B)


def saturation(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Move away from each pixel's grey by a factor; 0 gives the grey itself."""
    return _blend(images_BCHW, _grey(images_BCHW), factor_B)


def sharpness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Move away from the blurred image by a factor; 0 gives the blurred image itself.

    A blurred pixel is the mean of nine, itself counted five times; those at the border stay.
    """
    images = images_BCHW.float()
    inner = images[:, :, 1:-1, 1:-1]
    columns = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    total = columns[..., :-2] + columns[..., 1:-1] + columns[..., 2:]
    blurred = total.add_(inner, alpha=4).mul_(1 / 13).round_()
    inner.addcmul_(blurred.sub_(inner), _column(1 - factor_B))
    return _to_uint8(images)


def hue(images_BCHW: Tensor, shift_B: Tensor) -> Tensor:
    """Turn the hue by a part of the colour circle, from -0.5 to 0.5, at equal saturation and value.

    From RGB to HSV and back (Smith 1978, "Color Gamut Transform Pairs"). Rare pixels differ by one
    grey level from torchvision's, where a result is a whole number but for the last bits.
    """
    images = images_BCHW.float()
    red, green, blue = images.unbind(1)
    largest = images.amax(1)
    chroma = largest - images.amin(1)
    sector = torch.where(
        largest == red,
        green - blue,
        torch.where(largest == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    turned = sector.div_(chroma.clamp(min=1)).div_(6).add_(shift_B.float().view(-1, 1, 1))
    # Each channel falls from the largest value by the chroma and rises again as the hue goes round.
    start = torch.arange(11, 6, -2, device=images.device) / 6
    sixths = (turned[:, None] + start.view(1, 3, 1, 1)).frac_().mul_(6)
    fall = (2 - sixths.sub_(2).abs_()).clamp_(0, 1)
    adjusted = largest[:, None] - fall.mul_(chroma[:, None])
    # torchvision cuts the unit interval into 255.999 levels.
    return _to_uint8(adjusted.mul_(255.999 / 255))


def greyscale(images_BCHW: Tensor) -> Tensor:
    """Give all channels the pixel's grey."""
    return _to_uint8(_grey(images_BCHW)).expand_as(images_BCHW).contiguous()


def posterize(images_BCHW: Tensor, bits_B: Tensor) -> Tensor:
    """Keep the highest bits of each value, 0 to 8 of them."""
    mask = (255 << (8 - bits_B.long())) & 255
    return images_BCHW & _column(mask).to(torch.uint8)


def solarize(images_BCHW: Tensor, threshold_B: Tensor) -> Tensor:
    """Invert the values from a threshold up, which is 0 to 255."""
    threshold = _column(threshold_B).ceil().to(torch.uint8).expand_as(images_BCHW)
    reached = images_BCHW >= threshold.contiguous()  # faster than a broadcast
    return images_BCHW ^ -reached.to(torch.uint8)  # minus 1 has all bits set


def invert(images_BCHW: Tensor) -> Tensor:
    """Subtract each value from 255."""
    return ~images_BCHW


def autocontrast(images_BCHW: Tensor) -> Tensor:
    """Stretch each channel to the range 0 to 255; one of a single value stays."""
    smallest = images_BCHW.amin(dim=(2, 3), keepdim=True).float()
    reach = images_BCHW.amax(dim=(2, 3), keepdim=True).float() - smallest
    flat = reach == 0
    smallest.masked_fill_(flat, 0)
    scale = (reach * (1 / 255)).masked_fill_(flat, 1)
    return _to_uint8(images_BCHW.float().sub_(smallest).div_(scale))


def equalize(images_BCHW: Tensor) -> Tensor:
    """Spread each channel's values so that all are about equally frequent, as Pillow does.

    The step is a 255th of the pixels below the largest value; a channel in which it is 0 stays.
    """
    levels_BCP = images_BCHW.flatten(2).long()
    counts = levels_BCP.new_zeros((*levels_BCP.shape[:2], 256), dtype=torch.int32)
    counts.scatter_add_(2, levels_BCP, counts.new_ones(()).expand_as(levels_BCP))
    below = counts.cumsum(2, dtype=torch.int32) - counts
    step = below.gather(2, levels_BCP.amax(2, keepdim=True)) // 255
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step == 0, torch.arange(256, dtype=torch.int32, device=table.device), table)
    return table.to(torch.uint8).gather(2, levels_BCP).view_as(images_BCHW)


def _column(values_B: Tensor) -> Tensor:
    """One float32 for each image, as it is broadcast over the image."""
    return values_B.float().view(-1, 1, 1, 1)


def _grey(images_BCHW: Tensor) -> Tensor:
    """float32 [B, 1, H, W]: the weighted mean of the channels (ITU-R BT.601), in whole numbers."""
    red, green, blue = images_BCHW.float().unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()[:, None]


def _blend(images_BCHW: Tensor, other: Tensor, factor_B: Tensor) -> Tensor:
    """`factor` parts of the image and `1 - factor` parts of the other."""
    weighted = images_BCHW.float().mul_(_column(factor_B))
    return _to_uint8(weighted.addcmul_(other, _column(1 - factor_B)))


def _to_uint8(images: Tensor) -> Tensor:
    """Cut to whole numbers from 0 to 255; through int16, which is four times faster on the CPU."""
    return images.clamp_(0, 255).to(torch.int16).to(torch.uint8)
