from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
import torch
from scipy.stats import beta, chi2_contingency, kstest
from torch import Tensor
from torchvision.transforms import v2

from harness.augment import grouping
from harness.augment.adjustments import ADJUSTMENTS, FIRST_UNSIGNED, Strengths, magnitude_table
from harness.augment.operation import Operation
from harness.augment.policies import (
    AUGMIX,
    AUTOAUGMENT,
    CIFAR10_POLICY,
    RANDAUGMENT,
    TRIVIALAUGMENT_WIDE,
    AugMix,
    AutoAugment,
    RandAugment,
    TrivialAugmentWide,
)
from tests.harness.augment.augment_helpers import (
    IMAGES,
    check_draws,
    check_images,
    check_on_cuda,
    differing,
    draw,
    fits,
    noise,
    photographs,
)

CPU = torch.device("cpu")
CIFAR10 = v2.AutoAugmentPolicy.CIFAR10
STEPPING: list[tuple[Operation, Any, Strengths]] = [
    (RandAugment(), v2.RandAugment(), RANDAUGMENT),
    (TrivialAugmentWide(), v2.TrivialAugmentWide(), TRIVIALAUGMENT_WIDE),
    (AutoAugment(), v2.AutoAugment(CIFAR10), AUTOAUGMENT),
]
"""The policies whose parameters are steps alone, with torchvision's and what their bins mean."""

ALL = [*STEPPING, (AugMix(), v2.AugMix(), AUGMIX)]
POLICIES = [policy for policy, _, _ in ALL]


def steps_of(parameters: Tensor) -> Tensor:
    """[B, S, 3] of the parameters of any policy; those of AugMix are floats and end with four weights."""
    steps = parameters[:, :-4].long() if parameters.is_floating_point() else parameters
    return steps.view(len(parameters), -1, 3)


def take(reference: Any, image: Tensor, steps: list[list[int]], strengths: Strengths) -> Tensor:
    """The steps, taken by torchvision with its own magnitudes."""
    for adjustment, magnitude_bin, sign in steps:
        name = ADJUSTMENTS[adjustment]
        magnitudes = None
        if name != "Identity":
            magnitudes = reference._AUGMENTATION_SPACE[name][0](strengths.num_bins, *image.shape[1:])
        magnitude = 0.0 if magnitudes is None else sign * float(magnitudes[magnitude_bin])
        image = reference._apply_image_or_video_transform(
            image, name, magnitude, reference.interpolation, reference._fill
        )
    return image


@pytest.mark.parametrize(("_policy", "reference", "strengths"), ALL)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 224), (40, 60)])
def test_magnitudes_are_torchvisions(
    _policy: Operation, reference: Any, strengths: Strengths, height: int, width: int
) -> None:
    table = magnitude_table(strengths, height, width, CPU)
    for name, (magnitudes_of, signed) in reference._AUGMENTATION_SPACE.items():
        magnitudes = magnitudes_of(strengths.num_bins, height, width)
        if magnitudes is None:
            magnitudes = torch.zeros(strengths.num_bins)
        expected = magnitudes.double()
        if name.startswith("Translate"):
            expected = torch.tensor([int(magnitude) for magnitude in expected]).double()
        if name == "Solarize":
            expected = (255 * expected).float().double()
        assert torch.equal(table[ADJUSTMENTS.index(name)], expected), name
        assert signed == (0 < ADJUSTMENTS.index(name) < FIRST_UNSIGNED), name


def test_the_learned_pairs_are_torchvisions() -> None:
    pairs = v2.AutoAugment(CIFAR10)._policies
    assert [[(name, p, place or 0) for name, p, place in pair] for pair in pairs] == [
        list(pair) for pair in CIFAR10_POLICY
    ]


@pytest.mark.parametrize("kind", IMAGES)
def test_every_trivial_augmentation_gives_torchvisions_pixels(kind: str) -> None:
    adjustments = torch.arange(ADJUSTMENTS.index("Invert"))
    steps = torch.cartesian_prod(adjustments, torch.arange(31), torch.tensor([-1, 1]))
    steps = steps[(steps[:, 2] == 1) | (steps[:, 0] < FIRST_UNSIGNED)]
    images = IMAGES[kind](len(steps), 32, 32)
    expected = [
        take(v2.TrivialAugmentWide(), image, [step], TRIVIALAUGMENT_WIDE)
        for image, step in zip(images, steps.tolist(), strict=True)
    ]
    assert differing(TrivialAugmentWide().apply(images, steps), torch.stack(expected), tolerance=255) < 1e-4


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40)])
@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(("policy", "reference", "strengths"), STEPPING)
def test_drawn_steps_give_torchvisions_pixels(
    policy: Operation, reference: Any, strengths: Strengths, kind: str, height: int, width: int
) -> None:
    images = IMAGES[kind](300, height, width)
    parameters = draw(policy, len(images))
    expected = [
        take(reference, image, steps, strengths)
        for image, steps in zip(images, steps_of(parameters).tolist(), strict=True)
    ]
    assert differing(policy.apply(images, parameters), torch.stack(expected), tolerance=255) < 1e-4


@pytest.mark.parametrize("kind", IMAGES)
def test_drawn_chains_are_mixed_to_torchvisions_pixels(kind: str) -> None:
    images = IMAGES[kind](100, 32, 32)
    parameters = draw(AugMix(), len(images))
    expected = []
    for image, steps, weights in zip(
        images, steps_of(parameters).tolist(), parameters[:, -4:].tolist(), strict=True
    ):
        mixed = weights[0] * image
        for chain in range(3):
            mixed += weights[1 + chain] * take(v2.AugMix(), image, steps[3 * chain : 3 * chain + 3], AUGMIX)
        expected.append(mixed.to(torch.uint8))
    # A whole number in the mean is cut to the one below or not, by the last bits.
    assert differing(AugMix().apply(images, parameters), torch.stack(expected), tolerance=255) < 1e-3


def test_trivial_augment_draws_every_adjustment_and_bin_as_often_with_fair_signs() -> None:
    adjustment, magnitude_bin, sign = draw(TrivialAugmentWide(), 200_000).T
    assert (adjustment.max(), magnitude_bin.max()) == (13, 30)
    assert fits((adjustment * 31 + magnitude_bin).bincount(minlength=14 * 31))
    signed = adjustment < FIRST_UNSIGNED
    assert fits((2 * adjustment + (sign > 0))[signed].bincount())
    assert (sign[~signed] == 1).all()


def test_rand_augment_draws_two_independent_adjustments_of_magnitude_nine() -> None:
    first, second = steps_of(draw(RandAugment(), 100_000)).unbind(1)
    assert fits((first[:, 0] * 14 + second[:, 0]).bincount(minlength=14 * 14))
    assert (torch.cat((first, second))[:, 1] == 9).all()
    signed = (first[:, 0] < FIRST_UNSIGNED) & (second[:, 0] < FIRST_UNSIGNED)
    assert fits((3 + 2 * first[:, 2] + second[:, 2])[signed].bincount()[::2])


def test_auto_augment_takes_each_half_of_a_pair_with_its_probability() -> None:
    steps = steps_of(draw(AutoAugment(), 200_000))
    expected: defaultdict[tuple[str, str], float] = defaultdict(float)
    for (first, p, _), (second, q, _) in CIFAR10_POLICY:
        expected[first, second] += p * q
        expected[first, "Identity"] += p * (1 - q)
        expected["Identity", second] += (1 - p) * q
        expected["Identity", "Identity"] += (1 - p) * (1 - q)
    counts = Counter((ADJUSTMENTS[a], ADJUSTMENTS[b]) for a, b in steps[:, :, 0].tolist())
    possible = [names for names, share in expected.items() if share > 0]
    assert set(counts) <= set(possible)
    assert fits([counts[names] for names in possible], torch.tensor([expected[names] for names in possible]))


def test_augmix_draws_chains_of_one_to_three_weak_steps() -> None:
    steps = steps_of(draw(AugMix(), 100_000)).view(-1, 3, 3, 3)
    adjustment, magnitude_bin, _ = steps.unbind(3)
    taken = adjustment > 0
    depth = taken.sum(2)
    assert torch.equal(taken, torch.arange(3) < depth[:, :, None])  # the identity comes last
    assert fits(((depth - 1) * torch.tensor([9, 3, 1])).sum(1).bincount(minlength=27))
    assert fits(adjustment[taken].bincount(minlength=14)[1:])
    assert fits(magnitude_bin[taken].bincount(minlength=3))


def test_augmix_draws_the_weights_of_the_paper() -> None:
    weights = draw(AugMix(), 20_000)[:, -4:].double()
    torch.testing.assert_close(weights.sum(1), torch.ones(20_000).double())
    image_weight, chain_weights = weights[:, 0], weights[:, 1:]
    assert kstest(image_weight.numpy(), "uniform").pvalue > 1e-3
    for weight in (chain_weights / (1 - image_weight[:, None])).T:
        assert kstest(weight.numpy(), beta(1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("policy", "reference", "strengths"), ALL)
def test_named_magnitudes_are_as_frequent_as_in_torchvision(
    policy: Operation, reference: Any, strengths: Strengths, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs: Counter[tuple[str, float]] = Counter()

    def note(image: Tensor, name: str, magnitude: float, **_: object) -> Tensor:
        if name == "Solarize":
            magnitude *= 255
        if name.startswith("Translate"):
            magnitude = int(magnitude)
        theirs[name, round(magnitude, 3) + 0.0] += 1
        return image

    monkeypatch.setattr(reference, "_apply_image_or_video_transform", note)
    torch.manual_seed(0)
    image = noise(1, 32, 32)[0]
    for _ in range(1500):
        reference(image)

    table = magnitude_table(strengths, 32, 32, CPU)
    adjustment, magnitude_bin, sign = steps_of(draw(policy, 30_000)).flatten(0, 1).T
    magnitude = (sign * table[adjustment, magnitude_bin]).tolist()
    names = [ADJUSTMENTS[index] for index in adjustment.tolist()]
    ours = Counter((name, round(value, 3) + 0.0) for name, value in zip(names, magnitude, strict=True))
    if not isinstance(policy, RandAugment | TrivialAugmentWide):  # theirs do not note what is not done
        ours = Counter({key: count for key, count in ours.items() if key[0] != "Identity"})
    assert set(theirs) <= set(ours)
    table_2K = [[counts[key] for key in ours] for counts in (ours, theirs)]
    assert chi2_contingency(table_2K).pvalue > 1e-3


@pytest.mark.parametrize("policy", POLICIES)
def test_images_keep_type_shape_and_format_and_do_not_depend_on_the_division(policy: Operation) -> None:
    check_images(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_draws_follow_from_the_generator_alone(policy: Operation) -> None:
    check_draws(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_adjusting_all_images_as_on_cuda_gives_the_same(
    policy: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photographs(100, 32, 32)
    parameters = draw(policy, len(images))
    in_groups = policy.apply(images, parameters)
    monkeypatch.setattr(grouping, "adjust_groups", grouping.adjust_all)
    assert torch.equal(policy.apply(images, parameters), in_groups)


@pytest.mark.gpu
@pytest.mark.parametrize("policy", POLICIES)
def test_cuda_never_waits_and_agrees_with_the_cpu(policy: Operation) -> None:
    check_on_cuda(policy)
