"""Let the C library keep freed memory, so that a training step on the CPU meets no page fault. No torch.

A step frees and allocates the same large tensors again and again. glibc hands blocks above 32 MiB, and
the end of its heap, back to the system; the system then clears every page anew when it is next touched.
"""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = 2**31 - 1  # bytes free at the end of the heap, the largest that fits into an int


def keep_freed_memory() -> bool:
    """Keep what this process frees for its next allocations, until it ends or calls `malloc_trim`.

    Both settings are needed (mallopt(3)): blocks of every size come from the heap, and the heap does
    not shrink. The peak of the resident memory grows a little, because the heap has gaps.

    Returns:
        Whether the C library can do it: glibc can; others may not.
    """
    if not hasattr(_LIBC, "mallopt"):
        return False
    return bool(_LIBC.mallopt(_M_MMAP_MAX, 0)) and bool(_LIBC.mallopt(_M_TRIM_THRESHOLD, _NEVER))
