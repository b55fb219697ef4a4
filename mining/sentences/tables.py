"""Parquet files written row by row in bounded memory."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.files import atomic_path

_ROW_GROUP = 8192
_ROW_BYTES = 240
"""What a row of Python values weighs besides its text."""


class WaitingRows:
    """Rows of Python values that wait to become a batch, until they weigh too much."""

    def __init__(self, schema: pa.Schema, memory_bytes: int) -> None:
        self._schema = schema
        self._memory_bytes = memory_bytes
        self._rows: list[tuple[Any, ...]] = []
        self._weight = 0

    def add(self, row: tuple[Any, ...], characters: int) -> bool:
        """Add a row with so much text; return whether it is time to take them."""
        self._rows.append(row)
        self._weight += characters + _ROW_BYTES
        return self._weight > self._memory_bytes

    def take(self) -> pa.RecordBatch:
        """Return the rows, and forget them."""
        rows, self._rows, self._weight = self._rows, [], 0
        columns = zip(*rows, strict=True) if rows else [()] * len(self._schema)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


class RowWriter:
    """A Parquet file written row by row; to be used in a `with` block.

    The file appears when it ends well, whole, or not at all.
    """

    def __init__(self, path: Path, schema: pa.Schema, memory_bytes: int) -> None:
        self._waiting = WaitingRows(schema, memory_bytes)
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic_path(path))
        self._writer = pq.ParquetWriter(temporary, schema, compression="zstd")

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is None:
            self._write()
        self._writer.close()
        self._stack.__exit__(kind, error, trace)

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        """Add a row with so much text."""
        if self._waiting.add(row, characters):
            self._write()

    def _write(self) -> None:
        batch = self._waiting.take()
        if batch.num_rows:
            self._writer.write_batch(batch)


class RowGroups:
    """One Parquet file in row groups of a fixed size, so that equal rows give equal bytes.

    However the rows come, in many small tables or in few large ones. To be used in a `with` block;
    without rows there is no file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0
        self._writer: pq.ParquetWriter | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "RowGroups":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is None and self._count:
            self._write(self._count)
        if self._writer is not None:
            self._writer.close()
        self._stack.__exit__(kind, error, trace)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._waiting.append(batch)
        self._count += batch.num_rows
        self.rows += batch.num_rows
        while self._count >= _ROW_GROUP:
            self._write(_ROW_GROUP)

    def _write(self, count: int) -> None:
        if self._writer is None:
            temporary = self._stack.enter_context(atomic_path(self.path))
            self._writer = pq.ParquetWriter(temporary, self._schema, compression="zstd")
        table = pa.Table.from_batches(self._waiting, self._schema)
        # One chunk a column: what a page holds must not depend on how the rows came.
        self._writer.write_table(table.slice(0, count).combine_chunks())
        self._waiting = table.slice(count).to_batches()
        self._count -= count
