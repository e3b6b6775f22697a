"""Models that cut the image into 4x4 patches and mix tokens: a Vision Transformer, an MLP-Mixer.

    images [B, 3, H, W] -> patches [B, N, D] -> blocks -> norm -> head -> logits [B, num_classes]

Both are built without dropout and stochastic depth. The image size is a multiple of the patch size,
and fixed: the parameters depend on the number of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PATCH_SIZE = 4
NORM_EPSILON = 1e-6  # of both reference implementations


def vit_tiny(num_classes: int, image_size: int) -> nn.Module:
    """The tiny Vision Transformer: 5.36M parameters at 10 classes and 32x32.

    Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1, in the size DeiT-Ti of Touvron et al. 2021,
    arXiv 2012.12877, table 1, with patches of 4x4 instead of 16x16: 64 patches at 32x32.
    """
    return VisionTransformer(image_size, num_classes, width=192, depth=12, num_heads=3)


def mlp_mixer(num_classes: int, image_size: int) -> nn.Module:
    """An MLP-Mixer of 4.36M parameters at 10 classes and 32x32, about as large as `vit_tiny`.

    Tolstikhin et al. 2021, arXiv 2105.01601, section 2: Mixer-S of table 1 (8 layers, and its ratios of
    widths) at half the width, with patches of 4x4.
    """
    return MLPMixer(image_size, num_classes, width=256, depth=8, token_width=128, channel_width=1024)


class VisionTransformer(nn.Module):
    """A class token and the patches, learned positions, pre-norm transformer blocks."""

    def __init__(self, image_size: int, num_classes: int, width: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.stem = _patches(width)
        self.class_token_D = nn.Parameter(torch.zeros(width))
        self.positions_ND = nn.Parameter(torch.zeros(1 + _num_patches(image_size), width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, num_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        self.head = nn.Linear(width, num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """Truncated normal weights of standard deviation 0.02, zero biases, as in DeiT's code."""
        nn.init.trunc_normal_(self.class_token_D, std=0.02)
        nn.init.trunc_normal_(self.positions_ND, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, image_size, image_size]."""
        patches_BND = _tokens(self.stem(images_BCHW))
        class_token_B1D = self.class_token_D.expand(len(patches_BND), 1, -1)
        tokens_BND = torch.cat((class_token_B1D, patches_BND), dim=1) + self.positions_ND
        features_BD = self.norm(self.blocks(tokens_BND)[:, 0])
        logits: Tensor = self.head(features_BD)
        return logits


class TransformerBlock(nn.Module):
    """Self-attention and an MLP four times as wide, each behind a norm and around a shortcut."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, NORM_EPSILON)
        self.attention = SelfAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, NORM_EPSILON)
        self.mlp = _mlp(width, 4 * width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        x_BND = x_BND + self.attention(self.norm1(x_BND))
        out_BND: Tensor = x_BND + self.mlp(self.norm2(x_BND))
        return out_BND


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2).

    Written out, since torch's fused kernels are not deterministic on CUDA and save little at 65 tokens.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        heads = self.qkv(x_BND).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads.unbind(0)  # [B, num_heads, N, D / num_heads] each
        weights = (self.scale * queries @ keys.mT).softmax(dim=-1)
        out_BND: Tensor = self.projection((weights @ values).transpose(1, 2).flatten(2))
        return out_BND


class MLPMixer(nn.Module):
    """Patches, mixer blocks, the mean over all patches."""

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        width: int,
        depth: int,
        token_width: int,
        channel_width: int,
    ) -> None:
        super().__init__()
        self.stem = _patches(width)
        num_patches = _num_patches(image_size)
        self.blocks = nn.Sequential(
            *(MixerBlock(num_patches, width, token_width, channel_width) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        self.head = nn.Linear(width, num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """Normal weights of variance 1 / fan-in, zero biases, as in the authors' code.

        The head starts small, not at zero as there, where no gradient would pass it in the first step.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.head.weight, std=0.02)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes] of float images [B, 3, image_size, image_size]."""
        features_BD = self.norm(self.blocks(_tokens(self.stem(images_BCHW)))).mean(dim=1)
        logits: Tensor = self.head(features_BD)
        return logits


class MixerBlock(nn.Module):
    """An MLP over the patches of each channel, then one over the channels of each patch."""

    def __init__(self, num_patches: int, width: int, token_width: int, channel_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, NORM_EPSILON)
        self.token_mlp = _mlp(num_patches, token_width)
        self.norm2 = nn.LayerNorm(width, NORM_EPSILON)
        self.channel_mlp = _mlp(width, channel_width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        x_BND = x_BND + self.token_mlp(self.norm1(x_BND).mT).mT
        out_BND: Tensor = x_BND + self.channel_mlp(self.norm2(x_BND))
        return out_BND


def _num_patches(image_size: int) -> int:
    return (image_size // PATCH_SIZE) ** 2


def _patches(width: int) -> nn.Conv2d:
    return nn.Conv2d(3, width, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)


def _tokens(maps_BDHW: Tensor) -> Tensor:
    return maps_BDHW.flatten(2).mT


def _mlp(width: int, hidden_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden_width), nn.GELU(), nn.Linear(hidden_width, width))
