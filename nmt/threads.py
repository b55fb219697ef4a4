"""Threads and memory of a process. Imported before torch, which reads the former at its start."""

import ctypes
import os

SPIN_COUNT = 10_000
"""Rounds a waiting OpenMP thread spins before it sleeps, some tens of microseconds."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
"""Names of `malloc.h`: free memory at the top that is given back; blocks that come from `mmap`."""


def share_processors() -> None:
    """Let waiting threads sleep.

    By default they spin for milliseconds at each of the thousands of barriers of an update, and
    where another program holds one of the processors, training becomes twenty times slower.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def keep_freed_memory() -> bool:
    """Keep memory that training frees, for the next update; return whether that was possible.

    The C library gives large blocks back at once, and the system clears each page anew when it is
    asked for again. Of an update's gradients and activations that is a tenth of the time on a CPU,
    a quarter where a layer has 128 experts (decision 0015). Where the C library is not GNU's,
    nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
