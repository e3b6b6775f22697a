"""What every model of the registry does, and what `fast_cnn` does in particular."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fast_cnn import WHITEN_EPSILON, FastCNN, ResidualStage, fast_cnn
from models.registry import MODELS, build_model


def correlated_images(num_images: int, image_size: int) -> Tensor:
    """Smooth images whose channels resemble each other, as photographs' do."""
    small = torch.randn(num_images, 3, image_size // 4, image_size // 4)
    noise = 0.3 * torch.randn(num_images, 3, image_size, image_size)
    smooth = F.interpolate(small, size=image_size, mode="bilinear") + noise
    return torch.einsum("dc,bchw->bdhw", torch.tensor([[1, 0.5, 0.2], [0.5, 1, 0.5], [0.2, 0.5, 1]]), smooth)


@dataclass(frozen=True)
class Small:
    """A model for the smallest images of 16 pixels or more, and four of those; it is not to be changed."""

    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor


@pytest.fixture(scope="module", params=MODELS)
def small(request: pytest.FixtureRequest) -> Small:
    torch.manual_seed(0)
    image_size = max(16, MODELS[request.param].min_image_size)
    model = build_model(request.param, num_classes=10, image_size=image_size)
    images = torch.randn(4, 3, image_size, image_size)
    return Small(
        request.param,
        model.to(memory_format=torch.channels_last),
        images.to(memory_format=torch.channels_last),
        torch.tensor([0, 3, 3, 9]),
    )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_each_image_one_logit_a_class_at_any_size(name: str) -> None:
    smallest = MODELS[name].min_image_size
    assert smallest % MODELS[name].image_size_multiple == 0
    for image_size, num_classes in ((smallest, 3), (36, 1000)):
        with torch.device("meta"):  # drawing the weights takes long, and their values do not matter
            model = build_model(name, num_classes, image_size)
        images = torch.zeros(2, 3, image_size, image_size)
        with torch.no_grad():
            assert model.to_empty(device="cpu")(images).shape == (2, num_classes)


def test_every_model_tells_images_apart(small: Small) -> None:
    logits = small.model(small.images)
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(logits).all())
    assert len(logits.detach().unique(dim=0)) == 4


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.bf16)])
def test_every_model_learns_a_small_batch(small: Small, precision: str) -> None:
    model = copy.deepcopy(small.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    losses: list[float] = []
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(small.images)
        assert logits.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
        loss = F.cross_entropy(logits.float(), small.labels)
        losses.append(loss.item())
        if losses[-1] < losses[0] - 0.05:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
    assert losses[-1] < losses[0] - 0.05


def test_every_trainable_parameter_gets_a_gradient(small: Small) -> None:
    trainable = {name: p for name, p in small.model.named_parameters() if p.requires_grad}
    loss = small.model(small.images).logsumexp(dim=1).sum()
    gradients = torch.autograd.grad(loss, list(trainable.values()))  # an unused one is an error
    assert [name for name, gradient in zip(trainable, gradients, strict=True) if not gradient.any()] == []


def test_maps_stay_in_channels_last_from_convolution_to_convolution(small: Small) -> None:
    strides: list[int] = []
    convolutions = [module for module in small.model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: strides.append(inputs[0].stride(1)))
        for layer in convolutions
    ]
    with torch.no_grad():
        small.model(small.images)
    for hook in hooks:
        hook.remove()
    assert strides == [1] * len(convolutions)


def test_whitened_patches_have_identity_covariance() -> None:
    images = correlated_images(num_images=64, image_size=32)
    model = fast_cnn(num_classes=10, image_size=32)
    assert isinstance(model, FastCNN)
    model.init_from_images(images)
    with torch.no_grad():
        whitened = model.whiten(images).permute(1, 0, 2, 3).flatten(1)
    patches = F.unfold(images, kernel_size=2).permute(1, 0, 2).flatten(1)
    variances = torch.linalg.eigvalsh(torch.cov(patches.double()))
    assert variances[-1] > 20 * variances[0]  # or there would be nothing to whiten

    covariance = torch.cov(whitened[:12].double())
    expected = torch.diag(variances / (variances + WHITEN_EPSILON))
    torch.testing.assert_close(covariance, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(expected, torch.eye(12).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(whitened[12:], -whitened[:12])


def test_whitening_of_images_without_contrast_is_finite() -> None:
    model = fast_cnn(num_classes=10, image_size=32)
    assert isinstance(model, FastCNN)
    model.init_from_images(torch.full((4, 3, 32, 32), 0.7))
    assert bool(torch.isfinite(model(torch.randn(2, 3, 32, 32))).all())


def test_whitening_filters_stay_as_they_were_set() -> None:
    model = fast_cnn(num_classes=10, image_size=32)
    assert isinstance(model, FastCNN)
    model.init_from_images(correlated_images(num_images=16, image_size=32))
    before = model.whiten.weight.clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(2, 3, 32, 32)).logsumexp(dim=1).sum().backward()
    optimizer.step()
    assert torch.equal(model.whiten.weight, before)
    assert model.whiten.bias is None


def test_fast_cnn_convolutions_copy_their_input_at_the_start() -> None:
    model = fast_cnn(num_classes=10, image_size=32)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [conv.out_channels for conv in convolutions] == [64, 64, 256, 256, 256, 256]
    for conv in convolutions:
        features = torch.randn(1, conv.in_channels, 5, 5)
        torch.testing.assert_close(conv(features)[:, : conv.in_channels], features)


def test_the_shortcut_of_fast_cnn_large_is_over_its_last_two_convolutions() -> None:
    stage = ResidualStage(4, 8).eval()
    images = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        stage.norm3.weight.zero_()  # nothing but the shortcut is left
        norm = 1 / (1 + stage.norm1.eps) ** 0.5
        expected = F.gelu(F.gelu(norm * F.max_pool2d(stage.conv1(images), 2)))
        torch.testing.assert_close(stage(images), expected)


def test_fast_cnn_norms_shift_but_do_not_scale() -> None:
    norms = [m for m in fast_cnn(10, 32).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    for norm in norms:
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert (norm.weight.requires_grad, norm.bias.requires_grad) == (False, True)
