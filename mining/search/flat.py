"""Nearest neighbors by cosine with FAISS, every vector against every other."""

import numpy as np
import numpy.typing as npt

from mining.search.kernel import Best, Codes, Float16, Float64, Frame
from mining.search.load_faiss import faiss
from mining.search.margin import Float32, Neighbors

_GATHERED = 1 << 23
"""Numbers that candidates are gathered in at once, to be scored in full."""


def nearest_neighbors(
    queries: Float32,
    candidates: Float32,
    *,
    neighbors: int,
    block_size: int = 4096,
    threads: int = 1,
) -> Neighbors:
    """Return the nearest candidates of every query by inner product, best first.

    Args:
        queries: Unit vectors, [Q, D].
        candidates: Unit vectors, [C, D].
        neighbors: How many, k; all of them where there are fewer.
        block_size: Queries per search; bounds memory.
        threads: CPU threads.
    """
    faiss.omp_set_num_threads(threads)
    count = min(neighbors, len(candidates))
    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(np.ascontiguousarray(candidates, np.float32))
    ids = np.empty((len(queries), count), np.int64)
    cosines = np.empty((len(queries), count), np.float32)
    for start in range(0, len(queries), block_size):
        block = np.ascontiguousarray(queries[start : start + block_size], np.float32)
        stop = start + len(block)
        _, ids[start:stop] = index.search(block, count)
        # A block's own multiplication rounds by its size; this one does not.
        cosines[start:stop] = np.einsum("qd,qkd->qk", block, candidates[ids[start:stop]])
    order = np.lexsort((ids, -cosines), axis=1)
    return Neighbors(
        np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)
    )


class FlatProducts:
    """Products by FAISS, in the place of the compiled kernel where that was not built.

    The vectors are not quantized; what remains to be bounded is the rounding of float32.
    """

    keeping = 9000.0
    """Not measured: batches of candidates are merged."""

    def norms(self, vectors: Float16) -> Float64:
        """Return the lengths of vectors, [N]."""
        wide = vectors.astype(np.float64)
        norms: Float64 = np.sqrt(np.einsum("nd,nd->n", wide, wide))
        return norms

    def units(self, vectors: Float16, norms: Float64) -> Float32:
        """Return vectors divided by their lengths, [N, D]."""
        return np.ascontiguousarray(vectors / norms[:, None], np.float32)

    def project(self, vectors: Float32, basis: Float32) -> Float32:
        """Return vectors times a basis, [N, P]."""
        projected: Float32 = vectors @ basis
        return projected

    def orthonormalize(self, columns: Float32) -> Float32:
        """Return an orthonormal basis of columns, in their order."""
        return np.asarray(np.linalg.qr(columns)[0], np.float32)

    def quantize(
        self, vectors: Float16, norms: Float64, frame: Frame, *, as_columns: bool
    ) -> Codes:
        """Return unit vectors in float32, or their coordinates and what centering took off."""
        units = self.units(vectors, norms)
        count = len(units)
        nothing, one = np.zeros(count, np.float32), np.ones(count, np.float32)
        if frame.basis is None:
            return Codes(units, one, nothing, nothing, one, count)
        centered = units - frame.mean
        codes = np.empty((count, frame.basis.shape[1] + 2), np.float32)
        coordinates = codes[:, :-2]
        np.matmul(centered, frame.basis, out=coordinates)
        squares = np.einsum("nd,nd->n", centered, centered)
        rest = squares - np.einsum("np,np->n", coordinates, coordinates)
        coordinates[:, -1] = np.sqrt(np.maximum(rest, 0) + np.float32(frame.rounding) * squares)
        # Two numbers more, so that offsets are added; columns' without the product of the means.
        offset = units @ frame.other_mean
        if as_columns:
            codes[:, -2], codes[:, -1] = 1, offset - frame.mean @ frame.other_mean
        else:
            codes[:, -2], codes[:, -1] = offset, 1
        return Codes(codes, one, nothing, nothing, np.sqrt(squares), count)

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
        _offer(rows, row_best, columns, first_column)
        if column_best is not None:
            _offer(columns, column_best, rows, first_row)

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
        if not len(candidates):
            shape = len(rows), neighbors
            nothing = Neighbors(np.full(shape, -1), np.full(shape, -np.inf, np.float32))
            return nothing, np.ones(len(rows), bool)
        ids, cosines = best.ids.astype(np.int64), np.empty(best.ids.shape, np.float32)
        step = max(1, _GATHERED // (ids.shape[1] * rows.shape[1]))
        for start in range(0, len(rows), step):
            own = slice(start, start + step)
            near = candidates[ids[own]].astype(np.float64)
            products = np.einsum("qd,qkd->qk", rows[own].astype(np.float64), near)
            cosines[own] = products / (row_norms[own, None] * norms[ids[own]])
        cosines[ids < 0] = -np.inf
        # Lists are full only where there were enough candidates.
        order = np.lexsort((ids, -cosines), axis=1)[:, :neighbors]
        found = Neighbors(
            np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)
        )
        is_short = (best.ids < 0).any(axis=1)
        is_exact = is_short | (best.scores.min(axis=1) + slack < found.cosines[:, -1])
        return found, is_exact

    def cosines(
        self, row: Float16, row_norm: float, candidates: Float16, norms: Float64
    ) -> Float32:
        """Return the cosines of one vector and all candidates, [M]."""
        out: Float32 = np.empty(len(candidates), np.float32)
        for start in range(0, len(candidates), 1 << 12):
            own = slice(start, start + (1 << 12))
            products = candidates[own].astype(np.float64) @ row.astype(np.float64)
            out[own] = products / (row_norm * norms[own])
        return out


def _offer(rows: Codes, best: Best, columns: Codes, first: int) -> None:
    """Merge the nearest columns of every row into its best."""
    kept = best.scores.shape[1]
    count = min(kept, columns.size)
    scores, ids = faiss.knn(rows.codes, columns.codes, count, metric=faiss.METRIC_INNER_PRODUCT)
    merge_best(best, scores, ids.astype(np.int32) + np.int32(first))


def merge_best(best: Best, scores: Float32, ids: npt.NDArray[np.int32]) -> None:
    """Merge candidates into the best of every row; of equal scores the lower id stays."""
    kept = best.scores.shape[1]
    scores = np.concatenate([best.scores, scores], axis=1)
    ids = np.concatenate([best.ids, ids], axis=1)
    order = np.lexsort((ids, -scores), axis=1)[:, :kept]
    best.scores[:] = np.take_along_axis(scores, order, axis=1)
    best.ids[:] = np.take_along_axis(ids, order, axis=1)
