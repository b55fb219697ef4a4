"""Files of known pairs and their vectors, as they are planted in the search space."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus import stores
from corpus.errors import DataError, UserError
from corpus.jobs import check_digests
from corpus.languages import Direction
from corpus.records import read_bitext
from corpus.text import sentence_hash
from mining.embeddings import open_array
from mining.search.planted_scores import Planted

Float16 = npt.NDArray[np.float16]
KnownFiles = tuple[Path, Path, bool]
"""Text and vectors of known pairs, and whether their source is the target asked for."""

KNOWN_JOB = "embed-known"
KNOWN_SPACE_SUFFIX = ".space.json"
"""`<source>-<target>.space.json`: the space of the encoder that embedded these pairs."""

MIN_KNOWN = 40
"""Minimum number of pairs for an estimate of precision: 40 leave ten sentences a side alone."""


class Known(NamedTuple):
    """Known pairs as they are planted: partners first, then sentences that are left alone."""

    planted: Planted
    source: Float16
    """[planted.source, D]"""

    target: Float16
    """[planted.target, D]"""

    counts: dict[str, int]
    """Pairs used and left out by reason."""

    def divide(self, most: int) -> "Iterator[Known]":
        """Yield the known pairs in parts of one mixture, each of at most so many a side."""
        whole, sources, targets = self.planted
        parts = -(-max(sources, targets) // most)
        for part in range(parts):
            partners = np.arange(part, whole, parts)
            alone = [np.arange(whole + part, count, parts) for count in (sources, targets)]
            rows = [np.concatenate([partners, side]) for side in alone]
            yield Known(
                Planted(len(partners), len(rows[0]), len(rows[1])),
                self.source[rows[0]],
                self.target[rows[1]],
                {},
            )


def known_files(directory: Path, source: str, target: str) -> KnownFiles:
    """Return text and vectors of a pair's known sentences, and whether source and target swap.

    Raises:
        UserError: If the directory has neither direction.
    """
    stores.pull(directory)
    for direction, swaps in ((Direction(source, target), False), (Direction(target, source), True)):
        path = directory / f"{direction}.parquet"
        if path.is_file():
            return path, path.with_suffix(".npy"), swaps
    raise UserError(
        f"{directory} holds no known pairs of {source}-{target}, either way round;"
        " `tongues mining embed-known` makes them from bitext"
    )


def has_known(directory: Path | None, direction: Direction) -> bool:
    """Say whether a directory has known pairs of a direction, either way round."""
    ways = (direction, direction.reverse)
    return directory is not None and any(
        stores.exists(directory / f"{way}.parquet") for way in ways
    )


def load_known(
    files: KnownFiles,
    source_hashes: npt.NDArray[np.uint64],
    target_hashes: npt.NDArray[np.uint64],
    most: int,
) -> Known:
    """Load known pairs, drop those that the corpus holds already, and divide the rest.

    Every second pair is planted whole; of the others the sources and the targets by turns. Which
    ones are used, and how, follows from their hashes alone.

    Args:
        files: What `known_files` returned.
        source_hashes: Of the corpus, sorted.
        target_hashes: Of the corpus, sorted.
        most: How many pairs to use.

    Raises:
        DataError: If files are damaged or do not fit each other, or too few pairs are left.
    """
    text, vectors, swaps = files
    check_digests([text, vectors], text.parent, KNOWN_JOB, [text.stem])
    table = read_bitext(text)
    matrix = _load_vectors(vectors, table.num_rows)
    names = ("target", "source") if swaps else ("source", "target")
    hashes = [
        np.array([sentence_hash(line) for line in table.column(name).to_pylist()], np.uint64)
        for name in names
    ]
    is_new = ~(_contains(source_hashes, hashes[0]) | _contains(target_hashes, hashes[1]))
    rows = np.flatnonzero(is_new)
    # A sentence is planted once; which of its pairs that is must not depend on their order.
    rows = rows[np.lexsort((hashes[1][rows], hashes[0][rows]))]
    for side in (0, 1):
        rows = rows[np.sort(np.unique(hashes[side][rows], return_index=True)[1])]
    unique = len(rows)
    rows = rows[:most]
    if len(rows) < MIN_KNOWN:
        raise DataError(
            f"{text} has {len(rows)} pairs to plant, {table.num_rows} in all; a calibration needs"
            f" {MIN_KNOWN}. Pairs that the corpus holds, and repeated sentences, do not count."
        )
    whole, left, right = rows[0::2], rows[1::4], rows[3::4]
    sides = matrix[::-1] if swaps else matrix
    return Known(
        planted=Planted(len(whole), len(whole) + len(left), len(whole) + len(right)),
        source=np.ascontiguousarray(sides[0][np.concatenate([whole, left])], np.float16),
        target=np.ascontiguousarray(sides[1][np.concatenate([whole, right])], np.float16),
        counts={
            "known.planted_whole": len(whole),
            "known.planted_source_only": len(left),
            "known.planted_target_only": len(right),
            "known.left_out_in_corpus": int((~is_new).sum()),
            "known.left_out_repeated": int(is_new.sum()) - unique,
            "known.left_out_more_than_needed": unique - len(rows),
        },
    )


def _load_vectors(path: Path, count: int) -> Float16:
    matrix: Float16 = open_array(path)
    if matrix.ndim != 3 or matrix.shape[:2] != (2, count):
        raise DataError(
            f"{path} has the shape {list(matrix.shape)}, not [2, {count}, D] as its .parquet wants;"
            " rerun `tongues mining embed-known` to make both again"
        )
    return matrix


def _contains(
    ordered: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[places] == values
    return found
