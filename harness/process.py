"""The processes that train together: who they are, and whether they are what the cell asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor

from harness.cell import CellSpec
from harness.errors import HardwareError

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process among those that train one cell together."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device
    distributed_type: str
    """As accelerate names it: NO, MULTI_GPU, MULTI_CPU."""

    backend: str | None
    """nccl or gloo; None for one process."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def synchronize(self) -> None:
        """Wait until the device has done all that was queued on it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, value: float) -> float:
        """The largest `value` over all processes."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.item()

    def agree(self, value: T) -> T:
        """The main process's `value`, on every process."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.world_size > 1:
            dist.barrier()


def start_process(use_cpu: bool) -> Process:
    """Join the process group that the launcher (accelerate, torchrun or plain python) set up."""
    state = PartialState(cpu=use_cpu or not torch.cuda.is_available())
    return Process(
        rank=state.process_index,
        local_rank=state.local_process_index,
        world_size=state.num_processes,
        device=state.device,
        distributed_type=state.distributed_type.value,
        backend=state.backend,
    )


def use_threads(asked: int | None) -> None:
    """Let torch compute on `asked` CPU threads, or on this process's share of the cores it may use.

    accelerate and torchrun set OMP_NUM_THREADS to 1 where nothing else is said, which would leave
    the other cores idle; outside of them the variable is the user's word, and stays.
    """
    by_launcher = "LOCAL_WORLD_SIZE" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ
    if asked is None and "OMP_NUM_THREADS" in os.environ and not by_launcher:
        return
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(asked or max(1, num_cores // num_local))


def leave_process_group() -> None:
    """Close the process group, where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def check_process(cell: CellSpec, process: Process) -> None:
    """Refuse to run a cell on another number of processes than it asks for.

    Raises:
        HardwareError: the counts differ, or the processes are not joined in one group.
    """
    joined = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if cell.num_processes == process.world_size == joined:
        return
    raise HardwareError(
        f"the cell asks for {cell.num_processes} process(es), but {joined} run(s) together: start it with "
        f"'accelerate launch --multi_gpu --num_processes {cell.num_processes} --num_machines 1 "
        "harness/run.py ...' (without a GPU, put ACCELERATE_USE_CPU=true before it)"
    )
