"""A cell that runs out of memory: alone under a real limit, or as one of two processes.

python tests/harness/short_of_memory.py limit
torchrun --nproc-per-node=2 tests/harness/short_of_memory.py "one of two"
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from torch import Tensor, nn

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.cell import CellSpec  # after the path is set
from harness.environment import describe_environment
from harness.errors import VerdictError
from harness.process import Process, leave_process_group, start_process
from harness.progress import CellProgress, Reporter
from harness.record import Record
from harness.run_cell import Run, run_cell
from harness.settings import Settings
from tests.harness.run_helpers import make_striped_images, small_cell

MIB = 2**20
ROOM_MIB = 650
MOST = 5
LATE_STEP = 12
"""Of ten images that each of two processes has in a step."""

OUT = Path("runs")


def main(kind: str, process: Process) -> None:
    """Run the cell of that kind, and print what a test looks at."""
    torch.set_num_threads(1)
    if kind == "limit":
        limited(process)
    elif kind == "one of two":
        one_of_two(process)
    elif kind == "synchronised":  # at once, in a step on trial
        late(process, 0, strategy="ddp", model="resnet20", sync_batchnorm=True)
    else:
        late(process, LATE_STEP if kind == "late" else 1, strategy="fsdp" if kind == "fsdp" else "ddp")


def limited(process: Process) -> None:
    """ResNet-56 on 180 images a step needs about 800 MiB, and may have 650: half leave room."""
    run("warm", small_cell(model="resnet56", recipe={"epochs": 1, "batch_size": 10}), process)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_MIB * MIB, resource.RLIM_INFINITY))
    record = run("limited", small_cell(model="resnet56", recipe={"batch_size": 180}), process)
    assert record.in_effect is not None
    say(f"finished with micro-batches: {record.in_effect.accumulation_steps > 1}")


def one_of_two(process: Process) -> None:
    """The second process has no room for more than `MOST` images, in a model with BatchNorm and dropout."""
    values: dict[str, Any] = {"model": "resnet20", "strategy": "ddp", "num_processes": 2}
    run("asked", small_cell(**values, accumulation_steps=2), process)
    if process.rank == 1:
        nn.Linear.forward = room_for(MOST)  # type: ignore[method-assign]
    record = run("short", small_cell(**values), process)
    assert record.in_effect is not None
    assert record.in_effect.accumulation_steps == 2
    losses = [np.load(OUT / folder / "steps.npz")["loss"] for folder in ("asked", "short")]
    say(f"the same as asked for: {losses[0].tobytes() == losses[1].tobytes()}")


def late(process: Process, step: int, **values: Any) -> None:
    """The second process runs out in the middle, when the first one waits for it."""
    first_attempt = not list(OUT.glob("late/checkpoint/out-of-memory-1.txt"))
    if process.rank == 1 and first_attempt and step == 0:
        nn.Linear.forward = room_for(MOST)  # type: ignore[method-assign]
    elif process.rank == 1 and first_attempt:
        taken = [0]
        original = CellProgress.step

        def counted(self: CellProgress) -> None:
            original(self)
            taken[0] += 1
            if taken[0] == step:
                nn.Linear.forward = room_for(MOST)  # type: ignore[method-assign]

        CellProgress.step = counted  # type: ignore[method-assign]
    cell = small_cell(num_processes=2, **values)
    record = run("late", cell, process, Settings(checkpoint_epochs=1))
    assert record.in_effect is not None
    say(f"micro-batches at the end: {record.in_effect.accumulation_steps}")


def room_for(most: int) -> Any:
    """A dense layer that runs out of memory on more images than that."""
    forward = nn.Linear.forward

    def limited_forward(self: nn.Linear, images: Tensor) -> Tensor:
        if self.training and len(images) > most and images.device.type != "meta":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, images)

    return limited_forward


def say(line: str) -> None:
    """Print a line that the other process cannot break."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(folder: str, cell: CellSpec, process: Process, settings: Settings | None = None) -> Record:
    """Run one cell into that folder."""
    whole = settings or Settings()
    data, environment = make_striped_images(), describe_environment(process)
    console = Console() if process.is_main else None
    record = run_cell(
        Run(cell, data, process, environment, OUT / folder, "a test", whole), Reporter(console), "cell"
    )
    assert record is not None
    return record


if __name__ == "__main__":
    try:
        own = start_process(use_cpu=True, timeout_s=20)
        main(sys.argv[1], own)
        leave_process_group()
    except VerdictError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
