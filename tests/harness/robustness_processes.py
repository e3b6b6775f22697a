"""One of two processes that measure the robustness of one model together.

python tests/harness/robustness_processes.py RANK FOLDER     # leaves FOLDER/RANK.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness import robustness  # noqa: E402  # after the path is set
from harness.datasets.base import ImageSet  # noqa: E402
from harness.datasets.device_loader import Normalizer  # noqa: E402
from harness.files import write_arrays  # noqa: E402
from harness.precision import make_autocast  # noqa: E402
from harness.process import Process  # noqa: E402

CPU = torch.device("cpu")
NUM_IMAGES = 9  # two processes cannot have equal shares


def measure(process: Process) -> robustness.Arrays:
    """A little of everything, of a small net that was not trained."""
    robustness.LEVELS["quick"] = robustness.Level((1, 5), ("contrast", "gaussian_noise"), 7, 1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (NUM_IMAGES, 3, 12, 12), dtype=np.uint8)
    test = ImageSet(images, np.arange(NUM_IMAGES, dtype=np.int64) % 4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 4))
    normalize = Normalizer((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 12, CPU)
    return robustness.measure_robustness("quick", model, test, normalize, make_autocast("fp32", CPU), process)


def main(rank: int, folder: Path) -> None:
    """Join the other process and leave what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    arrays = measure(Process(rank, rank, 2, CPU, "MULTI_CPU", "gloo"))
    dist.destroy_process_group()
    write_arrays(folder / f"{rank}.npz", arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
