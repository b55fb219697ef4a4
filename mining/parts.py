"""Small parts of bitext, sentences and embeddings, for dry runs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.bitext import copy_first_pairs
from corpus.errors import DataError
from corpus.jobs import Cut
from corpus.records import SENTENCES_SCHEMA, sentence_batches, write_table
from mining.embeddings import open_embeddings, write_embeddings

Int64 = npt.NDArray[np.int64]


def cut_bitext(
    size: int, folder: Path, *, bitext: Path, columns: Mapping[str, str] | None = None
) -> Cut:
    """Write the first pairs, under the same name, since that says the languages."""
    pairs = copy_first_pairs(bitext, folder / bitext.name, size, columns)
    return Cut(pairs, pairs)


def copy_needed(shard: Path, copy: Path, column: str, needed: pa.Array, first: int) -> Int64:
    """Copy the first rows of a shard of sentences, and those that a part cannot do without.

    Of row groups that hold none of them, one column is read.

    Args:
        shard: Sentences.
        copy: Where they go.
        column: What tells a row that is needed,
        needed: by its values.
        first: How many rows are copied in any case.

    Returns:
        The numbers of the rows, ascending.

    Raises:
        DataError: If the shard is no whole file of sentences.
    """
    found, start = [np.arange(0)], 0
    for batch in sentence_batches(shard, [column]):
        is_taken = pc.is_in(batch.column(0), needed).to_numpy(zero_copy_only=False)
        is_taken |= np.arange(start, start + batch.num_rows) < first
        found.append(np.flatnonzero(is_taken) + start)
        start += batch.num_rows
    rows = np.concatenate(found)
    write_table(copy, _read_rows(shard, rows))
    return rows


def _read_rows(shard: Path, rows: Int64) -> pa.Table:
    tables, start = [SENTENCES_SCHEMA.empty_table()], 0
    try:
        with pq.ParquetFile(shard) as file:
            for number in range(file.num_row_groups):
                stop = start + file.metadata.row_group(number).num_rows
                own = rows[(rows >= start) & (rows < stop)]
                if len(own):
                    group = file.read_row_group(number, SENTENCES_SCHEMA.names)
                    tables.append(group.select(SENTENCES_SCHEMA.names).take(own - start))
                start = stop
        return pa.concat_tables(tables)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{shard} is no file of sentences: {error}") from error


def copy_embeddings(path: Path, copy: Path, rows: slice | Int64) -> None:
    """Copy rows of an embedding file, stored as they are there."""
    vectors = open_embeddings(path)
    taken = vectors.take(rows)
    write_embeddings(
        copy, [taken], rows=len(taken), dimension=vectors.dimension,
        storage="float16" if vectors.scales is None else "int8",
    )  # fmt: skip
