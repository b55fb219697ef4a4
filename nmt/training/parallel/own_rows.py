"""The rows of a model's parameters that a process holds, where several share out a model.

A model is built layer by layer; of each layer a process keeps its own rows, as FSDP2 divides them,
and puts empty memory, which takes none until something is written to it, in the place of the whole
parameters. So no process ever has more than one layer whole.
"""

import mmap

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

_OWN_ROWS = "own_rows"


def row_range(num_rows: int, shards: int, rank: int) -> tuple[int, int]:
    """Return the first row of a shard and the one past its last, as `torch.chunk` divides them."""
    size = -(-num_rows // shards)
    return min(rank * size, num_rows), min((rank + 1) * size, num_rows)


@torch.no_grad()
def keep_own_rows(module: nn.Module, shards: int, rank: int) -> None:
    """Keep this process's rows of each parameter, on the CPU, and let go of the others.

    What has been done before, and what is on the meta device, is left alone. Parameters that are
    shared are kept once, if this comes before they are shared.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if hasattr(parameter, _OWN_ROWS) or parameter.is_meta:
                continue
            begin, end = row_range(len(parameter), shards, rank)
            kept = Parameter(_untouched(parameter), parameter.requires_grad)
            setattr(kept, _OWN_ROWS, (parameter[begin:end].to("cpu", copy=True), begin))
            part.register_parameter(name, kept)


def _untouched(like: Tensor) -> Tensor:
    """Return a tensor on the CPU whose memory is there only where it is written to.

    It is mapped here: an allocator would give out what has just been freed, which is there.
    """
    if not like.numel():
        return torch.empty(like.shape, dtype=like.dtype, device="cpu")
    memory = mmap.mmap(-1, like.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=like.dtype).view(like.shape)


def own_rows(parameter: Tensor) -> tuple[Tensor, int]:
    """Return the rows that this process holds, and the number of the first; all by default."""
    found: tuple[Tensor, int] = getattr(parameter, _OWN_ROWS, (parameter.detach(), 0))
    return found


def has_own_rows(parameter: Tensor) -> bool:
    """Return whether this process holds but some rows."""
    return hasattr(parameter, _OWN_ROWS)
