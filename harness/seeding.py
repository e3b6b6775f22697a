"""Every random draw of a cell follows from its seed, whatever the number of processes.

Each use has its own stream, named by what it is for: the order of an epoch does not depend on how
many numbers the augmentation drew before it, so a run can start again at any step.
"""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derive_seed(0, "augment", epoch, step)`."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def seed_everything(seed: int, *purpose: str | int) -> None:
    """Seed the global generators of Python, numpy and torch for one purpose."""
    random.seed(derive_seed(seed, "python", *purpose))
    np.random.seed(derive_seed(seed, "numpy", *purpose) % 2**32)
    torch.manual_seed(derive_seed(seed, "torch", *purpose))


def use_deterministic_kernels() -> None:
    """Make equal inputs give equal bits on one machine; on CUDA at some cost in speed.

    An operation that has no deterministic kernel warns instead of failing.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch asks for, before cuBLAS starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory costs time and changes nothing that is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set at run time
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32; on by default for convolutions
