"""Nearest neighbors by cosine, exactly, with FAISS."""

import os
from pathlib import Path

import numpy as np

from mining.search.margin import Float32, Neighbors


def _choose_blas_kernel() -> None:
    """Tell the OpenBLAS inside the faiss wheel which kernel to use, before it is loaded.

    Builds of it do not know every recent CPU and then fall back to a kernel of 2004, four times
    slower. SkylakeX is right for everything with AVX-512. A value that is set is left alone.
    """
    cpu = Path("/proc/cpuinfo")
    if "OPENBLAS_CORETYPE" not in os.environ and cpu.exists() and "avx512bw" in cpu.read_text():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


_choose_blas_kernel()

import faiss  # noqa: E402  (the kernel is chosen when it is loaded)


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
