"""One of two processes that take steps under each strategy and put the weights together at the end.

python tests/harness/stored_processes.py RANK FOLDER     # reads FOLDER/strategies, leaves FOLDER/RANK.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.files import write_arrays
from harness.process import Process
from harness.stored_model import gather_weights
from tests.harness.zero_processes import score, step, strategy_of


def main(rank: int, folder: Path, names: list[str]) -> None:
    """Join the other process and leave the gathered weights, and logits by the strategy itself."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    process = Process(rank, rank, 2, torch.device("cpu"), "MULTI_CPU", "gloo")
    arrays: dict[str, Tensor] = {}
    for name in names:
        with strategy_of(name, process) as strategy:
            for index in range(3):
                step(strategy, index)
            before = score(strategy)
            weights = gather_weights(strategy, strategy.model)
            assert (weights is None) == (rank == 1)
            arrays |= {f"{name}/before": before, f"{name}/after": score(strategy)}
            arrays |= {f"{name}/weights/{key}": value for key, value in (weights or {}).items()}
    dist.destroy_process_group()
    write_arrays(folder / f"{rank}.npz", {name: value.numpy() for name, value in arrays.items()})


if __name__ == "__main__":
    FOLDER = Path(sys.argv[2])
    main(int(sys.argv[1]), FOLDER, (FOLDER / "strategies").read_text(encoding="utf-8").split())
