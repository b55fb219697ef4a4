"""Parquet files written row by row in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError
from corpus.files import atomic_path
from corpus.parquet import iterate_batches, open_parquet

_ROW_GROUP = 8192
_ROW_BYTES = 240
"""What a row of Python values weighs besides its text."""


class RowsByName:
    """A Parquet file per name; rows wait in memory until all together weigh too much.

    To be used in a `with` block: the files appear when it ends well, whole, or not at all.
    """

    def __init__(self, folder: Path, schema: pa.Schema, memory_bytes: int) -> None:
        self._folder = folder
        self._schema = schema
        self._memory_bytes = memory_bytes
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._weights: dict[str, int] = {}
        self._weight = 0
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "RowsByName":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is None:
            for name in sorted(self._rows):
                self._write(name)
        for writer in self._writers.values():
            writer.close()
        self._stack.__exit__(kind, error, trace)

    def add(self, name: str, row: tuple[Any, ...], characters: int) -> None:
        """Add a row to the file of a name."""
        if name not in self._rows:
            self._rows[name] = []
            self._weights[name] = 0
        self._rows[name].append(row)
        weight = characters + _ROW_BYTES
        self._weights[name] += weight
        self._weight += weight
        # The heaviest first, so that row groups are large and rare names wait for the end.
        while self._weight > self._memory_bytes:
            self._write(max(sorted(self._weights), key=self._weights.__getitem__))

    def paths(self) -> list[Path]:
        """Return the files, by name."""
        return [self._path(name) for name in sorted(self._rows)]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _write(self, name: str) -> None:
        rows = self._rows[name]
        if not rows:
            return
        if name not in self._writers:
            temporary = self._stack.enter_context(atomic_path(self._path(name)))
            self._writers[name] = pq.ParquetWriter(temporary, self._schema, compression="zstd")
        columns = zip(*rows, strict=True)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writers[name].write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows[name] = []
        self._weight -= self._weights[name]
        self._weights[name] = 0


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


def read_batches(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file of this stage, some thousands at a time.

    Raises:
        DataError: If it is damaged or lacks a column of `schema`.
    """
    try:
        with open_parquet(path, path) as file:
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(missing)}")
            for table in iterate_batches(file, path, columns, _ROW_GROUP):
                yield from table.to_batches()
    except DataError as error:
        raise DataError(f"{error}. Delete it and run again.") from error
