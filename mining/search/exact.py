"""The nearest neighbors of two languages, in both directions, exactly and in bounded memory.

Each product serves both directions. A pass over all products keeps some more candidates than are
wanted by an approximate cosine; they are then scored in full precision. With

    x = x^ + e, y = y^ + f:  |x y - x^ y^| <= |x^| |f| + |e| |y|

known for every row, it is known too whose neighbors are surely the nearest. The few others get a
second pass with more candidates, and what is still unsure then is compared with everything. So the
result is that of a full search, whatever the blocks, the threads and the instructions of the CPU.

Where a few directions hold most of the vectors, x^ y^ is of coordinates in them, and not below the
cosine by more than the same bound (`mining/search/leading_directions.py`); the second pass has
all dimensions.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mining.search.kernel import PANEL, Best, Codes, Frame
from mining.search.leading_directions import DEEPER, SPARE, plan_search, whole_frames
from mining.search.margin import Float32, Int64, Neighbors
from mining.search.vectors import Products, Vectors, mean_vector, row_blocks, scratch_array

logger = logging.getLogger(__name__)

_FEW = 16
"""Rows that are compared with everything at once; for more it pays to quantize everything."""

_ROWS = 2048
"""Rows that are multiplied with a block of columns at once."""

_FEWEST = 2 * PANEL
"""Rows and columns of a block where memory is less than that takes."""


class _Slack:
    """How far approximate cosines of one side's rows may be off, from all of the other side."""

    def __init__(self, frame: Frame) -> None:
        self._error = self._length = 0.0
        # Sums of as many products in float32.
        self._rounding = (len(frame.mean) + 64) * 2.0**-24
        self._coordinates = frame.rounding

    def add(self, codes: Codes) -> None:
        self._error = max(self._error, float(codes.error.max(initial=0)))
        self._length = max(self._length, float(codes.length.max(initial=0)))

    def of(self, error: Float32, length: Float32) -> Float32:
        bound = (length + error) * self._error + error * self._length
        rounding = self._coordinates * self._length * length + self._rounding
        return (np.float32(1.001) * bound + rounding).astype(np.float32)


def exact_neighbors(
    source: Vectors,
    target: Vectors,
    products: Products,
    *,
    neighbors: int,
    memory_mb: int,
    threads: int = 1,
    scratch: Path | None = None,
) -> tuple[Neighbors, Neighbors]:
    """Return the nearest targets of all sources, and the nearest sources of all targets.

    Args:
        source: [N, D]
        target: [M, D]
        products: What multiplies.
        neighbors: How many, k; all of them where there are fewer.
        memory_mb: What blocks of vectors may take; it never changes the result.
        threads: Stripes of columns that are multiplied at the same time.
        scratch: A folder for what is kept of every sentence; without it, it is kept in memory.
    """
    search = _Search(products, neighbors, memory_mb, threads, scratch)
    forward, backward, unsure = search.both(source, target)
    for name, found, rows, queries, candidates in (
        ("sources", forward, unsure[0], source, target),
        ("targets", backward, unsure[1], target, source),
    ):
        if len(rows):
            share = 100 * len(rows) / len(queries.matrix)
            logger.info("second pass for %s of the %s (%.1f %%)", f"{len(rows):,}", name, share)
            search.again(found, rows, queries, candidates)
    return forward, backward


class _Search:
    def __init__(
        self, products: Products, neighbors: int, memory_mb: int, threads: int, scratch: Path | None
    ) -> None:
        self._products = products
        self._neighbors = neighbors
        self._bytes = memory_mb << 20
        self._threads = threads
        self._scratch = scratch
        self._pool = ThreadPoolExecutor(threads)

    def both(
        self, source: Vectors, target: Vectors
    ) -> tuple[Neighbors, Neighbors, tuple[Int64, Int64]]:
        """Return the neighbors of both sides, and the rows of each that are not certain."""
        sources, targets = len(source.matrix), len(target.matrix)
        frames, kept = plan_search(source, target, self._products, self._neighbors)
        forward, backward = self._result(sources, targets), self._result(targets, sources)
        row_best = [self._heaps(sources, kept) for _ in range(self._threads)]
        row_error, row_length = np.zeros(sources, np.float32), np.zeros(sources, np.float32)
        slack = _Slack(frames[0]), _Slack(frames[0])
        unsure = []
        for block in row_blocks(targets, self._block_size(frames[1].depth, kept)):
            stripes = self._stripes(target, block, frames[1])
            column_best = [Best.empty(columns.size, kept) for _, columns in stripes]
            for _, columns in stripes:
                slack[0].add(columns)
            for rows in row_blocks(sources, _ROWS):
                codes = self._products.quantize(
                    source.matrix[rows], source.norms[rows], frames[0], as_columns=False
                )
                slack[1].add(codes)
                row_error[rows], row_length[rows] = codes.error, codes.length
                heaps = [_part(best, rows) for best in row_best]
                self._multiply(codes, heaps, rows.start, stripes, column_best)
            for (first, columns), best in zip(stripes, column_best, strict=True):
                own = slice(first, first + columns.size)
                bound = slack[1].of(columns.error, columns.length)
                unsure.append(self._settle(backward, own, target, source, [best], bound))
        open_rows = []
        for rows in row_blocks(sources, _ROWS):
            heaps = [_part(best, rows) for best in row_best]
            bound = slack[0].of(row_error[rows], row_length[rows])
            open_rows.append(self._settle(forward, rows, source, target, heaps, bound))
        return forward, backward, (_joined(open_rows), _joined(unsure))

    def _multiply(
        self,
        codes: Codes,
        row_best: list[Best],
        first_row: int,
        stripes: list[tuple[int, Codes]],
        column_best: list[Best],
    ) -> None:
        """Multiply rows with all stripes, each in a thread of its own."""
        jobs = [
            self._pool.submit(
                self._products.multiply, codes, heaps, first_row, columns, best, first
            )
            for heaps, (first, columns), best in zip(
                row_best[: len(stripes)], stripes, column_best, strict=True
            )
        ]
        for job in jobs:
            job.result()

    def again(self, found: Neighbors, rows: Int64, queries: Vectors, candidates: Vectors) -> None:
        """Search the neighbors of some rows with more candidates, then with all; in place."""
        if len(rows) <= _FEW:
            for row in rows.tolist():
                self._compare_all(found, row, queries, candidates)
            return
        width = queries.matrix.shape[1]
        kept = (self._neighbors + SPARE) * DEEPER
        means = mean_vector(queries, self._products), mean_vector(candidates, self._products)
        frames = whole_frames(means)
        # Half of the memory for the rows, their codes and heaps; the other half for columns.
        most = self._bytes // 2 // (3 * width + 8 * kept)
        for part in row_blocks(len(rows), min(_ROWS, max(_FEWEST, most))):
            own = Vectors(queries.matrix[rows[part]], queries.norms[rows[part]])
            best = Best.empty(len(own.matrix), kept)
            codes = self._products.quantize(*own, frames[0], as_columns=False)
            slack = _Slack(frames[0])
            for block in row_blocks(len(candidates.matrix), self._block_size(width, 0) // 2):
                columns = self._products.quantize(
                    candidates.matrix[block], candidates.norms[block], frames[1], as_columns=True
                )
                slack.add(columns)
                self._products.multiply(codes, best, 0, columns, None, block.start)
            result = self._result(len(own.matrix), len(candidates.matrix))
            bound = slack.of(codes.error, codes.length)
            still = self._settle(result, slice(0, len(own.matrix)), own, candidates, [best], bound)
            for row in still.tolist():
                self._compare_all(result, row, own, candidates)
            found.ids[rows[part]], found.cosines[rows[part]] = result

    def _compare_all(
        self, found: Neighbors, row: int, queries: Vectors, candidates: Vectors
    ) -> None:
        count = found.ids.shape[1]
        ids, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
        for block in row_blocks(len(candidates.matrix), 1 << 16):
            new = self._products.cosines(
                queries.matrix[row],
                float(queries.norms[row]),
                candidates.matrix[block],
                candidates.norms[block],
            )
            # Sorting all of them would take longer than to compare them.
            least = np.partition(new, -count)[-count] if len(new) > count else -np.inf
            near = np.flatnonzero(new >= least)
            ids = np.concatenate([ids, block.start + near])
            cosines = np.concatenate([cosines, new[near]])
            order = np.lexsort((ids, -cosines))[:count]
            ids, cosines = ids[order], cosines[order]
        found.ids[row], found.cosines[row] = ids, cosines

    def _settle(
        self,
        found: Neighbors,
        own: slice,
        queries: Vectors,
        candidates: Vectors,
        heaps: list[Best],
        slack: Float32,
    ) -> Int64:
        """Score the candidates of some rows in full; return the rows that are not certain."""
        result, is_exact = self._products.rescore(
            queries.matrix[own],
            queries.norms[own],
            *candidates,
            _joined_heaps(heaps),
            slack,
            found.ids.shape[1],
        )
        found.ids[own], found.cosines[own] = result
        unsure: Int64 = own.start + np.flatnonzero(~is_exact)
        return unsure

    def _stripes(self, target: Vectors, block: slice, frame: Frame) -> list[tuple[int, Codes]]:
        """Return a block of columns in a stripe for each thread, with the id of its first."""
        size = -(-(block.stop - block.start) // self._threads)
        size = -(-size // PANEL) * PANEL
        stripes = []
        for start in range(block.start, block.stop, size):
            rows = slice(start, min(start + size, block.stop))
            codes = self._products.quantize(
                target.matrix[rows], target.norms[rows], frame, as_columns=True
            )
            stripes.append((start, codes))
        return stripes

    def _block_size(self, width: int, kept: int) -> int:
        """Return how many columns fit into memory: their codes, twice while packed, and heaps."""
        spent = _ROWS * (width + 8 * max(kept, self._neighbors + SPARE) * self._threads)
        return max(_FEWEST, (self._bytes - spent) // (2 * width + 8 * kept + 64))

    def _result(self, count: int, candidates: int) -> Neighbors:
        shape = (count, min(self._neighbors, candidates))
        return Neighbors(
            scratch_array(shape, np.int64, self._scratch),
            scratch_array(shape, np.float32, self._scratch),
        )

    def _heaps(self, count: int, kept: int) -> Best:
        best = Best(
            scratch_array((count, kept), np.float32, self._scratch),
            scratch_array((count, kept), np.int32, self._scratch),
        )
        for rows in row_blocks(count, 1 << 14):
            best.scores[rows], best.ids[rows] = -np.inf, -1
        return best


def _part(best: Best, rows: slice) -> Best:
    return Best(best.scores[rows], best.ids[rows])


def _joined(parts: list[Int64]) -> Int64:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _joined_heaps(heaps: list[Best]) -> Best:
    """Return the best of several heaps of the same rows, each of other candidates."""
    if len(heaps) == 1:
        return heaps[0]
    scores = np.concatenate([best.scores for best in heaps], axis=1)
    ids = np.concatenate([best.ids for best in heaps], axis=1)
    kept = heaps[0].scores.shape[1]
    order = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
    return Best(
        np.ascontiguousarray(np.take_along_axis(scores, order, axis=1)),
        np.ascontiguousarray(np.take_along_axis(ids, order, axis=1)),
    )
