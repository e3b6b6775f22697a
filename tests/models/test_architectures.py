from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn

from models.fast_cnn import WHITEN_EPSILON, FastCNN, fast_cnn
from models.registry import MODELS, build_model
from models.resnet import PadShortcut, ResNet, resnet18


def correlated_images(num_images: int, image_size: int) -> Tensor:
    """Smooth images whose channels resemble each other, as photographs' do."""
    small = torch.randn(num_images, 3, image_size // 4, image_size // 4)
    noise = 0.3 * torch.randn(num_images, 3, image_size, image_size)
    smooth = F.interpolate(small, size=image_size, mode="bilinear") + noise
    return torch.einsum("dc,bchw->bdhw", torch.tensor([[1, 0.5, 0.2], [0.5, 1, 0.5], [0.2, 0.5, 1]]), smooth)


def randomize_norms(model: nn.Module) -> None:
    """Give every BatchNorm statistics, scale and shift that are not the ones it starts with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("num_classes", "image_size"), [(10, 32), (3, 40), (100, 64)])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_each_image_one_logit_a_class(name: str, num_classes: int, image_size: int) -> None:
    model = build_model(name, num_classes, image_size).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, image_size, image_size).to(memory_format=torch.channels_last)
    logits = model(images)
    assert logits.shape == (2, num_classes)
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(logits).all())
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_a_small_batch(name: str, precision: str) -> None:
    model = build_model(name, num_classes=10, image_size=32).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.tensor([0, 3, 3, 9])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        assert logits.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("name", MODELS)
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    model = build_model(name, num_classes=10, image_size=32)
    model(torch.randn(2, 3, 32, 32)).logsumexp(dim=1).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert bool(parameter.grad.abs().sum() > 0), parameter_name


@pytest.mark.parametrize("training", [False, True])
def test_resnet18_has_the_blocks_and_the_head_of_torchvision(training: bool) -> None:
    ours = resnet18(num_classes=1000, image_size=32)
    theirs = torchvision.models.resnet18()
    randomize_norms(theirs)
    their_blocks = nn.Sequential(*theirs.layer1, *theirs.layer2, *theirs.layer3, *theirs.layer4)
    assert isinstance(ours, ResNet)
    values = their_blocks.state_dict().values()
    ours.blocks.load_state_dict(dict(zip(ours.blocks.state_dict(), values, strict=True)))
    ours.head.load_state_dict(theirs.fc.state_dict())
    ours.train(training)
    theirs.train(training)

    images = torch.randn(2, 3, 16, 16)
    features = ours.stem(images)
    expected = theirs.fc(theirs.avgpool(their_blocks(features)).flatten(1))
    torch.testing.assert_close(ours(images), expected)


def test_resnet18_does_not_shrink_a_small_image_before_its_first_stage() -> None:
    model = resnet18(num_classes=10, image_size=32)
    assert isinstance(model, ResNet)
    assert model.stem(torch.randn(2, 3, 32, 32)).shape == (2, 64, 32, 32)
    assert model.blocks(torch.randn(2, 64, 32, 32)).shape == (2, 512, 4, 4)


def test_shortcut_without_parameters_takes_every_second_pixel_and_adds_channels_of_zeros() -> None:
    features = torch.randn(2, 16, 8, 8)
    shortcut = PadShortcut(stride=2, num_out=32)(features)
    assert torch.equal(shortcut[:, 8:24], features[:, :, [0, 2, 4, 6]][:, :, :, [0, 2, 4, 6]])
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()


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
    assert model.whiten.bias is not None
    assert bool(model.whiten.bias.any())


def test_fast_cnn_convolutions_copy_their_input_at_the_start() -> None:
    model = fast_cnn(num_classes=10, image_size=32)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [conv.out_channels for conv in convolutions] == [64, 64, 256, 256, 256, 256]
    for conv in convolutions:
        features = torch.randn(1, conv.in_channels, 5, 5)
        torch.testing.assert_close(conv(features)[:, : conv.in_channels], features)


def test_fast_cnn_norms_shift_but_do_not_scale() -> None:
    norms = [m for m in fast_cnn(10, 32).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    for norm in norms:
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert (norm.weight.requires_grad, norm.bias.requires_grad) == (False, True)
