"""The sentences of a language with their embeddings, each sentence once, vectors on disk."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.errors import DataError
from corpus.records import SENTENCES_SCHEMA, count_rows, sentence_batches, take_sentences
from mining.embeddings import (
    Embeddings,
    check_embeddings,
    embedding_files,
    open_embeddings,
)
from mining.search.kernel import Float16
from mining.search.margin import Int64
from mining.search.vectors import scratch_array

_ROWS = 1 << 14
_KEPT = 4
"""Languages, or parts of them, that a process keeps: their vectors, in files without names."""


class EmbeddedSentences(NamedTuple):
    """All sentences of a language, each once, in the order of their hashes."""

    shards: tuple[Path, ...]
    """Sentence shards."""

    shard: npt.NDArray[np.int32]
    """Which shard each sentence lies in, [N]."""

    row: npt.NDArray[np.int32]
    """And in which row of it, [N]."""

    hashes: npt.NDArray[np.uint64]
    """[N], ascending."""

    vectors: Float16
    """[N, D]; in a file without a name where there is a folder for it."""

    def texts(self, ids: Int64, columns: Sequence[str]) -> pa.Table:
        """Return columns of some sentences, in the order asked for, shard by shard from disk."""
        order = np.argsort(self.shard[ids], kind="stable")
        bounds = np.searchsorted(self.shard[ids][order], np.arange(len(self.shards) + 1))
        parts = [
            take_sentences(shard, columns, self.row[ids[order[start:stop]]])
            for shard, start, stop in zip(self.shards, bounds, bounds[1:], strict=False)
            if stop > start
        ]
        if not parts:
            return SENTENCES_SCHEMA.empty_table().select(columns)
        back = np.empty(len(ids), np.int64)
        back[order] = np.arange(len(ids))
        return pa.concat_tables(parts).select(columns).take(back)


_EVERYTHING = slice(None)


def load_language_once(
    shards: Sequence[Path], vectors: Sequence[Path], scratch: Path, part: slice = _EVERYTHING
) -> EmbeddedSentences:
    """Load a language as `load_language`; one of those that this process loaded last is kept."""
    files = [*shards, *(file for path in vectors for file in embedding_files(path))]
    if not all(path.exists() for path in files):  # `load_language` says what to do
        return load_language(shards, vectors, scratch, part)
    stats = [path.stat() for path in files]
    state = tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in stats)
    bounds = part.start, part.stop
    return _load_once(tuple(shards), tuple(vectors), scratch, bounds, state)


@functools.lru_cache(maxsize=_KEPT)
def _load_once(
    shards: tuple[Path, ...],
    vectors: tuple[Path, ...],
    scratch: Path,
    bounds: tuple[int | None, int | None],
    _state: object,
) -> EmbeddedSentences:
    return load_language(shards, vectors, scratch, slice(*bounds))


def load_language(
    shards: Sequence[Path],
    vectors: Sequence[Path],
    scratch: Path | None = None,
    part: slice = _EVERYTHING,
) -> EmbeddedSentences:
    """Load the embeddings of a language's sentences, each sentence once.

    Duplicates would fill each other's neighborhoods. The order is that of the hashes, and of
    several sentences of one hash the lowest text is taken, so that nothing depends on how the
    sentences are sharded.

    Args:
        shards: Sentences.
        vectors: Their embeddings, shard by shard.
        scratch: A folder; the vectors go to a file in it that has no name.
        part: Which of the sentences, in their order, are wanted.

    Raises:
        DataError: If embeddings are damaged, do not fit their sentences, or are not finite.
    """
    counts = [count_rows(shard) for shard in shards]
    check_embeddings(vectors)
    # Before the hashes: what claims more rows than there are vectors is not read.
    matrices = [
        open_embeddings(path, rows=count) for path, count in zip(vectors, counts, strict=True)
    ]
    hashes = [_hashes(shard, count) for shard, count in zip(shards, counts, strict=True)]
    _check_width(vectors, matrices)
    shard_of = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
    row_of = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    joined = np.concatenate(hashes)
    first = _one_of_each(joined, shards, shard_of, row_of)[part]
    shard_of, row_of = shard_of[first], row_of[first]
    width = matrices[0].dimension
    gathered: Float16 = scratch_array((len(first), width), np.float16, scratch)
    for number, matrix in enumerate(matrices):
        places = np.flatnonzero(shard_of == number)
        # In the order of the shard, so that it is read from front to back.
        places = places[np.argsort(row_of[places])]
        for start in range(0, len(places), _ROWS):
            rows = places[start : start + _ROWS]
            gathered[rows] = take_float16(matrix, row_of[rows])
            _check_finite(vectors[number], row_of[rows], gathered[rows])
    return EmbeddedSentences(tuple(shards), shard_of, row_of, joined[first], gathered)


def _hashes(shard: Path, count: int) -> npt.NDArray[np.uint64]:
    hashes = np.empty(count, np.uint64)
    start = 0
    for batch in sentence_batches(shard, ["hash"]):
        hashes[start : start + batch.num_rows] = batch.column(0).to_numpy()
        start += batch.num_rows
    return hashes


def _check_width(paths: Sequence[Path], matrices: Sequence[Embeddings]) -> None:
    for path, matrix in zip(paths, matrices, strict=True):
        if matrix.dimension != matrices[0].dimension:
            raise DataError(
                f"{path} has {matrix.dimension} columns, {paths[0]} has {matrices[0].dimension};"
                " embed all shards with one encoder"
            )


def _check_finite(path: Path, rows: npt.NDArray[np.int32], taken: Float16) -> None:
    """Name what is damaged by file and row, while it is known; later it is a number of a hash."""
    is_finite = np.isfinite(taken).all(axis=1)
    if not is_finite.all():
        raise DataError(
            f"{path}: row {int(rows[~is_finite][0])} is not finite. The embedding overflowed or is"
            " damaged; delete the file and rerun `tongues mining embed`, which redoes this shard."
        )


def take_float16(matrix: Embeddings, rows: slice | Int64) -> Float16:
    """Return rows in float16: as they are stored where they are stored so."""
    if matrix.stored.dtype == np.float16:
        return np.asarray(matrix.stored[rows], np.float16)
    return matrix.take(rows).astype(np.float16)


def _one_of_each(
    hashes: npt.NDArray[np.uint64],
    shards: Sequence[Path],
    shard_of: npt.NDArray[np.int32],
    row_of: npt.NDArray[np.int32],
) -> Int64:
    """Return a place of every hash, in the order of the hashes; of several, the lowest text's."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(order)))
    first: Int64 = order[starts]
    repeated = np.flatnonzero(sizes > 1)
    if not len(repeated):
        return first
    texts: dict[int, tuple[str, str, int]] = {}
    groups = [order[starts[i] : starts[i] + sizes[i]] for i in repeated]
    wanted = np.concatenate(groups)
    columns = ["text", "document", "position"]
    for number in np.unique(shard_of[wanted]):
        places = wanted[shard_of[wanted] == number]
        rows = take_sentences(shards[number], columns, row_of[places])
        values = zip(*(rows.column(name).to_pylist() for name in columns), strict=True)
        texts.update(zip(places.tolist(), values, strict=True))
    for i, group in zip(repeated, groups, strict=True):
        first[i] = min(group.tolist(), key=lambda place: texts[place])
    return first
