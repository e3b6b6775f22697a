from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from models import convmixer, token_models
from models.registry import MODELS
from models.token_models import MLPMixer, VisionTransformer, mlp_mixer, vit_tiny
from tests.models.same_function import assert_same_function


@pytest.mark.parametrize("image_size", [32, 16])
def test_the_transformer_computes_what_that_of_timm_computes(image_size: int) -> None:
    vision_transformer = pytest.importorskip("timm.models.vision_transformer")
    theirs = partial(
        vision_transformer.VisionTransformer,
        img_size=image_size,
        patch_size=4,
        embed_dim=192,
        depth=12,
        num_heads=3,
        num_classes=10,
    )
    assert_same_function(lambda: vit_tiny(10, image_size), theirs, image_size)


@pytest.mark.parametrize("image_size", [32, 16])
def test_the_mixer_computes_what_that_of_timm_computes(image_size: int) -> None:
    timm_mixer = pytest.importorskip("timm.models.mlp_mixer")
    theirs = partial(
        timm_mixer.MlpMixer,
        img_size=image_size,
        patch_size=4,
        num_blocks=8,
        embed_dim=256,
        mlp_ratio=(0.5, 4.0),
        num_classes=10,
    )
    assert_same_function(lambda: mlp_mixer(10, image_size), theirs, image_size)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours = token_models.SelfAttention(width=12, num_heads=3)
    theirs = nn.MultiheadAttention(12, num_heads=3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.projection.weight,
            "out_proj.bias": ours.projection.bias,
        }
    )
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens)[0])


def test_weights_of_the_transformer_start_as_published() -> None:
    torch.manual_seed(0)
    model = vit_tiny(num_classes=10, image_size=32)
    assert isinstance(model, VisionTransformer)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == 12 * 4 + 1
    for tensor in (*(layer.weight for layer in layers), model.positions_ND, model.class_token_D):
        assert tensor.std().item() == pytest.approx(0.02, rel=0.15)
    assert not any(layer.bias.any() for layer in layers)


def test_weights_of_the_mixer_start_with_a_variance_of_one_over_the_fan_in() -> None:
    torch.manual_seed(0)
    model = mlp_mixer(num_classes=10, image_size=32)
    assert isinstance(model, MLPMixer)
    layers = [module for module in model.blocks.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == 8 * 4
    for weight in (*(layer.weight for layer in layers), model.stem.weight):
        assert weight.std().item() == pytest.approx(weight[0].numel() ** -0.5, rel=0.05)
    assert not any(layer.bias.any() for layer in layers)


def test_the_transformer_knows_the_places_of_patches_by_its_positions_alone() -> None:
    torch.manual_seed(0)
    model = vit_tiny(num_classes=10, image_size=16)
    assert isinstance(model, VisionTransformer)
    images = torch.randn(1, 3, 16, 16)
    swapped = images.roll(4, dims=3)
    assert not torch.allclose(model(images), model(swapped))
    nn.init.zeros_(model.positions_ND)
    torch.testing.assert_close(model(images), model(swapped))


def test_the_registry_names_the_side_of_the_patches() -> None:
    assert MODELS["vit_tiny"].image_size_multiple == token_models.PATCH_SIZE
    assert MODELS["mlp_mixer"].image_size_multiple == token_models.PATCH_SIZE
    assert MODELS["convmixer"].image_size_multiple == convmixer.PATCH_SIZE
