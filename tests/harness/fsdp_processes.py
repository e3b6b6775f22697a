"""One of two processes that train a small net under `fsdp` and under `ddp`; the tests compare what each got.

python tests/harness/fsdp_processes.py RANK FOLDER     # leaves FOLDER/RANK.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.files import write_arrays  # noqa: E402  # after the path is set
from harness.fsdp import blocks  # noqa: E402
from harness.optimizer import WeightAverage  # noqa: E402
from harness.process import Process  # noqa: E402
from harness.strategy import Strategy, make_strategy  # noqa: E402
from tests.harness.run_helpers import small_cell  # noqa: E402

NUM_STEPS = 6


def main(rank: int, folder: Path) -> None:
    """Join the other process and leave what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    process = Process(rank, rank, 2, torch.device("cpu"), "MULTI_CPU", "gloo")
    arrays: dict[str, Any] = {"num_blocks": torch.tensor(len(list(blocks(net()))))}
    for optimizer in ("sgd", "adamw"):
        for name in ("ddp", "fsdp"):
            losses, scores, trained = train(name, optimizer, process)
            arrays |= {f"{name} {optimizer} losses": losses, f"{name} {optimizer} scores": scores}
            arrays |= {f"{name} {optimizer} trained": trained}
    dist.destroy_process_group()
    write_arrays(folder / f"{rank}.npz", {key: value.numpy() for key, value in arrays.items()})


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))


def train(name: str, optimizer: str, process: Process) -> tuple[Tensor, Tensor, Tensor]:
    """Mean losses of the steps; logits by the averaged weights; and by the own ones after that."""
    recipe = {"optimizer": optimizer, "lr": 0.05 if optimizer == "sgd" else 0.002}
    cell = small_cell(strategy=name, num_processes=2, recipe=recipe)
    strategy = make_strategy(cell, net(), torch.amp.GradScaler("cpu", enabled=False), process)
    strategy.wrap()
    average = WeightAverage(strategy.tensors(), 0.5)
    losses = torch.stack([step(strategy, number, average) for number in range(NUM_STEPS)])
    images = inputs(99)[0]
    with average.applied(), torch.no_grad():
        scores = cast(Tensor, strategy.model(images))
    trained = strategy.wrapped(images).detach()  # as the next step would
    strategy.close()
    return process.sum(losses) / 2, scores, trained


def step(strategy: Strategy, number: int, average: WeightAverage) -> Tensor:
    """Two micro-batches of this process's half."""
    images, labels = inputs(number)
    own = range(strategy.process.rank * 8, strategy.process.rank * 8 + 8, 4)
    total = torch.zeros(())
    for start in own:
        rows = slice(start, start + 4)
        with strategy.micro_batch(exchange=start == own[-1]):
            loss = F.cross_entropy(strategy.wrapped(images[rows]), labels[rows]) / 2
            strategy.backward(loss)
        total += loss.detach()
    strategy.step()
    average.update()
    return total


def inputs(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(16, 64, generator=generator), torch.randint(0, 10, (16,), generator=generator)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
