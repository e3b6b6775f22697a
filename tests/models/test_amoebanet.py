"""AmoebaNet against its published sizes, and against what its layers come to by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.amoebanet import (
    AMOEBANET_A,
    AMOEBANET_B,
    CIFAR10_TRAIN_IMAGES,
    IMAGENET_TRAIN_IMAGES,
    AmoebaNet,
    Cell,
    FactorizedReduction,
    Genotype,
    gpipe_amoebanet,
    gpipe_complexity,
    main,
)
from models.complexity import Complexity, count_params, measure_complexity
from results.references import load_references


@pytest.fixture(scope="module")
def counted() -> Complexity:
    return gpipe_complexity()


def test_parameters_are_within_one_percent_of_those_that_gpipe_states(counted: Complexity) -> None:
    assert counted.num_params == pytest.approx(557e6, rel=0.01)
    assert round(counted.num_params / 1e6) == 557


def test_the_file_of_references_holds_what_is_counted(counted: Complexity) -> None:
    stored = load_references()["gpipe"].counted
    assert stored is not None
    assert stored.num_params == counted.num_params
    assert stored.forward_flops_per_image == counted.forward_flops_per_image
    assert stored.train_flops_per_image == counted.train_flops_per_image
    assert stored.least_train_images == IMAGENET_TRAIN_IMAGES + CIFAR10_TRAIN_IMAGES


def test_training_costs_three_forward_passes_less_the_gradient_of_the_images(counted: Complexity) -> None:
    stem_flops = 2 * 27 * 32 * 239**2
    assert counted.train_flops_per_image == 3 * counted.forward_flops_per_image - stem_flops


def test_multiply_adds_of_amoebanet_a_are_as_published() -> None:
    with torch.device("meta"):
        model = AmoebaNet(AMOEBANET_A, filters=190)
        images = torch.empty(1, 3, 331, 331)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    # Real et al. 2019, table 2: AmoebaNet-A (N=6, F=190), 86.7M parameters, 23.1B multiply-adds
    assert f"{count_params(model) / 1e6:.1f}" == "86.7"
    assert f"{counter.get_total_flops() / 2e9:.1f}" == "23.1"


def test_parameters_of_the_largest_amoebanet_a_are_as_published() -> None:
    with torch.device("meta"):
        model = AmoebaNet(AMOEBANET_A, filters=448)
    assert count_params(model) / 1e6 == pytest.approx(469, rel=0.003)  # Real et al. 2019, table 2


def test_a_normal_cell_comes_to_its_closed_form() -> None:
    width, height = 8, 6
    with torch.device("meta"):
        cell = Cell(AMOEBANET_B.normal, 4 * width, 4 * width, width, reduces=False, halved=False)
    # Two 1x1 from four times the width, four 1x1, and two pairs of a 3x3 depthwise and a 1x1;
    # a norm after each but the depthwise ones.
    products = 2 * 4 * width**2 + 4 * width**2 + 4 * (9 * width + width**2)
    assert count_params(cell) == products + 10 * 2 * width

    class OneCell(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = images.new_empty(len(images), 4 * width, *images.shape[2:], requires_grad=True)
            out: torch.Tensor = cell(maps, maps)
            return out

    assert measure_complexity(OneCell(), height).forward_flops_per_image == 2 * products * height**2


def test_the_second_stack_has_twice_the_channels_at_half_the_size() -> None:
    shapes = []
    model = gpipe_amoebanet()
    for cell in model.cells:
        cell.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    model(torch.empty(2, 3, 480, 480, device="meta"))

    reduced = [(2 * 128, 120, 120), (2 * 256, 60, 60)]
    stacks = [6 * [(4 * 512, 60, 60)], 6 * [(4 * 1024, 30, 30)], 6 * [(4 * 2048, 15, 15)]]
    joints = [(2 * 1024, 30, 30)], [(2 * 2048, 15, 15)]
    assert shapes == [*reduced, *stacks[0], *joints[0], *stacks[1], *joints[1], *stacks[2]]


@pytest.mark.parametrize("genotype", [AMOEBANET_A, AMOEBANET_B])
def test_it_maps_images_to_logits_and_every_parameter_learns(
    genotype: Genotype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.amoebanet.CELLS_PER_STACK", 1)
    model = AmoebaNet(genotype, filters=16, num_classes=10)
    logits = model(torch.rand(2, 3, 33, 33))
    logits.square().sum().backward()

    assert logits.shape == (2, 10)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_reduction_sees_the_even_places_and_the_odd_ones() -> None:
    reduction = FactorizedReduction(1, 2).eval()
    nn.init.ones_(reduction.even.weight)
    nn.init.ones_(reduction.odd.weight)
    image = torch.arange(9.0).reshape(1, 1, 3, 3)

    maps = reduction(image)[0] * math.sqrt(1 + reduction.norm.eps)

    torch.testing.assert_close(maps, torch.tensor([[[0.0, 2], [6, 8]], [[4, 0], [0, 0]]]))


def test_the_command_prints_what_was_counted(
    counted: Complexity, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.amoebanet.gpipe_complexity", lambda: counted)
    main()
    printed = capsys.readouterr().out
    assert f"{counted.forward_flops_per_image:,}" in printed
    assert "counted from the architecture" in printed
