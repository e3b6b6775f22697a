"""The cores and GPUs of a machine, each given to one attempt at a time. No torch here.

slots = find_slots(jobs=2, gpus=None, use_cpu=False)
slot = slots.take(num_processes=1)      # None: no room now
slots.give_back(slot)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import pairwise

import psutil

from harness.errors import HardwareError, UsageError
from launch.gpus import Gpu, list_gpus


@dataclass(frozen=True)
class Slot:
    """What one attempt has for itself."""

    cores: tuple[int, ...]
    gpus: tuple[Gpu, ...]
    groups: tuple[tuple[int, ...], ...]
    """The cores as they were divided."""

    @property
    def name(self) -> str:
        """For people."""
        if self.gpus:
            return f"GPU {','.join(str(gpu.index) for gpu in self.gpus)}"
        numbers = ",".join(str(core) for core in self.cores)
        return f"core{'s' if len(self.cores) > 1 else ''} {numbers}"


@dataclass
class Slots:
    """The slots of a machine, and which of them are free."""

    cores: list[tuple[int, ...]]
    """In groups: one for each attempt, or for each GPU."""

    gpus: list[Gpu]
    """Empty: attempts compute on the cores."""

    notes: list[str] = field(default_factory=list)
    """What a person should know about the machine."""

    most: int | None = None
    """Attempts at once; None: as many as there is room for."""

    def __post_init__(self) -> None:
        self._num_taken = 0
        self._free_cores = list(self.cores)
        self._free_gpus = list(self.gpus)

    @property
    def at_once(self) -> int:
        """How many attempts of one process there is room for."""
        num = min(len(self.cores), len(self.gpus) or len(self.cores))
        return num if self.most is None else min(num, self.most)

    def check(self, num_processes: int) -> None:
        """Refuse a cell that no attempt could ever have room for.

        Raises:
            HardwareError: it has more processes than there are GPUs.
        """
        if self.gpus and num_processes > len(self.gpus):
            raise HardwareError(
                f"a cell of {num_processes} processes needs as many GPUs, and {len(self.gpus)} can be used: "
                "leave it out, name more in --gpus, or say --cpu"
            )

    def has_room(self, num_processes: int) -> bool:
        """Whether `take` would find a slot."""
        if self.most is not None and self._num_taken >= self.most:
            return False
        return bool(self._free_cores) and (not self.gpus or num_processes <= len(self._free_gpus))

    def take(self, num_processes: int) -> Slot:
        """A slot for a cell of so many processes; there must be room."""
        assert self.has_room(num_processes)
        self._num_taken += 1
        gpus = tuple(self._free_gpus[:num_processes]) if self.gpus else ()
        del self._free_gpus[: len(gpus)]
        groups = self._free_cores[: max(1, len(gpus))]  # one for each GPU, as far as they go
        del self._free_cores[: len(groups)]
        return Slot(tuple(core for group in groups for core in group), gpus, tuple(groups))

    def give_back(self, slot: Slot) -> None:
        """Let others have the slot."""
        self._num_taken -= 1
        self._free_cores = sorted([*self._free_cores, *slot.groups])
        self._free_gpus = sorted([*self._free_gpus, *slot.gpus], key=lambda gpu: gpu.index)


def find_slots(jobs: int | None, gpus: str | None, use_cpu: bool) -> Slots:
    """The slots of this machine.

    Args:
        jobs: how many attempts at once; None: one for each GPU, or one on the CPU.
        gpus: numbers or identities of the GPUs to use, with commas; None: those that nobody uses.
        use_cpu: leave the GPUs alone.

    Raises:
        UsageError: a GPU is not there, or there are more attempts than cores.
        HardwareError: all GPUs are in use by others.
    """
    present, problem = ([], None) if use_cpu else list_gpus()
    if gpus is not None and not present:
        why = "--cpu says to leave them alone" if use_cpu else problem or "there is none"
        raise UsageError(f"--gpus {gpus}: {why}")
    chosen, notes = _choose(present, gpus)
    cores = _own_cores()
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected 1 or more")
    if (jobs or 1) > len(cores):
        raise UsageError(f"--jobs {jobs}: this machine has {len(cores)} core(s) for them")
    num_groups = min(len(chosen), len(cores)) or jobs or 1
    return Slots(_divide(cores, num_groups), chosen, notes, jobs)


def _choose(present: list[Gpu], asked: str | None) -> tuple[list[Gpu], list[str]]:
    """The GPUs to use, and what is to be said of those that others use."""
    if asked is not None:
        chosen = []
        for word in (part.strip() for part in asked.split(",")):
            found = [gpu for gpu in present if word in (str(gpu.index), gpu.uuid)]
            if not found:
                there = ", ".join(str(gpu.index) for gpu in present)
                raise UsageError(f"--gpus {asked}: there is no GPU {word}; there are {there}")
            chosen += [gpu for gpu in found if gpu not in chosen]
    else:
        chosen = [gpu for gpu in present if not gpu.processes]
    used = [gpu for gpu in present if gpu.processes]
    notes = [
        f"GPU {gpu.index} is in use by {_described(gpu)}: "
        + ("measurements on it are not its own" if gpu in chosen else "not used (--gpus would)")
        for gpu in used
    ]
    if present and not chosen:
        raise HardwareError(
            f"all GPUs are in use: {'; '.join(notes)}. Wait, name some in --gpus, or say --cpu"
        )
    return chosen, notes


def _described(gpu: Gpu) -> str:
    return ", ".join(
        f"pid {use.pid}" + ("" if use.used_mib is None else f" ({use.used_mib:,.0f} MiB)")
        for use in gpu.processes
    )


def _own_cores() -> list[int]:
    """The cores that this process may use, those that share a physical core next to each other."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(psutil.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0), key=lambda core: (_physical_core(core), core))


def _physical_core(core: int) -> int:
    """The first of the hardware threads that share the core with this one."""
    path = f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123  # hundreds of times
            return int(file.read().replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        return core


def _divide(cores: list[int], num_parts: int) -> list[tuple[int, ...]]:
    """As equal parts of the cores as can be had, each of neighbours."""
    bounds = [len(cores) * part // num_parts for part in range(num_parts + 1)]
    return [tuple(sorted(cores[a:b])) for a, b in pairwise(bounds)]
