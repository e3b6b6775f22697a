"""A stem for small images: let a CNN made for 224x224 keep the pixels of a 32x32 image.

    use_small_stem(model)      # 'conv1 7x7 stride 2 -> 3x3 stride 1, ...; maxpool removed'

An ImageNet stem shrinks its input by four before the first block, which leaves 8x8 of 32x32. The usual
cure is a first convolution of 3x3 with stride 1 and no max-pooling (He et al. 2016, arXiv 1512.03385,
section 4.2).
"""

from __future__ import annotations

from torch import Tensor, nn

from models.errors import ModelError

SMALL_STEMS = {(7, 2): (3, 1), (5, 2): (3, 1), (3, 2): (3, 1), (4, 4): (2, 2)}
"""Kernel size and stride of a first convolution: as it is, and as it becomes."""

MAX_STEM_CONVS = 3  # a deep stem: He et al. 2019, arXiv 1812.01187, figure 2(b)


def use_small_stem(model: nn.Module) -> str:
    """Adapt the first convolution of `model`, and drop the max-pooling of its stem, in place.

    A kernel that becomes smaller is cut from the centre of the old one (see `cut_kernel`), so that
    trained weights keep their meaning. Only the first convolution changes: where a stem holds another
    one with a stride, that one stays.

    Returns:
        What was changed, in one sentence.

    Raises:
        ModelError: the model has no stem that is known here (a ViT), or a small one already.
    """
    kind = type(model).__name__
    if getattr(model, "pretrained_cfg", {}).get("fixed_input_size", False):
        raise ModelError(f"{kind} is built for a fixed grid of patches: leave the small stem out")
    name, conv = _first_conv(model)
    kernel_size, stride = conv.kernel_size[0], conv.stride[0]
    if (kernel_size, stride) not in SMALL_STEMS:
        raise ModelError(
            f"no small stem is known for {kind}, whose first convolution is {kernel_size}x{kernel_size} "
            f"with stride {stride}: leave the small stem out"
        )
    small, small_stride = SMALL_STEMS[kernel_size, stride]
    sentence = f"{name} {kernel_size}x{kernel_size} stride {stride} -> {small}x{small} stride {small_stride}"
    conv.stride = (small_stride, small_stride)
    if small < kernel_size:
        conv.kernel_size = (small, small)
        conv.weight = nn.Parameter(cut_kernel(conv.weight.detach(), small))
        if conv.padding != (0, 0):
            conv.padding = (small // 2, small // 2)
        sentence += ", its weights cut from the centre and scaled to the norm they had"
    pool_name = _stem_pool(model)
    if pool_name is not None:
        model.set_submodule(pool_name, nn.Identity())
        sentence += f"; {pool_name} removed"
    return sentence


def first_conv_name(model: nn.Module) -> str | None:
    """Name of the first convolution that reads three channels, or None."""
    return next((name for name, module in model.named_modules() if _reads_rgb(module)), None)


def cut_kernel(weight_OIHW: Tensor, size: int) -> Tensor:
    """The `size` x `size` centre of a kernel [O, I, H, W], scaled to the norm of the whole.

    With the norm, fresh weights have the spread that the same initialisation (He et al. 2015, arXiv
    1502.01852, equation 10) gives a kernel of the new size.
    """
    top, left = ((side - size) // 2 for side in weight_OIHW.shape[2:])
    centre_OIHW = weight_OIHW[:, :, top : top + size, left : left + size]
    scale: Tensor = weight_OIHW.norm() / centre_OIHW.norm()
    return centre_OIHW * scale


def _reads_rgb(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == 3


def _first_conv(model: nn.Module) -> tuple[str, nn.Conv2d]:
    kind = type(model).__name__
    name = first_conv_name(model)
    if name is None:
        raise ModelError(f"{kind} does not start with a convolution: leave the small stem out")
    conv = model.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    # RepVGG and its like sum parallel convolutions of the image, each with the stride.
    if sum(_reads_rgb(module) and module.stride == conv.stride for module in model.modules()) > 1:
        raise ModelError(f"{kind} reads the image with several convolutions: leave the small stem out")
    # timm's ScaledStdConv2d carries a factor that was made for the size of its kernel.
    if hasattr(conv, "scale") and conv.kernel_size != (3, 3):
        raise ModelError(f"the first convolution of {kind} has a scale of its own: leave the small stem out")
    return name, conv


def _stem_pool(model: nn.Module) -> str | None:
    """The max-pooling after the first few convolutions, with the blurring that belongs to it."""
    num_convs = 0
    for name, module in model.named_modules():
        num_convs += isinstance(module, nn.Conv2d)
        if num_convs > MAX_STEM_CONVS:
            break
        if isinstance(module, nn.MaxPool2d):
            return _without_parameters(model, name)
    return None


def _without_parameters(model: nn.Module, name: str) -> str:
    """The largest part of the model around the module `name` that holds no parameters."""
    parent = name.rpartition(".")[0]
    if not parent or list(model.get_submodule(parent).parameters()):
        return name
    return _without_parameters(model, parent)
