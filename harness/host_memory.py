"""What the C library does with memory that is freed: keep it, for speed, or give it back. No torch.

A step frees and allocates the same large tensors again and again. glibc hands blocks above 32 MiB, and
the end of its heap, back to the system; the system then clears every page anew when it is next touched.
Where all is kept, a step on the CPU meets no page fault; but glibc before 2.38 cannot put an aligned
block, as torch's are, where one of the same size has been, and the heap becomes two or three times as
large as what is in it.
"""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_NEVER = 2**31 - 1  # bytes free at the end of the heap, the largest that fits into an int
_MANY = 2**16  # blocks outside of the heap, glibc's default
LARGE_BYTES = 2**17
"""Blocks of so many bytes or more are given back: glibc's own choice, which it raises as blocks are freed."""


def keep_freed_memory() -> bool:
    """Keep what this process frees for its next allocations, until it ends or calls `malloc_trim`.

    Both settings are needed (mallopt(3)): blocks of every size come from the heap, and the heap does
    not shrink.

    Returns:
        Whether the C library can do it: glibc can; others may not.
    """
    return _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER})


def give_back_freed_memory() -> bool:
    """Give large blocks back to the system when they are freed: what is resident is what is in use.

    Returns:
        Whether the C library can do it.
    """
    return _set({_M_MMAP_MAX: _MANY, _M_MMAP_THRESHOLD: LARGE_BYTES, _M_TRIM_THRESHOLD: _NEVER})


def release_freed_memory() -> None:
    """Give back what was kept, as far as it can be, and keep nothing from now on: memory is short.

    The code that kernels are compiled into, for instance, has its own pages, and not those of the heap.
    """
    give_back_freed_memory()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    return hasattr(_LIBC, "mallopt") and all(_LIBC.mallopt(name, value) for name, value in options.items())
