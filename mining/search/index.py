"""An index of FAISS over clusters: trained once, filled with a block of vectors, searched."""

from pathlib import Path
from typing import Any

import numpy as np

from corpus.errors import DataError
from mining.search.flat import merge_best
from mining.search.kernel import Best
from mining.search.load_faiss import faiss
from mining.search.margin import Float32


def train_index(vectors: Float32, clusters: int) -> Any:
    """Train clusters and codes: inverted lists of 4-bit product codes, four columns each.

    `PQ…x4fs` trains no polysemous codes and no rotation: those take hundreds of seconds and are for
    distances that are used as they are.
    """
    width = vectors.shape[1]
    parts = next(parts for parts in range(max(1, width // 4), 0, -1) if width % parts == 0)
    name = f"IVF{clusters},PQ{parts}x4fs"
    index = faiss.index_factory(width, name, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(1)
    index.train(vectors)
    return index


def write_index(index: Any, path: Path) -> None:
    """Write a trained index in FAISS's own format."""
    faiss.write_index(index, str(path))


def read_index(path: Path) -> Any:
    """Read a trained index.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(
            f"{path} is not a readable index; train it again with `tongues mining train-index`"
        ) from error


class FilledIndex:
    """A trained index with a block of vectors in it."""

    def __init__(self, trained: Any, *, probes: int, threads: int) -> None:
        """Start from an empty copy; `probes` clusters are searched for every query."""
        faiss.omp_set_num_threads(threads)
        index: Any = faiss.clone_index(trained)
        index.nprobe = probes
        self._index = index

    def add(self, vectors: Float32) -> None:
        """Add unit vectors; their ids count from 0 in the order they are added."""
        self._index.add(vectors)

    def offer(self, queries: Float32, best: Best, first: int) -> None:
        """Merge what is found for each query into its best; `first` is added to the ids."""
        scores, ids = self._index.search(queries, best.scores.shape[1])
        # A list that was not full ends in -1, and its score means nothing.
        scores[ids < 0] = -np.inf
        merge_best(best, scores, np.where(ids < 0, -1, ids + first).astype(np.int32))
