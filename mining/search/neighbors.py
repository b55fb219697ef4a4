"""The plan by which neighbors are found: by size, or as configured."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.errors import DataError
from mining.search.config import SearchConfig
from mining.search.exact import exact_neighbors
from mining.search.kernel import Kernel, is_compiled
from mining.search.margin import Neighbors
from mining.search.train_index import indexed_neighbors
from mining.search.vectors import Products, Vectors, make_vectors

EXACT_UP_TO = 1_000_000
"""Sentences of the larger language up to which `auto` searches exactly: an hour and a half of a
core for a million a side and 1,024 dimensions if all are multiplied, less than embedding takes."""


class Found(NamedTuple):
    """Neighbors in both directions."""

    forward: Neighbors
    backward: Neighbors


def uses_index(config: SearchConfig, largest: int) -> bool:
    """Whether the shared index is searched, for so many sentences of the larger language."""
    return config.plan == "index" or (config.plan == "auto" and largest > EXACT_UP_TO)


@functools.cache
def _kernel() -> Kernel:
    return Kernel()


def choose_products(config: SearchConfig) -> Products:
    """Return what multiplies vectors under a plan."""
    if config.plan != "flat" and is_compiled():
        return _kernel()
    from mining.search.flat import FlatProducts

    return FlatProducts()


def as_vectors(
    matrix: npt.NDArray[np.floating], config: SearchConfig, name: str = "embeddings"
) -> Vectors:
    """Return vectors with their lengths, in float16, the precision that embeddings are kept in.

    Raises:
        DataError: If one is not finite.
    """
    half = np.ascontiguousarray(matrix, np.float16) if matrix.dtype != np.float16 else matrix
    return make_vectors(half, choose_products(config), name)


def find_neighbors(
    source: Vectors,
    target: Vectors,
    config: SearchConfig,
    scratch: Path | None = None,
    index: Path | None = None,
) -> Found:
    """Return the nearest targets of all sources and the nearest sources of all targets.

    Args:
        source: [N, D]
        target: [M, D]
        config: Plan, k, memory and threads.
        scratch: A folder for what is kept of every sentence.
        index: The shared index, to be searched instead of everything.

    Raises:
        DataError: If widths differ.
        UserError: If a GPU is wanted and there is none.
    """
    widths = source.matrix.shape[1], target.matrix.shape[1]
    if widths[0] != widths[1]:
        raise DataError(
            f"source embeddings have {widths[0]} columns and target embeddings {widths[1]};"
            " embed both with one encoder"
        )
    if index is None and config.device == "cuda":
        return Found(*_neighbors_on_gpu(source, target, config))
    products = choose_products(config)
    if index is not None:
        return Found(*indexed_neighbors(source, target, index, products, config, scratch))
    return Found(
        *exact_neighbors(
            source,
            target,
            products,
            neighbors=config.neighbors,
            memory_mb=config.memory_mb,
            threads=config.threads,
            scratch=scratch,
        )
    )


def _neighbors_on_gpu(
    source: Vectors, target: Vectors, config: SearchConfig
) -> tuple[Neighbors, Neighbors]:
    from mining.search.device import device_neighbors, gpu

    return device_neighbors(
        source, target, gpu(), neighbors=config.neighbors, memory_mb=config.memory_mb
    )
