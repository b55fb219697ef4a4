"""Memory and device of a process."""

import ctypes
from typing import TYPE_CHECKING

from corpus.errors import UserError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
"""Names of `malloc.h`: free memory at the top that is given back; size from which on blocks come
from `mmap`, and how many do."""

_LARGE_BLOCK = 32 << 20
"""The largest size that glibc takes for that threshold."""

_LARGE_MODEL = 512 << 20
"""Bytes of weights from which on blocks of the largest matrices are worth giving back."""


def keep_freed_memory(weight_bytes: int) -> bool:
    """Keep freed memory for the next update; return whether that was possible.

    The C library gives large blocks back at once, and the system clears each page again when it is
    requested again. Of an update's gradients and activations that is a tenth of the time on a CPU,
    a quarter where a layer has 128 experts (decision 0015). Where the C library is not GNU's,
    nothing changes.

    Freed blocks of several sizes leave gaps, which with small models are small. With large ones
    they add up to copies of the weights, while clearing pages takes little of an update: their
    largest blocks are given back.

    Args:
        weight_bytes: Size of the model's weights.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    is_kept = mallopt(_M_TRIM_THRESHOLD, -1)
    if weight_bytes < _LARGE_MODEL:
        return bool(is_kept and mallopt(_M_MMAP_MAX, 0))
    return bool(is_kept and mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK))


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
