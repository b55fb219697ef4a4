"""The sentences of a language with their embeddings, each sentence once, vectors on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.errors import DataError
from corpus.records import SENTENCES_SCHEMA, read_table
from mining.search.kernel import Float16
from mining.search.margin import Int64
from mining.search.vectors import scratch_array

_ROWS = 1 << 14


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
            read_table(shard, SENTENCES_SCHEMA, columns).take(self.row[ids[order[start:stop]]])
            for shard, start, stop in zip(self.shards, bounds, bounds[1:], strict=False)
            if stop > start
        ]
        if not parts:
            return SENTENCES_SCHEMA.empty_table().select(columns)
        back = np.empty(len(ids), np.int64)
        back[order] = np.arange(len(ids))
        return pa.concat_tables(parts).select(columns).take(back)


def load_language(
    shards: Sequence[Path], vectors: Sequence[Path], scratch: Path | None = None
) -> EmbeddedSentences:
    """Load the embeddings of a language's sentences, each sentence once.

    Duplicates would fill each other's neighborhoods. The order is that of the hashes, and of
    several sentences of one hash the lowest text is taken, so that nothing depends on how the
    sentences are sharded.

    Args:
        shards: Sentences.
        vectors: Their embeddings, shard by shard.
        scratch: A folder; the vectors go to a file in it that has no name.

    Raises:
        DataError: If embeddings do not fit their sentences.
    """
    matrices = [_open_matrix(path) for path in vectors]
    hashes = []
    for shard, path, matrix in zip(shards, vectors, matrices, strict=True):
        column = read_table(shard, SENTENCES_SCHEMA, ["hash"]).column("hash").to_numpy()
        _check_fit(shard, path, matrix, len(column), (vectors[0], matrices[0]))
        hashes.append(column)
    counts = [len(column) for column in hashes]
    shard_of = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
    row_of = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    joined = np.concatenate(hashes)
    first = _one_of_each(joined, shards, shard_of, row_of)
    shard_of, row_of = shard_of[first], row_of[first]
    width = matrices[0].shape[1]
    gathered: Float16 = scratch_array((len(first), width), np.float16, scratch)
    for number, matrix in enumerate(matrices):
        places = np.flatnonzero(shard_of == number)
        # In the order of the shard, so that it is read from front to back.
        places = places[np.argsort(row_of[places])]
        for start in range(0, len(places), _ROWS):
            part = places[start : start + _ROWS]
            gathered[part] = matrix[row_of[part]]
    return EmbeddedSentences(tuple(shards), shard_of, row_of, joined[first], gathered)


def _open_matrix(path: Path) -> npt.NDArray[np.floating]:
    try:
        matrix: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a readable .npy file: {error}") from error
    if not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(f"{path} holds {matrix.dtype}, not float16; rerun `tongues mining embed`")
    return matrix


def _check_fit(
    shard: Path, path: Path, matrix: npt.NDArray[np.floating], count: int,
    first: tuple[Path, npt.NDArray[np.floating]],
) -> None:  # fmt: skip
    if matrix.ndim != 2 or len(matrix) != count:
        raise DataError(
            f"{path} holds {len(matrix) if matrix.ndim else 0:,} rows but {shard} holds"
            f" {count:,} sentences. The embedding was interrupted, or made from other sentences;"
            " delete it and rerun `tongues mining embed`, which redoes this shard."
        )
    if matrix.shape[1] != first[1].shape[1]:
        raise DataError(
            f"{path} has {matrix.shape[1]} columns, {first[0]} has {first[1].shape[1]};"
            " embed all shards with one encoder"
        )


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
        rows = read_table(shards[number], SENTENCES_SCHEMA, columns).take(row_of[places])
        values = zip(*(rows.column(name).to_pylist() for name in columns), strict=True)
        texts.update(zip(places.tolist(), values, strict=True))
    for i, group in zip(repeated, groups, strict=True):
        first[i] = min(group.tolist(), key=lambda place: texts[place])
    return first
