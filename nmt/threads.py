"""Memory and device of a process."""

import ctypes
from typing import TYPE_CHECKING

from corpus.errors import UserError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
"""Names of `malloc.h`: free memory at the top that is given back; blocks that come from `mmap`."""


def keep_freed_memory() -> bool:
    """Keep freed memory for the next update; return whether that was possible.

    The C library gives large blocks back at once, and the system clears each page again when it is
    requested again. Of an update's gradients and activations that is a tenth of the time on a CPU,
    a quarter where a layer has 128 experts (decision 0015). Where the C library is not GNU's,
    nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def find_device(name: str) -> "torch.device":
    """Return the device of a config: `cpu`, `cuda`, or `auto`, a GPU where there is one.

    Raises:
        UserError: If a GPU is asked for and there is none.
    """
    import torch

    is_there = torch.cuda.is_available()
    if name == "cuda" and not is_there:
        raise UserError("`device` is cuda, and torch finds no GPU here")
    if name == "auto":
        name = "cuda" if is_there else "cpu"
    return torch.device(name)
