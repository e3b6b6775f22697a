"""Train on the hardest images of a batch only, as a small net that is trained along finds them.

    proxy = Proxy(cell, inputs, autocast, device)
    images, targets = proxy.hardest(images, targets, lr)

Choosing images by a cheap proxy is Coleman et al. 2020, arXiv 1906.11829 (selection via proxy); choosing
the half of each batch with the highest loss of a narrow net, under the same augmentation, is what
airbench96 does to reach 96% on CIFAR-10 with less than half of the compute (KellerJordan/cifar10-airbench,
`airbench96_faster.py`: 3.1 against 7.5 PFLOP).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.batches import Inputs, show_images
from harness.cell import CellSpec
from harness.optimizer import make_optimizer, set_lr
from harness.precision import Autocast
from models.fast_cnn import proxy_cnn


class Proxy:
    """A small net with its optimizer, which follows the recipe of the model that it chooses for.

    Args:
        cell: whose recipe it is, and which share of a batch is kept.
        inputs: the images; the net's first layer whitens their patches.
        autocast: the precision of the cell.
        device: where the images are.
    """

    def __init__(self, cell: CellSpec, inputs: Inputs, autocast: Autocast, device: torch.device) -> None:
        net = proxy_cnn(inputs.num_classes)
        self.net = net.to(device).to(memory_format=torch.channels_last)
        show_images(self.net, inputs)
        self._optimizer = make_optimizer(self.net, cell.recipe, device, precision=cell.precision)
        self._autocast = autocast
        self._scaler = torch.amp.GradScaler(device.type, enabled=autocast.scaler.is_enabled())
        self._num_kept = cell.num_kept
        self._label_smoothing = cell.recipe.label_smoothing

    def hardest(self, images_BCHW: Tensor, targets: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        """The images with the highest loss, and their targets; the proxy takes a step on the same ones.

        Args:
            images_BCHW: model input, [B, 3, H, W].
            targets: labels, int64 [B], or shares of classes, float32 [B, num_classes].
            lr: of this step.
        """
        self.net.train()
        with self._autocast.context():
            logits = self.net(images_BCHW)
        losses = F.cross_entropy(
            logits.float(), targets, label_smoothing=self._label_smoothing, reduction="none"
        )
        kept = losses.detach().topk(self._num_kept, sorted=False).indices
        set_lr(self._optimizer, lr)
        self._scaler.scale(losses[kept].mean()).backward()  # type: ignore[no-untyped-call]  # torch's
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return images_BCHW[kept].contiguous(memory_format=torch.channels_last), targets[kept]

    def state_dict(self) -> dict[str, Any]:
        """The net and its optimizer, to go on from."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that was saved."""
        self.net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
