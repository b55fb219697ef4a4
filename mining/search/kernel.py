"""The compiled search kernel, called through ctypes; see `mining/search/kernel.cpp`.

Structures here hold addresses: the arrays must outlive the call.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.native import load_library
from mining.search.margin import Float32, Int64, Neighbors

Float16 = npt.NDArray[np.float16]
Float64 = npt.NDArray[np.float64]

PANEL = 32
"""Columns are multiplied in panels of so many."""

_INTERFACE = 2
"""That of the compiled part; see `corpus.native.load_library`."""

_CODE_LIMITS = {0: 127, 1: 63, 2: 127}
"""Largest column code by level: AVX2 adds two products in sixteen bits."""

_KEEPING = {0: 2600.0, 1: 2600.0, 2: 9000.0}
"""What it costs to keep a candidate, in multiplications, by level; measured for the upper two, by
the time that more candidates take (docs/experiments.md)."""

_ROW_LIMIT = 127
_DEPTH = 4


class _Side(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("codes", "scale", "offset", "scores", "ids")),
        ("count", ctypes.c_int64),
        ("first", ctypes.c_int64),
    ]


class Frame(NamedTuple):
    """How vectors of one side are written down before they are quantized."""

    mean: Float32
    """What is taken off the unit vectors, [D]."""

    other_mean: Float32
    """What is taken off the other side, [D]."""

    basis: Float32 | None = None
    """Orthonormal leading directions and a last column of zeros, [D, P], P a multiple of 32. With
    it coordinates are quantized, and in the place of the last the length of what they leave."""

    rounding: float = 0.0
    """How far squares of rests and products of coordinates may be off, for vectors of length 1."""

    @property
    def depth(self) -> int:
        """Numbers that are multiplied of a vector."""
        return len(self.mean) if self.basis is None else self.basis.shape[1]


class Best(NamedTuple):
    """The best candidates of each sentence so far, by approximate cosine: min-heaps."""

    scores: Float32
    """[N, kept]"""

    ids: npt.NDArray[np.int32]
    """[N, kept]; -1 where there is nothing yet."""

    @classmethod
    def empty(cls, count: int, kept: int) -> Best:
        """Return heaps without a candidate."""
        return cls(
            np.full((count, kept), -np.inf, np.float32), np.full((count, kept), -1, np.int32)
        )


class Codes(NamedTuple):
    """Quantized vectors, and what is needed to make cosines of their products."""

    codes: npt.NDArray[Any]
    """int8 [N, depth] for rows; uint8 [panels, depth, 32] for columns."""

    scale: Float32
    offset: Float32
    error: Float32
    """Length of what quantization took away, [N]."""

    length: Float32
    """Length of what was quantized, [N]."""

    size: int
    """N; scale and offset are padded to whole panels."""


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = load_library("mining.search", "_kernel", _INTERFACE)
    if library is not None:
        library.tongues_search_level.restype = ctypes.c_int64
        for name in (
            "squares",
            "units",
            "project",
            "orthonormalize",
            "quantize",
            "pack",
            "multiply",
            "rescore",
            "cosines",
        ):
            getattr(library, f"tongues_search_{name}").restype = None
    return library


def is_compiled() -> bool:
    """Whether the compiled kernel is there."""
    return _library() is not None


class Kernel:
    """The compiled kernel at one level of instructions. Calls from several threads are safe."""

    def __init__(self, level: int | None = None) -> None:
        """Take the best level of this machine, or a lower one.

        Args:
            level: 2 is AVX-512 with VNNI, 1 AVX2, 0 plain.
        """
        library = _library()
        assert library is not None
        self._library = library
        best = int(library.tongues_search_level())
        self.level = best if level is None else min(level, best)
        self._column_limit = _CODE_LIMITS[self.level]
        self.keeping = _KEEPING[self.level]

    def _call(self, name: str, *arguments: Any) -> None:
        values = [
            ctypes.c_void_p(value.ctypes.data)
            if isinstance(value, np.ndarray)
            else ctypes.c_double(value)
            if isinstance(value, float)
            else ctypes.byref(value)
            if isinstance(value, ctypes.Structure)
            else ctypes.c_int64(value)
            for value in arguments
        ]
        getattr(self._library, f"tongues_search_{name}")(*values)

    def norms(self, vectors: Float16) -> Float64:
        """Return the lengths of vectors, [N]."""
        squares = np.empty(len(vectors), np.float64)
        self._call("squares", self.level, vectors, *vectors.shape, squares)
        return np.sqrt(squares)

    def units(self, vectors: Float16, norms: Float64) -> Float32:
        """Return vectors divided by their lengths, [N, D]."""
        vectors = np.ascontiguousarray(vectors)
        units = np.empty(vectors.shape, np.float32)
        self._call("units", self.level, vectors, *vectors.shape, np.ascontiguousarray(norms), units)
        return units

    def project(self, vectors: Float32, basis: Float32) -> Float32:
        """Return vectors times a basis of 32 columns or a multiple, [N, P]."""
        vectors = np.ascontiguousarray(vectors)
        projected = np.empty((len(vectors), basis.shape[1]), np.float32)
        self._call("project", vectors, *vectors.shape, _panels(basis), basis.shape[1], projected)
        return projected

    def orthonormalize(self, columns: Float32) -> Float32:
        """Return an orthonormal basis of columns, in their order; zeros where spanned already."""
        rows = np.array(columns.T, np.float32, order="C")
        self._call("orthonormalize", rows, *rows.shape)
        return np.ascontiguousarray(rows.T)

    def quantize(
        self, vectors: Float16, norms: Float64, frame: Frame, *, as_columns: bool
    ) -> Codes:
        """Center vectors, divide them by their lengths and quantize them.

        Args:
            vectors: [N, D], contiguous.
            norms: Their lengths, [N].
            frame: Means, and leading directions if only those are to be multiplied.
            as_columns: As columns, packed, or as rows.
        """
        count, width = vectors.shape
        lead = 0 if frame.basis is None else frame.basis.shape[1]
        depth = -(-(lead or width) // _DEPTH) * _DEPTH
        padded = -(-count // PANEL) * PANEL
        limit = self._column_limit if as_columns else _ROW_LIMIT
        codes: npt.NDArray[Any] = np.empty((count, depth), np.int8)
        # Columns beyond the last one must never be a neighbor.
        scale, offset = np.zeros(padded, np.float32), np.full(padded, -np.inf, np.float32)
        error, length = np.empty(count, np.float32), np.empty(count, np.float32)
        basis = np.empty(0, np.float32) if frame.basis is None else _panels(frame.basis)
        self._call(
            "quantize",
            self.level,
            vectors,
            count,
            width,
            depth,
            limit,
            norms,
            frame.mean,
            frame.other_mean,
            lead,
            basis,
            frame.rounding,
            codes,
            scale,
            offset,
            error,
            length,
        )
        if as_columns:
            # Both sides' offsets hold the product of the means; it must count once.
            offset -= np.float32(frame.mean @ frame.other_mean)
            packed = np.empty((padded // PANEL, depth, PANEL), np.uint8)
            self._call("pack", codes, count, depth, limit, packed)
            codes = packed
        return Codes(codes, scale, offset, error, length, count)

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
        depth = rows.codes.shape[1]
        kept = row_best.scores.shape[1]
        heaps = column_best or Best(row_best.scores[:0], row_best.ids[:0])
        self._call(
            "multiply",
            self.level,
            _side(rows, row_best, first_row),
            _side(columns, heaps, first_column),
            depth,
            self._column_limit,
            kept,
            int(column_best is not None),
        )

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
        """Score the candidates in full precision; return whose neighbors are certain.

        Args:
            rows: [N, D]
            row_norms: [N]
            candidates: [M, D]
            norms: [M]
            best: Of the rows, [N, kept].
            slack: How far each row's approximate cosines may be off, [N].
            neighbors: How many to keep, k; at most M.
        """
        count, width = rows.shape
        ids: Int64 = np.full((count, neighbors), -1, np.int64)
        cosines: Float32 = np.full((count, neighbors), -np.inf, np.float32)
        is_exact = np.empty(count, np.uint8)
        self._call(
            "rescore",
            self.level,
            rows,
            row_norms,
            count,
            width,
            candidates,
            norms,
            best.scores,
            best.ids,
            best.ids.shape[1],
            slack,
            neighbors,
            ids,
            cosines,
            is_exact,
        )
        return Neighbors(ids, cosines), is_exact.astype(np.bool_)

    def cosines(
        self, row: Float16, row_norm: float, candidates: Float16, norms: Float64
    ) -> Float32:
        """Return the cosines of one vector and all candidates, [M]."""
        out = np.empty(len(candidates), np.float32)
        self._call(
            "cosines",
            self.level,
            row,
            float(row_norm),
            candidates.shape[1],
            candidates,
            norms,
            len(candidates),
            out,
        )
        return out


def _panels(basis: Float32) -> Float32:
    """Return directions in panels of 32, [P / 32, D, 32]."""
    return np.ascontiguousarray(basis.reshape(len(basis), -1, PANEL).transpose(1, 0, 2))


def _side(codes: Codes, best: Best, first: int) -> _Side:
    return _Side(
        *(array.ctypes.data for array in (codes.codes, codes.scale, codes.offset, *best)),
        codes.size,
        first,
    )
