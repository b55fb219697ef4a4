"""Sorting more records than fit in memory: sorted runs on disk, merged block by block.

The textbook external merge sort (Knuth, The Art of Computer Programming, volume 3, section 5.4),
over NumPy structured arrays. Memory is bounded whatever the input: also where most keys are equal,
which breaks schemes that partition by key.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]

_COPIES = 4
"""What sorting holds at a time, in records: the run, its order, the sorted copy, what comes in."""

_MIN_BLOCK = 64


@dataclass
class _Run:
    """A sorted stretch of the scratch file, with the block of it that is in memory."""

    position: int
    remaining: int
    block: Records


def sort_records(
    blocks: Iterable[Records], dtype: np.dtype[Any], scratch: Path, memory_bytes: int
) -> Iterator[Records]:
    """Yield the records of all blocks in ascending order of their fields, first field first.

    Args:
        blocks: Records of `dtype`, in any order; each block is small against `memory_bytes`.
        dtype: A structured type; records that are equal in all fields are interchangeable.
        scratch: A file to sort in, overwritten and removed.
        memory_bytes: About what the sort may hold.
    """
    capacity = max(_MIN_BLOCK, memory_bytes // (_COPIES * dtype.itemsize))
    gathered: list[Records] = []
    count = 0
    lengths: list[int] = []
    try:
        with scratch.open("wb") as file:
            for block in blocks:
                gathered.append(block)
                count += len(block)
                if count >= capacity:
                    _sorted(gathered, dtype).tofile(file)
                    lengths.append(count)
                    gathered, count = [], 0
            if not lengths:
                yield _sorted(gathered, dtype)
                return
            _sorted(gathered, dtype).tofile(file)
            lengths.append(count)
        gathered = []
        with scratch.open("rb") as file:
            yield from _merge(file, lengths, dtype, max(_MIN_BLOCK, capacity // len(lengths)))
    finally:
        scratch.unlink(missing_ok=True)


def _sorted(blocks: list[Records], dtype: np.dtype[Any]) -> Records:
    records = np.concatenate(blocks) if blocks else np.empty(0, dtype)
    names = dtype.names or ()
    return records[np.lexsort([records[name] for name in reversed(names)])]


def _merge(
    file: BinaryIO, lengths: list[int], dtype: np.dtype[Any], block: int
) -> Iterator[Records]:
    """Merge the runs: all records up to the least last one of the blocks in memory are next."""
    read = _reader(file, dtype, block)
    position = 0
    runs = []
    for length in lengths:
        run = _Run(position, length, np.empty(0, dtype))
        position += length * dtype.itemsize
        read(run)
        runs.append(run)
    while runs := [run for run in runs if len(run.block)]:
        unfinished = [run.block[-1] for run in runs if run.remaining]
        bound = min(unfinished, key=lambda record: record.tolist()) if unfinished else None
        parts = []
        for run in runs:
            end = len(run.block) if bound is None else _count_up_to(run.block, bound)
            parts.append(run.block[:end])
            run.block = run.block[end:]
            if not len(run.block):
                read(run)
        yield _sorted(parts, dtype)


def _reader(file: BinaryIO, dtype: np.dtype[Any], block: int) -> Callable[[_Run], None]:
    def read(run: _Run) -> None:
        count = min(block, run.remaining)
        file.seek(run.position)
        run.block = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        run.position += count * dtype.itemsize
        run.remaining -= count

    return read


def _count_up_to(block: Records, bound: np.void) -> int:
    """Return how many records of a sorted block are not above `bound`."""
    low, high = 0, len(block)
    for name in block.dtype.names or ():
        # Among the records equal in the fields before, those below in this one are below.
        field = block[name][low:high]
        low, high = (
            low + int(np.searchsorted(field, bound[name], "left")),
            low + int(np.searchsorted(field, bound[name], "right")),
        )
    return high
