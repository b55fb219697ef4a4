"""Tokens of sentences as files: two memory-mapped arrays per shard, written as a stream.

`NAME.tokens.npy` holds the tokens of all sentences end to end, `NAME.offsets.npy` where each begins
and, one more, where the last ends. In a shard of pairs the sides of pair i are the sentences 2i and
2i + 1.
"""

import io
import mmap
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from corpus.errors import DataError
from corpus.files import atomic_path

_VERSION = (1, 0)
_OPEN_FILES = 256


def token_paths(shard: Path) -> tuple[Path, Path]:
    """Return the files of tokens and of offsets of a shard, given without suffix."""
    return shard.with_name(f"{shard.name}.tokens.npy"), shard.with_name(f"{shard.name}.offsets.npy")


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """Return the narrowest type that holds every token."""
    return np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.int32)


def pick(
    tokens: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
    """Return ranges of an array, concatenated."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    picked: NDArray[Any] = tokens[np.repeat(starts - (ends - lengths), lengths) + np.arange(total)]
    return picked


class _ArrayWriter:
    """Appends to a one-dimensional `.npy` file."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._dtype = dtype
        self.size = 0
        self._write_header()

    def _write_header(self) -> None:
        header = io.BytesIO()
        # NumPy leaves room for the first dimension to grow in place.
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(header, description)
        self._file.write(header.getvalue())

    def append(self, values: NDArray[Any]) -> None:
        self._file.write(values.astype(self._dtype, copy=False).tobytes())
        self.size += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()


class TokenWriter:
    """Appends sentences to a shard."""

    def __init__(self, tokens: _ArrayWriter, offsets: _ArrayWriter) -> None:
        self._tokens = tokens
        self._offsets = offsets
        offsets.append(np.zeros(1, np.int64))

    def append(self, tokens: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        """Append sentences.

        Args:
            tokens: Their tokens, end to end.
            lengths: How many each has.
        """
        self._offsets.append(self._tokens.size + np.cumsum(lengths))
        self._tokens.append(tokens)


@contextmanager
def token_writer(shard: Path, dtype: DTypeLike) -> Iterator[TokenWriter]:
    """Yield a writer of a shard, whose files appear whole when the block succeeds."""
    with ExitStack() as stack:
        arrays = []
        for path, kind in zip(
            token_paths(shard), (np.dtype(dtype), np.dtype(np.int64)), strict=True
        ):
            temporary = stack.enter_context(atomic_path(path))
            arrays.append(_ArrayWriter(stack.enter_context(temporary.open("wb")), kind))
        yield TokenWriter(*arrays)
        for array in arrays:
            array.close()


@dataclass(frozen=True)
class _Array:
    """Where the values of an `.npy` file are."""

    path: Path
    dtype: np.dtype[Any]
    size: int
    begin: int

    @classmethod
    def of(cls, path: Path) -> "_Array":
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                begin = file.tell()
                size = file.seek(0, io.SEEK_END)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable array: {error}") from error
        if version != _VERSION or len(shape) != 1 or size != begin + shape[0] * dtype.itemsize:
            raise DataError(
                f"{path} is not a complete one-dimensional array. Delete it and its receipt; the"
                " next run rewrites it."
            )
        return cls(path, dtype, shape[0], begin)

    def map(self) -> NDArray[Any]:
        # What `np.memmap` does in five times the time, and without its slower indexing.
        with self.path.open("rb") as file:
            bytes_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(bytes_, self.dtype, self.size, self.begin)


class TokenShards:
    """Reads sentences of many shards, few of which are open at a time."""

    def __init__(self, shards: Sequence[Path]) -> None:
        """Open the shards' files.

        Raises:
            DataError: If one is missing or damaged.
        """
        self._arrays = [tuple(_Array.of(path) for path in token_paths(shard)) for shard in shards]
        self._open: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        for tokens, offsets in self._arrays:
            if offsets.size == 0 or int(offsets.map()[-1]) != tokens.size:
                raise DataError(f"{tokens.path} and {offsets.path.name} do not fit each other")

    def num_sentences(self, shard: int) -> int:
        """Return how many sentences a shard holds."""
        return self._arrays[shard][1].size - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the tokens."""
        return self._arrays[0][0].dtype

    def offsets(self, shard: int) -> NDArray[np.int64]:
        """Return the offsets of a shard, memory-mapped."""
        return self._mapped(shard, 1)

    def tokens(self, shard: int) -> NDArray[Any]:
        """Return the tokens of a shard, memory-mapped."""
        return self._mapped(shard, 0)

    def _mapped(self, shard: int, kind: int) -> NDArray[Any]:
        key = shard, kind
        mapped = self._open.get(key)
        if mapped is None:
            if len(self._open) == _OPEN_FILES:
                self._open.popitem(last=False)
            self._open[key] = mapped = self._arrays[shard][kind].map()
        self._open.move_to_end(key)
        return mapped
