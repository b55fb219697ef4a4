r"""Sentence pairs as a stream: Parquet or TSV, batch by batch. See docs/formats.md.

A TSV's lines end at `\n` and its cells at a tab; there is no quoting, since a `csv` writer would
double every quotation mark of the text.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, open_binary, open_lines
from corpus.languages import Direction, is_language

BITEXT_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst")
_BUFFER_BYTES = 1 << 20
_ROW_GROUP = 1 << 16
BATCH_ROWS = 1 << 14
"""Pairs in memory at a time; also the row group of what is written."""

_SIDES = ("source", "target")


class BitextReader:
    """The pairs of a bitext file, as tables of one schema with at least `source` and `target`.

    Parquet; TSV (plain, `.gz`, `.zst`) with a header that names both; or TSV without a header,
    whose first two columns are source and target. May be iterated again, from the beginning.

    Attributes:
        schema: Columns of every table; in a TSV all are strings but `score`.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged or a line lacks a column; the message names the line.
    """

    def __init__(self, path: Path, rows: int = BATCH_ROWS) -> None:
        if not path.is_file():
            raise UserError(f"bitext {path} does not exist or is not a file")
        self._path = path
        self._rows = rows
        self._columns: dict[str, int] = {}
        self._has_header = False
        self.schema = self._parquet_schema() if self._is_parquet else self._tsv_schema()

    @property
    def _is_parquet(self) -> bool:
        return self._path.suffix == ".parquet"

    def __iter__(self) -> Iterator[pa.Table]:
        return self._parquet_tables() if self._is_parquet else self._tsv_tables()

    def _parquet_schema(self) -> pa.Schema:
        with self._opened() as file:
            schema = file.schema_arrow.remove_metadata()
        missing = [name for name in _SIDES if name not in schema.names]
        if missing:
            raise DataError(
                f"{self._path} lacks the columns {', '.join(missing)}; it has"
                f" {', '.join(schema.names)}"
            )
        for name in _SIDES:
            place, kind = schema.get_field_index(name), schema.field(name).type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DataError(f"{self._path}: column `{name}` holds {kind}, not text")
            schema = schema.set(place, pa.field(name, pa.string()))
        if "score" in schema.names and not _is_number(schema.field("score").type):
            kind = schema.field("score").type
            raise DataError(f"{self._path}: column `score` holds {kind}, not numbers")
        return schema

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._path, buffer_size=_BUFFER_BYTES) as file:
                yield file
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self._path} is not a readable Parquet file: {error}") from error

    def _parquet_tables(self) -> Iterator[pa.Table]:
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=self._rows):
                yield pa.Table.from_batches([batch]).replace_schema_metadata().cast(self.schema)

    def _tsv_schema(self) -> pa.Schema:
        first = next(open_lines(self._path), "").split("\t")
        self._has_header = set(_SIDES) <= set(first)
        names = first if self._has_header else list(_SIDES)
        self._columns = {name: place for place, name in enumerate(names)}
        return pa.schema(
            (name, pa.float32() if name == "score" else pa.string()) for name in self._columns
        )

    def _tsv_tables(self) -> Iterator[pa.Table]:
        width = 1 + max(self._columns[name] for name in _SIDES)
        rows: list[list[str]] = []
        for number, line in enumerate(open_lines(self._path), 1):
            if number == 1 and self._has_header:
                continue
            row = line.split("\t")
            if len(row) < width:
                raise DataError(
                    f"{self._path}:{number}: {len(row)} columns where a pair needs {width}"
                )
            rows.append(row)
            if len(rows) == self._rows:
                yield self._as_table(rows)
                rows = []
        if rows:
            yield self._as_table(rows)

    def _as_table(self, rows: list[list[str]]) -> pa.Table:
        columns = []
        for field in self.schema:
            place = self._columns[field.name]
            cells = pa.array([row[place] if place < len(row) else "" for row in rows], pa.string())
            try:
                columns.append(cells.cast(field.type))
            except pa.ArrowInvalid as error:
                raise DataError(
                    f"{self._path}: column `{field.name}` holds what is not a number: {error}"
                ) from None
        return pa.Table.from_arrays(columns, schema=self.schema)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def count_pairs(path: Path) -> int:
    """Return the number of pairs of a bitext file; a TSV is read once for it.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged.
    """
    reader = BitextReader(path)
    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    return sum(table.num_rows for table in reader)


def copy_first_pairs(path: Path, copy: Path, pairs: int) -> int:
    """Write the first pairs of a bitext file to another with all their columns; return how many."""
    reader = BitextReader(path)
    left = pairs
    with bitext_writer(copy, reader.schema) as write:
        for table in reader:
            write(table.slice(0, left))
            left -= min(left, table.num_rows)
            if not left:
                break
    return pairs - left


def check_bitext_name(path: Path) -> None:
    """Refuse a file that bitext cannot be written to; asked before the work, not after it.

    Raises:
        UserError: If the suffix is of no format, or the path is a directory.
    """
    if not path.name.endswith(BITEXT_SUFFIXES):
        raise UserError(f"{path}: bitext is written as {', '.join(BITEXT_SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"{path} is a directory; bitext is written to a file")


@contextmanager
def bitext_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends tables of `schema` to a file that appears whole or not at all.

    Parquet with a row group per table, or TSV with a header, as the suffix says.

    Raises:
        UserError: If the suffix is of neither.
    """
    check_bitext_name(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                yield functools.partial(writer.write_table, row_group_size=_ROW_GROUP)
        else:
            with open_binary(temporary, "wb") as file:
                file.write("\t".join(schema.names).encode("utf-8") + b"\n")
                yield lambda table: _write_rows(file.write, table)


def _write_rows(write: Callable[[bytes], object], table: pa.Table) -> None:
    columns = [_cells(column) for column in table.columns]
    for row in zip(*columns, strict=True):
        write("\t".join(row).encode("utf-8", "replace") + b"\n")


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Return a column as text; what would end a cell or a line becomes a space."""
    text = pc.fill_null(column.cast(pa.string()), "")
    if not pa.types.is_string(column.type):
        return text.to_pylist()  # type: ignore[no-any-return]
    return [cell.replace("\t", " ").replace("\n", " ") for cell in text.to_pylist()]


def direction_of(path: Path) -> Direction | None:
    """Return the direction that a bitext file is named by; None if by none."""
    for suffix in BITEXT_SUFFIXES:
        stem = path.name.removesuffix(suffix)
        if stem != path.name and stem.count("-") == 1:
            source, target = stem.split("-")
            if is_language(source) and is_language(target):
                return Direction(source, target)
    return None
