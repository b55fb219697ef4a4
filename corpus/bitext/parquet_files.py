"""Parquet, one file or the parts of one: `train-00000-of-00002.parquet` and its like."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from corpus.bitext.tables import unique_names
from corpus.bitext_columns import SCORE, SIDES, named_columns, remedy
from corpus.errors import DataError
from corpus.files import atomic_path
from corpus.languages import Direction
from corpus.parquet import (
    checked_text,
    copy_first_rows,
    is_text_type,
    iterate_batches,
    open_parquet,
)


class ParquetFormat:
    """The pairs of Parquet files with the same columns; a side that is null is empty.

    Raises:
        DataError: If one is damaged, holds something else than text and numbers in the columns of
            pairs, or has other columns than the first.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        rows: int,
        columns: Mapping[str, str],
        direction: Direction | None,
    ) -> None:
        self._paths = paths
        self._rows = rows
        self._given = columns
        self._direction = direction
        self._places: dict[str, int] = {}
        schemas = [self._schema(path) for path in paths]
        self.schema = schemas[0]
        for path, schema in zip(paths, schemas, strict=True):
            if schema != self.schema:
                raise DataError(
                    f"{path} has the columns {_shown(schema)}; {paths[0]}, of which it is a part,"
                    f" has {_shown(self.schema)}"
                )

    def count(self) -> int:
        """Return the number of pairs, from the footers."""
        return sum(map(_count, self._paths))

    def _schema(self, path: Path) -> pa.Schema:
        with open_parquet(path, path) as file:
            schema = _flat(file.schema_arrow.remove_metadata().empty_table()).schema
        chosen = named_columns(path, schema.names, self._given, self._direction)
        if chosen is None:
            missing = [name for name in SIDES if name not in schema.names]
            raise DataError(
                f"{path} lacks the columns {', '.join(missing)}; it has"
                f" {', '.join(schema.names)}. {remedy(1)}"
            )
        self._places = unique_names(schema.names, chosen)
        fields = []
        for name, place in self._places.items():
            field = schema.field(place)
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if name in SIDES and not is_text_type(kind):
                raise DataError(f"{path}: column `{field.name}` holds {kind}, not text")
            if name == SCORE and not _is_number(kind):
                raise DataError(f"{path}: column `{field.name}` holds {kind}, not numbers")
            fields.append(pa.field(name, pa.string() if is_text_type(kind) else field.type))
        return pa.schema(fields)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order."""
        for path in self._paths:
            with open_parquet(path, path) as file:
                start = 0
                for batch in iterate_batches(file, path, None, self._rows):
                    table = _flat(batch.replace_schema_metadata())
                    columns = [
                        self._as_column(path, table.column(place), field, start)
                        for field, place in zip(self.schema, self._places.values(), strict=True)
                    ]
                    yield pa.Table.from_arrays(columns, schema=self.schema)
                    start += batch.num_rows

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first pairs with all their columns."""
        path = self._paths[0]
        with (
            open_parquet(path, path) as file,
            atomic_path(folder / f"{direction}.parquet") as temporary,
        ):
            return copy_first_rows(file, path, temporary, pairs, self._rows)

    def _as_column(
        self, path: Path, column: pa.ChunkedArray, field: pa.Field, start: int
    ) -> pa.ChunkedArray:
        """Return a column in the type of a field, its text checked; sides without nulls."""
        try:
            if pa.types.is_string(field.type):
                column = checked_text(column)
            column = column.cast(field.type)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            row = start + _first_damaged(column, field.type)
            raise DataError(
                f"{path}: row {row + 1:,} of column `{field.name}` is damaged: {error}"
            ) from None
        return column.fill_null("") if field.name in SIDES else column


def parquet_names(path: Path) -> list[str]:
    """Return the names of a file's columns, those of structures as `translation.en`.

    Raises:
        DataError: If it is damaged.
    """
    with open_parquet(path, path) as file:
        return list(_flat(file.schema_arrow.remove_metadata().empty_table()).schema.names)


def _count(path: Path) -> int:
    with open_parquet(path, path) as file:
        return int(file.metadata.num_rows)


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _flat(table: pa.Table) -> pa.Table:
    """Return a table whose columns of structures are columns of their own, `translation.en`."""
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _first_damaged(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> int:
    """Return the first row that cannot be cast, by halving."""
    begin, end = 0, len(column)
    while end - begin > 1:
        middle = (begin + end) // 2
        try:
            part = column.slice(begin, middle - begin)
            (checked_text(part) if pa.types.is_string(kind) else part).cast(kind)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            end = middle
        else:
            begin = middle
    return begin


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
