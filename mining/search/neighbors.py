"""Which plan finds the neighbors: by size, or as a person says."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.errors import DataError
from mining.search.config import MineConfig
from mining.search.exact import exact_neighbors
from mining.search.kernel import Kernel, is_compiled
from mining.search.margin import Neighbors
from mining.search.vectors import Products, Vectors, make_vectors


class Found(NamedTuple):
    """Neighbors in both directions."""

    forward: Neighbors
    backward: Neighbors


@functools.cache
def _kernel() -> Kernel:
    return Kernel()


def choose_products(config: MineConfig) -> Products:
    """Return what multiplies vectors under a plan."""
    if config.plan != "flat" and is_compiled():
        return _kernel()
    from mining.search.index import FlatProducts

    return FlatProducts()


def as_vectors(
    matrix: npt.NDArray[np.floating], config: MineConfig, name: str = "embeddings"
) -> Vectors:
    """Return vectors with their lengths, in float16, the precision that embeddings are kept in.

    Raises:
        DataError: If one is not finite.
    """
    half = np.ascontiguousarray(matrix, np.float16) if matrix.dtype != np.float16 else matrix
    return make_vectors(half, choose_products(config), name)


def find_neighbors(
    source: Vectors, target: Vectors, config: MineConfig, scratch: Path | None = None
) -> Found:
    """Return the nearest targets of all sources and the nearest sources of all targets.

    Args:
        source: [N, D]
        target: [M, D]
        config: Plan, k, memory and threads.
        scratch: A folder for what is kept of every sentence.

    Raises:
        DataError: If widths differ.
    """
    widths = source.matrix.shape[1], target.matrix.shape[1]
    if widths[0] != widths[1]:
        raise DataError(
            f"source embeddings have {widths[0]} columns and target embeddings {widths[1]};"
            " embed both with one encoder"
        )
    return Found(
        *exact_neighbors(
            source, target, choose_products(config), neighbors=config.neighbors,
            memory_mb=config.memory_mb, threads=config.threads, scratch=scratch,
        )
    )  # fmt: skip
