"""Random numbers for a batch, a stream of its own for every image: the same however it is divided.

    draws = Draws(key, indices, device)
    noise_BCHW = draws.normal(3, 32, 32)

The numbers of an image follow from the key, the index of the image and how many calls came before, on
any device: they come from Philox, a generator with a counter, and the index is a part of the counter
(Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


class Draws:
    """Draws for some images; each call gives fresh numbers, one row for each image.

    Args:
        key: of the purpose; draws with different keys have nothing in common.
        indices: int64 [B], not negative: which images they are.
        device: where the numbers are wanted.
    """

    def __init__(self, key: int, indices: Tensor, device: torch.device) -> None:
        self._indices: list[int] = indices.tolist()
        self._device = device
        self._bits = np.random.Philox(key=key)
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)
        self._num_calls = 0

    def normal(self, *shape: int) -> Tensor:
        """float32 [B, *shape], of mean 0 and variance 1."""
        return self._rows(shape, np.float32, lambda g, _: g.standard_normal(shape, dtype=np.float32))

    def uniform(self, *shape: int) -> Tensor:
        """float64 [B, *shape], uniform in [0, 1)."""
        return self._rows(shape, np.float64, lambda g, _: g.random(shape))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 [B, *shape], uniform from low to high - 1."""
        return self._rows(shape, np.int64, lambda g, _: g.integers(low, high, shape))

    def poisson(self, means: Tensor) -> Tensor:
        """float64 in the shape of the means [B, ...]: a count for each of them."""
        host = means.cpu().numpy()
        return self._rows(host.shape[1:], np.float64, lambda g, row: g.poisson(host[row]))

    def _rows(
        self, shape: tuple[int, ...], dtype: type, draw: Callable[[np.random.Generator, int], Array]
    ) -> Tensor:
        rows: Array = np.empty((len(self._indices), *shape), dtype)
        for row, index in enumerate(self._indices):
            # The generator counts up from the left, so that streams never meet.
            self._state["state"]["counter"][:] = (0, 0, self._num_calls, index)
            self._bits.state = self._state
            rows[row] = draw(self._generator, row)
        self._num_calls += 1
        return torch.from_numpy(rows).to(self._device)
