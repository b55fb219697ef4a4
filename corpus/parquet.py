"""Parquet files from elsewhere, read in bounded memory.

A Parquet file can unpack to much more than its size: a dictionary page of one long value stands for
any number of rows. So few rows are read at a time where the values could be long, and whole batches
are put together from them.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError
from corpus.parquet_footer import ColumnChunk, read_footer

BATCH_BYTES = 64 << 20
"""What a column of a batch holds at most, besides the values of one row."""

MAX_TABLE_BYTES = 8 << 30
"""What a table that is read whole holds at most."""

_MAX_EXPANSION = 500
"""A column that unpacks to more times its size, and to more than a batch, is refused as a bomb;
text that repeats itself a lot reaches about 100."""

_CAUTIOUS_ROWS = 256
_BUFFER_BYTES = 1 << 20
_HEADER_BYTES = 16
_INTEGER_FIELD = 0x15
_DICTIONARY_PAGE = 4

Source = Path | BinaryIO


@contextmanager
def open_parquet(
    source: Source, name: object, dictionaries: Sequence[str] = ()
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; what is wrong with it is an error that names it, in the block too.

    Checksums of pages are verified where the file has them. Nothing is mapped or read ahead.

    Args:
        source: A path, or an open file.
        name: What messages call it.
        dictionaries: Columns of text that are read as dictionaries: in memory they have each value
            once, however many rows it stands for.

    Raises:
        DataError: If it is not Parquet, or damaged, or cannot be read.
    """
    try:
        with pq.ParquetFile(
            source,
            memory_map=False,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
            read_dictionary=list(dictionaries),
        ) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{name} is not a readable Parquet file: {error}") from error


def iterate_batches(
    file: pq.ParquetFile,
    source: Source,
    columns: Sequence[str] | None,
    rows: int,
    groups: Container[int] | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of some columns or all, `rows` at a time, fewer where they hold many bytes.

    Args:
        file: The file.
        source: What it was opened from.
        columns: Their names; None for all.
        rows: How many at a time.
        groups: Only these row groups.

    Raises:
        pa.ArrowInvalid: If a column claims to unpack to more than `_MAX_EXPANSION` times its size.
    """
    waiting: list[pa.RecordBatch] = []
    count = size = 0
    schema = None
    for group, chunks in enumerate(_chunks(source)):
        if groups is not None and group not in groups:
            continue
        step = _rows_at_a_time(source, chunks, columns, rows)
        for batch in file.iter_batches(
            step, row_groups=[group], columns=columns and list(columns), use_threads=False
        ):
            batch = _written_out(batch)
            schema = batch.schema
            waiting.append(batch)
            count += batch.num_rows
            size += batch.nbytes
            while count >= rows or (count and size >= BATCH_BYTES):
                table = pa.Table.from_batches(waiting, schema)
                yield table.slice(0, rows).combine_chunks()
                rest = table.slice(rows)
                waiting = rest.to_batches()
                count, size = rest.num_rows, rest.nbytes
    if count:
        yield pa.Table.from_batches(waiting, schema).combine_chunks()


def iterate_dictionaries(
    file: pq.ParquetFile,
    chunks: Sequence[ColumnChunk],
    group: int,
    columns: Sequence[str],
    rows: int,
) -> Iterator[pa.Table]:
    """Yield the rows of some columns of a row group, `rows` at a time.

    For a file whose columns of text were opened as dictionaries: however long a value is, it is in
    memory once, so that rows need not be few where values could be long.

    Args:
        file: The file.
        chunks: The columns of the row group, as `read_footer` has them.
        group: Its number.
        columns: Names of the columns.
        rows: How many rows at a time.

    Raises:
        pa.ArrowInvalid: If a column claims to unpack to more than `_MAX_EXPANSION` times its size.
    """
    for chunk in chunks:
        if chunk.name in columns:
            _refuse_bomb(chunk)
    for batch in file.iter_batches(
        rows, row_groups=[group], columns=list(columns), use_threads=False
    ):
        yield pa.Table.from_batches([batch])


def _refuse_bomb(chunk: ColumnChunk) -> None:
    if chunk.unpacked > BATCH_BYTES and chunk.unpacked > _MAX_EXPANSION * chunk.packed:
        raise pa.ArrowInvalid(
            f"column `{chunk.path}` unpacks from {chunk.packed:,} to {chunk.unpacked:,} bytes"
        )


def _written_out(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with decoded dictionary columns, whose reported size is its real size."""
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def read_columns(file: pq.ParquetFile, source: Source, columns: Sequence[str]) -> pa.Table:
    """Read some columns whole.

    Raises:
        pa.ArrowInvalid: If they hold more than `MAX_TABLE_BYTES`.
    """
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if all(
        _rows_at_a_time(source, chunks, columns, count) >= count
        for chunks, count in zip(_chunks(source), rows, strict=True)
    ):
        return file.read(list(columns), use_threads=False)
    tables = []
    size = 0
    for table in iterate_batches(file, source, columns, max(rows)):
        size += table.nbytes
        if size > MAX_TABLE_BYTES:
            raise pa.ArrowInvalid(f"more than {MAX_TABLE_BYTES:,} bytes to be read whole")
        tables.append(table)
    return pa.concat_tables(tables)


def copy_first_rows(
    file: pq.ParquetFile, source: Source, copy: Path, rows: int, batch_rows: int
) -> int:
    """Write the first rows as another Parquet file; return how many there were."""
    left = rows
    writer: pq.ParquetWriter | None = None
    with ExitStack() as stack:
        for table in iterate_batches(file, source, None, batch_rows):
            if writer is None:  # dictionaries are decoded, so not the schema of the file
                writer = stack.enter_context(
                    pq.ParquetWriter(copy, table.schema, compression="zstd")
                )
            writer.write_table(table.slice(0, left))
            left -= min(left, table.num_rows)
            if not left:
                break
    if writer is None:
        pq.write_table(file.schema_arrow.empty_table(), copy)
    return rows - left


def is_text_type(kind: pa.DataType) -> bool:
    """Whether a column type is text, or bytes that may be."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def checked_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text as strings that are valid UTF-8.

    Raises:
        pa.ArrowInvalid: If one is not.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    text = column.cast(pa.binary()).cast(pa.string())  # which validates
    return text


def _chunks(source: Source) -> list[list[ColumnChunk]]:
    """Return the metadata of the columns of each row group."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_footer(file)
    return read_footer(source)


def _rows_at_a_time(
    source: Source, chunks: Sequence[ColumnChunk], columns: Sequence[str] | None, rows: int
) -> int:
    """Return how many rows of a row group hold at most `BATCH_BYTES`, by its headers."""
    for chunk in chunks:
        if columns is not None and chunk.name not in columns:
            continue
        _refuse_bomb(chunk)
        if chunk.unpacked > BATCH_BYTES:
            rows = min(rows, _CAUTIOUS_ROWS)
        if chunk.dictionary is not None:
            longest = _dictionary_bytes(source, chunk.dictionary, chunk.unpacked)
            rows = min(rows, max(1, BATCH_BYTES // max(1, longest)))
    return max(1, rows)


def _dictionary_bytes(source: Source, offset: int, otherwise: int) -> int:
    """Return the unpacked size of a dictionary page: no value of the column is longer.

    The page's header begins with its kind and this size, in Thrift's compact encoding.
    """
    if offset < 0:
        return otherwise
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _dictionary_bytes(file, offset, otherwise)
    source.seek(offset)
    header = source.read(_HEADER_BYTES)
    if header[:3] != bytes((_INTEGER_FIELD, _DICTIONARY_PAGE, _INTEGER_FIELD)):
        return otherwise
    value = 0
    for place, byte in enumerate(header[3:8]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value >> 1
    return otherwise
