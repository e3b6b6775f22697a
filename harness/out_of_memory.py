"""What a training does when memory runs out: smaller micro-batches, agreed between the processes.

The batch of an optimizer step stays what it was: its gradient is added up over more, smaller parts. Only
BatchNorm sees a difference, since it normalises over a part; the record says what was done.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.cell import CellSpec
from harness.errors import MemoryShortError
from harness.files import write_text
from harness.process import Process

_CPU_ALLOCATOR = re.compile(r"DefaultCPUAllocator: can't allocate memory: you tried to allocate \d+ bytes")
_ONEDNN = re.compile(r"could not (create|execute) a (primitive|memory object|memory)")
_ROOM_BYTES = 2**26
"""More than the code and the working memory that one oneDNN kernel asks the system for."""

_MARKER = "out-of-memory-{rank}.txt"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by the type of the error.

    torch's allocator for the CPU raises a plain RuntimeError: there its own sentence is looked for. oneDNN
    says of a kernel only that it could not be made: memory it was if the system has no more of it now.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if type(error) is not RuntimeError:
        return False
    said = str(error)
    return bool(_CPU_ALLOCATOR.search(said) or (_ONEDNN.fullmatch(said) and not _is_there_room()))


def _is_there_room() -> bool:
    try:
        mmap.mmap(-1, _ROOM_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True


def more_micro_batches(cell: CellSpec, accumulation_steps: int) -> int | None:
    """The next number of micro-batches a step that at least halves them; None where there is none.

    A micro-batch keeps at least two images, which BatchNorm needs, and all are of equal size.
    """
    if cell.recipe.keep_hardest < 1 or cell.compile == "reduce-overhead":
        return None  # both need whole batches
    num_images = cell.recipe.batch_size // cell.num_processes
    fitting = (
        steps for steps in range(2 * accumulation_steps, num_images // 2 + 1) if num_images % steps == 0
    )
    return next(fitting, None)


def memory_short(cell: CellSpec, accumulation_steps: int, message: str, cure: str) -> MemoryShortError:
    """The error for memory that ran out with micro-batches of some size."""
    num_images = cell.micro_batch_size_in(accumulation_steps)
    return MemoryShortError(f"memory ran out with micro-batches of {num_images} image(s) ({message}): {cure}")


@dataclass(frozen=True)
class Shortage:
    """What is known from one attempt to the next: with how many micro-batches memory ran out.

    Each process notes it for itself, where it cannot tell the others, which wait for its gradients.
    """

    folder: Path
    process: Process

    def note(self, accumulation_steps: int) -> None:
        """Let the next attempt start with more micro-batches than that."""
        write_text(self._marker, f"{accumulation_steps}\n")

    def known(self) -> int:
        """The largest number of micro-batches that was not enough on some process; 0 where none is known."""
        own = int(self._marker.read_text(encoding="utf-8")) if self._marker.exists() else 0
        return self.process.largest_on_hosts([own])[0]

    def forget(self) -> None:
        """The training is over; the first process may have removed the folder by now."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._marker.unlink()

    @property
    def _marker(self) -> Path:
        return self.folder / _MARKER.format(rank=self.process.rank)
