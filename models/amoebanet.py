"""AmoebaNet as GPipe trained it, built to be counted and not to be trained: `python -m models.amoebanet`.

    images [B, 3, H, W] -> 3x3, stride 2 -> 2 reduction cells -> 6 normal -> reduction -> 6 normal
                        -> reduction -> 6 normal -> mean over the map -> head -> logits [B, num_classes]

GPipe (Huang et al. 2019, arXiv 1811.06965, section 4) trained "AmoebaNet-B (18, 512)" with 557 million
parameters at 480x480. 18 is the number of normal cells, three stacks of six; 512 the number of filters
of the first stack, doubled after each reduction cell and halved before the first stack once for each cell
of the stem. The cells are those of Google's own code (github.com/tensorflow/tpu, models/official/amoeba_net:
model_specs.py names them, network_utils.py and model_builder.py put them together). It comes to
557.28 million parameters at 1,000 classes, without the auxiliary head that only trains along.

AmoebaNet-D, which GPipe used for its measurements of speed and memory only (its table 1) and which
torchgpipe rebuilt, would have 479 million at this size. AmoebaNet-A is here as a control: its parameters
and multiply-adds are published (Real et al. 2019, arXiv 1802.01548, section "Results").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.blocks import conv_norm
from models.complexity import Complexity, measure_complexity

GPIPE_FILTERS = 512
GPIPE_IMAGE_SIZE = 480
CELLS_PER_STACK = 6
NUM_STACKS = 3
STEM_FILTERS = 32
STEM_CELLS = 2
IMAGENET_CLASSES = 1000
IMAGENET_TRAIN_IMAGES = 1_281_167
CIFAR10_TRAIN_IMAGES = 50_000

MakeOperation = Callable[[int, int, int], nn.Module]
"""Makes an operation from the channels that enter and leave it, and its stride."""

Pair = tuple[str, int, str, int]
"""Operation and index of its input, twice: the sum of both is the next state."""


@dataclass(frozen=True)
class CellPlan:
    """One kind of cell. State 0 is the cell's input, 1 that of the cell before, 2 and up the pairs' sums."""

    pairs: tuple[Pair, ...]
    outputs: tuple[int, ...]
    """States that are concatenated."""


@dataclass(frozen=True)
class Genotype:
    """The two kinds of cells that an AmoebaNet is made of."""

    normal: CellPlan
    reduction: CellPlan


AMOEBANET_B = Genotype(
    normal=CellPlan(
        pairs=(
            ("conv_1x1", 1, "max_3x3", 1),
            ("none", 1, "separable_3x3", 0),
            ("conv_1x1", 1, "separable_3x3", 0),
            ("conv_1x1", 2, "none", 2),
            ("avg_3x3", 1, "conv_1x1", 5),
        ),
        outputs=(0, 3, 4, 6),
    ),
    reduction=CellPlan(
        pairs=(
            ("max_2x2", 0, "max_3x3", 0),
            ("none", 2, "conv_3x3", 1),
            ("dilated_5x5", 2, "max_3x3", 2),
            ("none", 3, "separable_3x3", 1),
            ("avg_3x3", 4, "conv_1x1", 3),
        ),
        outputs=(5, 6),
    ),
)

AMOEBANET_A = Genotype(
    normal=CellPlan(
        pairs=(
            ("avg_3x3", 0, "max_3x3", 0),
            ("separable_3x3", 1, "none", 1),
            ("none", 0, "avg_3x3", 1),
            ("separable_3x3", 0, "separable_5x5", 2),
            ("avg_3x3", 5, "separable_3x3", 0),
        ),
        outputs=(1, 3, 4, 6),
    ),
    reduction=CellPlan(
        pairs=(
            ("separable_3x3", 1, "avg_3x3", 0),
            ("max_3x3", 0, "separable_7x7", 2),
            ("max_3x3", 1, "max_3x3", 0),
            ("separable_3x3", 4, "conv_1x7_7x1", 0),
            ("avg_3x3", 1, "separable_7x7", 0),
        ),
        outputs=(2, 3, 4, 5, 6),
    ),
)


class AmoebaNet(nn.Module):
    """An AmoebaNet for images of ImageNet's size.

    Args:
        genotype: its cells.
        filters: of the first stack.
        num_classes: of the head.
    """

    def __init__(
        self, genotype: Genotype, filters: int = GPIPE_FILTERS, num_classes: int = IMAGENET_CLASSES
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_FILTERS, kernel_size=3, stride=2, bias=False), nn.BatchNorm2d(STEM_FILTERS)
        )
        before, entering, halved = None, STEM_FILTERS, False  # what enters the next cell
        self.cells = nn.ModuleList()
        for width, reduces in _layout(filters):
            plan = genotype.reduction if reduces else genotype.normal
            self.cells.append(Cell(plan, entering, before, width, reduces, halved))
            before, entering, halved = entering, width * len(plan.outputs), reduces
        self.head = nn.Linear(entering, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, H, W]."""
        x: Tensor = self.stem(images_BCHW)
        before: Tensor | None = None
        for cell in self.cells:
            x, before = cell(x, before), x
        logits: Tensor = self.head(x.relu().mean(dim=(2, 3)))
        return logits


class Cell(nn.Module):
    """One cell: five sums of two operations each, over its input and that of the cell before it.

    Args:
        plan: its operations.
        num_in: channels that enter it.
        num_before: channels that entered the cell before it; None for the first cell, which takes its
            own input for both.
        width: channels of each state.
        reduces: whether it halves the size of the map.
        halved: whether the cell before it did.
    """

    def __init__(
        self, plan: CellPlan, num_in: int, num_before: int | None, width: int, reduces: bool, halved: bool
    ) -> None:
        super().__init__()
        self.plan = plan
        self.enter = relu_conv_norm(num_in, width)
        self.enter_before: nn.Module = nn.Identity()
        channels = [width, width]
        if num_before is None:
            channels[1] = num_in
        elif halved:
            self.enter_before = FactorizedReduction(num_before, width)
        elif num_before != width:
            self.enter_before = relu_conv_norm(num_before, width)
        self.operations = nn.ModuleList()
        for first, first_input, second, second_input in plan.pairs:
            for name, source in ((first, first_input), (second, second_input)):
                stride = 2 if reduces and source < 2 else 1
                num_channels = channels[source] if source < 2 else width
                self.operations.append(OPERATIONS[name](num_channels, width, stride))

    def forward(self, x: Tensor, before: Tensor | None) -> Tensor:
        """The concatenated outputs, [B, width x their number, H, W], with half of H and W if it reduces."""
        states = [self.enter(x), x if before is None else self.enter_before(before)]
        operations = iter(self.operations)
        for _, first, _, second in self.plan.pairs:
            states.append(next(operations)(states[first]) + next(operations)(states[second]))
        return torch.cat([states[index] for index in self.plan.outputs], dim=1)


class FactorizedReduction(nn.Module):
    """Half the size: half of the channels see the even places, half the odd ones."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        half = num_out // 2
        self.even = nn.Conv2d(num_in, half, kernel_size=1, stride=2, bias=False)
        self.odd = nn.Conv2d(num_in, num_out - half, kernel_size=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(num_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, num_in, H, W] to [B, num_out, H/2, W/2], rounded up."""
        x = x.relu()
        shifted = pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return out


def relu_conv_norm(num_in: int, num_out: int, stride: int = 1) -> nn.Sequential:
    """ReLU, a 1x1 convolution and BatchNorm."""
    return nn.Sequential(nn.ReLU(), *conv_norm(num_in, num_out, 1, stride))


def gpipe_amoebanet(num_classes: int = IMAGENET_CLASSES) -> AmoebaNet:
    """The model that GPipe trained, on the meta device: shapes without memory."""
    with torch.device("meta"):
        return AmoebaNet(AMOEBANET_B, GPIPE_FILTERS, num_classes)


def gpipe_complexity() -> Complexity:
    """Its parameters at ImageNet's classes and its FLOPs at 480x480, by the counter of our own models."""
    return measure_complexity(gpipe_amoebanet(), GPIPE_IMAGE_SIZE)


def main() -> None:
    """Print what was counted, one figure a line."""
    counted = gpipe_complexity()
    print("AmoebaNet-B (18, 512) at 480x480, counted from the architecture; 1 multiply-add = 2 FLOPs")
    print(f"parameters, 1,000 classes          {counted.num_params:,} (GPipe states 557 million)")
    print(f"forward FLOPs per image            {counted.forward_flops_per_image:,}")
    print(f"training FLOPs per image           {counted.train_flops_per_image:,}")
    for name, images in (("CIFAR-10", CIFAR10_TRAIN_IMAGES), ("ImageNet", IMAGENET_TRAIN_IMAGES)):
        pflop = images * counted.train_flops_per_image / 1e15
        print(f"training PFLOP, epoch of {name}  {pflop:,.1f} ({images:,} images)")


def _layout(filters: int) -> list[tuple[int, bool]]:
    """Width of each cell, and whether it reduces."""
    stem = [(filters >> (STEM_CELLS - index), True) for index in range(STEM_CELLS)]
    cells = list(stem)
    for stack in range(NUM_STACKS):
        if stack:
            cells.append((filters << stack, True))
        cells += [(filters << stack, False)] * CELLS_PER_STACK
    return cells


def _none(num_in: int, num_out: int, stride: int) -> nn.Module:
    return nn.Identity() if num_in == num_out and stride == 1 else relu_conv_norm(num_in, num_out, stride)


def _pooled(pool: nn.Module, num_in: int, num_out: int) -> nn.Module:
    """A pooling, with a 1x1 convolution where the channels do not fit."""
    return pool if num_in == num_out else nn.Sequential(pool, *conv_norm(num_in, num_out, 1))


def _max_pool(size: int) -> MakeOperation:
    def make(num_in: int, num_out: int, stride: int) -> nn.Module:
        padding = (size - 1) // 2
        return _pooled(nn.MaxPool2d(size, stride, padding, ceil_mode=size == 2), num_in, num_out)

    return make


def _avg_pool(num_in: int, num_out: int, stride: int) -> nn.Module:
    return _pooled(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), num_in, num_out)


def _separable(size: int, dilation: int = 1) -> MakeOperation:
    """Twice: ReLU, a convolution of each channel alone, one of each place alone, BatchNorm."""

    def once(num_in: int, num_out: int, stride: int) -> list[nn.Module]:
        padding = dilation * (size // 2)
        depthwise = nn.Conv2d(
            num_in, num_in, size, stride, padding, dilation=dilation, groups=num_in, bias=False
        )
        return [nn.ReLU(), depthwise, *conv_norm(num_in, num_out, 1)]

    def make(num_in: int, num_out: int, stride: int) -> nn.Module:
        return nn.Sequential(*once(num_in, num_out, stride), *once(num_out, num_out, 1))

    return make


def _bottleneck(*kernels: tuple[int, int]) -> MakeOperation:
    """Convolutions on a quarter of the channels, between two of 1x1."""

    def make(num_in: int, num_out: int, stride: int) -> nn.Module:
        quarter = num_out // 4
        layers: list[nn.Module] = [relu_conv_norm(num_in, quarter)]
        for height, width in kernels:
            strides = (stride if height > 1 else 1, stride if width > 1 else 1)
            padding = (height // 2, width // 2)
            layers += [
                nn.ReLU(),
                nn.Conv2d(quarter, quarter, (height, width), strides, padding, bias=False),
                nn.BatchNorm2d(quarter),
            ]
        return nn.Sequential(*layers, relu_conv_norm(quarter, num_out))

    return make


OPERATIONS: dict[str, MakeOperation] = {
    "none": _none,
    "conv_1x1": relu_conv_norm,
    "conv_3x3": _bottleneck((3, 3)),
    "conv_1x7_7x1": _bottleneck((1, 7), (7, 1)),
    "separable_3x3": _separable(3),
    "separable_5x5": _separable(5),
    "separable_7x7": _separable(7),
    "dilated_5x5": _separable(5, dilation=2),
    "max_2x2": _max_pool(2),
    "max_3x3": _max_pool(3),
    "avg_3x3": _avg_pool,
}


if __name__ == "__main__":
    main()
