"""Vectors of a language, the interface of products, and arrays on disk."""

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from corpus.errors import DataError
from mining.search.kernel import Best, Codes, Float16, Float64, Frame
from mining.search.margin import Float32, Neighbors

_SAMPLE = 1 << 12
"""Vectors that the mean is taken of; any would do, a near one makes codes finer."""


class Vectors(NamedTuple):
    """Vectors of a language."""

    matrix: Float16
    """[N, D], contiguous; may be memory-mapped."""

    norms: Float64
    """Their lengths, [N]; 1 for a vector of zeros, whose cosines are all 0."""


class Products(Protocol):
    """What multiplies vectors: the compiled kernel, or FAISS."""

    @property
    def keeping(self) -> float:
        """What it costs to keep a candidate, in multiplications."""
        ...

    def norms(self, vectors: Float16) -> Float64:
        """Return the lengths of vectors, [N]."""
        ...

    def units(self, vectors: Float16, norms: Float64) -> Float32:
        """Return vectors divided by their lengths, [N, D]."""
        ...

    def project(self, vectors: Float32, basis: Float32) -> Float32:
        """Return vectors times a basis of 32 columns or a multiple, [N, P]."""
        ...

    def orthonormalize(self, columns: Float32) -> Float32:
        """Return an orthonormal basis of columns, in their order."""
        ...

    def quantize(
        self, vectors: Float16, norms: Float64, frame: Frame, *, as_columns: bool
    ) -> Codes:
        """Return vectors in the form that is multiplied."""
        ...

    def multiply(
        self,
        rows: Codes,
        row_best: Best,
        first_row: int,
        columns: Codes,
        column_best: Best | None,
        first_column: int,
    ) -> None:
        """Offer every column to every row, and every row to every column if those have heaps."""
        ...

    def rescore(
        self,
        rows: Float16,
        row_norms: Float64,
        candidates: Float16,
        norms: Float64,
        best: Best,
        slack: Float32,
        neighbors: int,
    ) -> tuple[Neighbors, npt.NDArray[np.bool_]]:
        """Return the neighbors among what was kept, and for which rows they are surely right."""
        ...

    def cosines(
        self, row: Float16, row_norm: float, candidates: Float16, norms: Float64
    ) -> Float32:
        """Return the cosines of one vector and all candidates, [M]."""
        ...


def scratch_array(shape: tuple[int, ...], dtype: Any, folder: Path | None) -> npt.NDArray[Any]:
    """Return an array, in a file without a name where a folder is given: gone with the process."""
    if folder is None or not all(shape):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Reserved now: a disk that fills up later would silently kill the process.
        os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
        return np.memmap(file, dtype, "w+", shape=shape)


def make_vectors(matrix: Float16, products: Products, name: str = "embeddings") -> Vectors:
    """Return vectors with their lengths.

    Raises:
        DataError: If a vector is not finite.
    """
    norms = np.concatenate(
        [np.empty(0), *(products.norms(matrix[rows]) for rows in row_blocks(len(matrix), 1 << 16))]
    )
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise DataError(
            f"{name}: vector {row} is not finite. The embedding overflowed or is damaged; rerun"
            " `tongues mining embed`."
        )
    norms[norms == 0] = 1.0
    return Vectors(matrix, norms)


def row_blocks(count: int, size: int) -> Iterator[slice]:
    """Yield `count` rows in blocks of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def mean_vector(vectors: Vectors, products: Products) -> Float32:
    """Return the mean of evenly spaced unit vectors, [D]."""
    step = max(1, len(vectors.matrix) // _SAMPLE)
    total = np.zeros(vectors.matrix.shape[1])
    count = 0
    for start in range(0, len(vectors.matrix), step << 10):
        rows = slice(start, start + (step << 10), step)
        units = products.units(vectors.matrix[rows], vectors.norms[rows])
        total += units.sum(axis=0)
        count += len(units)
    return (total / max(count, 1)).astype(np.float32)
