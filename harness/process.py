"""The processes that train together: who they are, and whether they are what the cell asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from harness.cell import CellSpec
from harness.errors import HardwareError, LostProcessError, UsageError
from harness.heartbeat import Heartbeat
from harness.settings import TIMEOUT_S

T = TypeVar("T")

DEVICES = ("cpu", "cuda")
LONGEST_DOWNLOAD = timedelta(days=1)


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

    host_group: dist.ProcessGroup | None = None
    """All processes over gloo, to agree on what concerns no GPU."""

    patient_group: dist.ProcessGroup | None = None
    """The same, to wait for each other for as long as a download takes."""

    heartbeat: Heartbeat | None = None
    """Tells who is lost when an exchange fails; None for one process."""

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

    def largest_on_hosts(self, values: list[int]) -> list[int]:
        """The largest of each value over all processes; no GPU is waited for."""
        tensor = torch.tensor(values, dtype=torch.int64)
        if self.world_size > 1:
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.host_group)
        return tensor.tolist()

    def gather(self, value: T) -> list[T]:
        """The `value` of every process, in order of rank; an empty list on all but the main process."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.is_main else None
        dist.gather_object(value, values, group=self.host_group)
        return values or []

    def agree(self, value: T) -> T:
        """The main process's `value`, on every process."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.host_group)
        return box[0]

    def wait_for_all(self, patiently: bool = False) -> None:
        """Return when every process has come here; patiently, where one of them downloads."""
        if self.world_size > 1:
            dist.barrier(group=self.patient_group if patiently else self.host_group)

    def beat(self, where: str) -> None:
        """Let the others know that this process is alive, and where it is."""
        if self.heartbeat is not None:
            self.heartbeat.beat(where)


def start_process(use_cpu: bool, timeout_s: float = TIMEOUT_S) -> Process:
    """Join the processes that the launcher (accelerate, torchrun or plain python) started.

    `accelerate launch --cpu` and ACCELERATE_USE_CPU count like `use_cpu`. A process that does not take
    part in an exchange for `timeout_s` is lost.
    """
    use_cpu = use_cpu or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    store = _join("gloo" if use_cpu else "nccl", timedelta(seconds=timeout_s))
    state = PartialState(cpu=use_cpu)
    joined = dist.is_available() and dist.is_initialized()
    return Process(
        rank=state.process_index,
        local_rank=state.local_process_index,
        world_size=state.num_processes,
        device=state.device,
        distributed_type=state.distributed_type.value,
        backend=state.backend,
        host_group=_gloo_group(timedelta(seconds=timeout_s)) if joined else None,
        patient_group=_gloo_group(LONGEST_DOWNLOAD) if joined else None,
        heartbeat=None if store is None else Heartbeat(store, state.process_index, state.num_processes),
    )


def _join(backend: str, timeout: timedelta) -> Store | None:
    """Make the process group that torchrun and accelerate describe in the environment, where they do.

    Each attempt of torchrun has keys of its own in the store: what a killed one has left there would
    mislead the next.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 or "MASTER_ADDR" not in os.environ or dist.is_initialized():
        return None
    rank = int(os.environ["RANK"])
    at_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun's agent has the store
    tcp = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size,
        is_master=rank == 0 and not at_agent,
        timeout=timeout,
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"verdict/attempt{attempt}", tcp)
    if backend == "nccl":
        timeout *= 2  # its watchdog ends the process: an exchange between the hosts shall fail before
    group_store = PrefixStore("group", store)
    dist.init_process_group(backend, store=group_store, rank=rank, world_size=world_size, timeout=timeout)
    return store


def _gloo_group(timeout: timedelta) -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup), "this process is in the group of all processes"
    return group


def choose_device(name: str | None) -> torch.device:
    """The device that `--device` names, or a GPU if there is one.

    Raises:
        UsageError: there is no such kind of device.
        HardwareError: this machine has none.
    """
    if name is None:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name not in DEVICES:
        raise UsageError(f"--device {name}: expected {' or '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise HardwareError("--device cuda: torch finds no CUDA device here: use --device cpu")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


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
    num_threads = asked or max(1, num_cores // num_local)
    torch.set_num_threads(num_threads)
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # or accelerate chooses again


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
    start = "'python harness/run.py ...'"
    if cell.num_processes > 1:
        start = (
            f"'accelerate launch --multi_gpu --num_processes {cell.num_processes} --num_machines 1 "
            "harness/run.py ...' (without a GPU, put ACCELERATE_USE_CPU=true before it)"
        )
    raise HardwareError(
        f"the cell asks for {cell.num_processes} process(es), but {joined} run(s) together: "
        f"start it with {start}"
    )


@contextmanager
def naming_the_lost(process: Process) -> Iterator[None]:
    """Turn the error of an exchange that fails inside the block into one that says who is lost.

    Raises:
        LostProcessError: see above.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo's errors have no type of their own, and name a line of its source
        failed = isinstance(error, dist.DistError) or "gloo/" in str(error)
        if process.heartbeat is None or not failed:
            raise
        reason = str(error).partition("\n")[0]
        raise LostProcessError(
            f"{process.heartbeat.who_is_lost()} ({reason}). The same command goes on from the last checkpoint"
        ) from error
