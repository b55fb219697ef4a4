r"""Sentence pairs as a stream: Parquet or TSV, batch by batch. See docs/formats.md.

A TSV's lines end at `\n` and its cells at a tab; what is written has no quoting, since a `csv`
writer would double every quotation mark of the text.
"""

import csv
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.bitext_columns import (
    SCORE,
    SIDES,
    are_numbers,
    check_first_lines,
    looks_like_header,
    named_columns,
    numbered_columns,
    remedy,
)
from corpus.errors import DataError, UserError
from corpus.files import atomic_path, open_binary, open_lines, write_lines
from corpus.languages import Direction, parse_direction
from corpus.parquet import iterate_batches, open_parquet

BITEXT_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst")
_ROW_GROUP = 1 << 16
BATCH_ROWS = 1 << 14
"""Pairs in memory at a time; also the row group of what is written."""

BYTE_ORDER_MARK = "\ufeff"
_FIRST_LINES = 100
"""Lines from which the columns of a TSV are recognized."""
_FEW_LINES = 3
_MOST_ZEROS = 0.2
"""Share of zero characters above which a file is UTF-16, or no text."""


class BitextReader:
    """The pairs of a bitext file, as tables of one schema with at least `source` and `target`.

    Parquet; TSV (plain, `.gz`, `.zst`) with a header; or TSV without one, whose first two columns
    are source and target. `corpus.bitext_columns` describes how columns are recognized. A side that
    is null is empty. A TSV with its header, or all of its first lines, in quotation marks is read
    as the `csv` module wrote it. May be iterated again, from the beginning.

    Attributes:
        schema: Columns of every table; in a TSV all are strings but `score`.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged, a line lacks a column, or source and target columns are
            unclear; the message names the line.
    """

    def __init__(
        self,
        path: Path,
        rows: int = BATCH_ROWS,
        *,
        columns: Mapping[str, str] | None = None,
        direction: Direction | None = None,
    ) -> None:
        """Open a file.

        Args:
            path: The file.
            rows: Pairs of a table, at most.
            columns: Name, or number from 1, of the columns `source`, `target` and `score`, to
                override the file's header.
            direction: Whose languages a header may name; that of the file's name if not given.
        """
        if not path.is_file():
            raise UserError(f"bitext {path} does not exist or is not a file")
        self._path = path
        self._rows = rows
        self._given = dict(columns or {})
        self._direction = direction or direction_of(path)
        self._places: dict[str, int] = {}
        self._width = 0
        self._has_header = self._is_quoted = False
        self.schema = self._parquet_schema() if self._is_parquet else self._tsv_schema()

    @property
    def _is_parquet(self) -> bool:
        return self._path.suffix == ".parquet"

    def __iter__(self) -> Iterator[pa.Table]:
        return self._parquet_tables() if self._is_parquet else self._tsv_tables()

    def _parquet_schema(self) -> pa.Schema:
        with open_parquet(self._path, self._path) as file:
            schema = _flat(file.schema_arrow.remove_metadata().empty_table()).schema
        chosen = named_columns(self._path, schema.names, self._given, self._direction)
        if chosen is None:
            missing = [name for name in SIDES if name not in schema.names]
            raise DataError(
                f"{self._path} lacks the columns {', '.join(missing)}; it has"
                f" {', '.join(schema.names)}. {remedy(1)}"
            )
        self._places = _unique_names(schema.names, chosen)
        fields = []
        for name, place in self._places.items():
            field = schema.field(place)
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if name in SIDES and not _is_text(kind):
                raise DataError(f"{self._path}: column `{field.name}` holds {kind}, not text")
            if name == SCORE and not _is_number(kind):
                raise DataError(f"{self._path}: column `{field.name}` holds {kind}, not numbers")
            fields.append(pa.field(name, pa.string() if _is_text(kind) else field.type))
        return pa.schema(fields)

    def _parquet_tables(self) -> Iterator[pa.Table]:
        with open_parquet(self._path, self._path) as file:
            start = 0
            for batch in iterate_batches(file, self._path, None, self._rows):
                table = _flat(batch.replace_schema_metadata())
                columns = [
                    self._as_column(table.column(place), field, start)
                    for field, place in zip(self.schema, self._places.values(), strict=True)
                ]
                yield pa.Table.from_arrays(columns, schema=self.schema)
                start += batch.num_rows

    def _as_column(self, column: pa.ChunkedArray, field: pa.Field, start: int) -> pa.ChunkedArray:
        """Return a column in the type of a field, its text checked; sides without nulls."""
        try:
            if pa.types.is_string(field.type):
                column = _checked_text(column)
            column = column.cast(field.type)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            row = start + _first_damaged(column, field.type)
            raise DataError(
                f"{self._path}: row {row + 1:,} of column `{field.name}` is damaged: {error}"
            ) from None
        return column.fill_null("") if field.name in SIDES else column

    def _tsv_schema(self) -> pa.Schema:
        lines = self._first_lines()
        cells = [line.split("\t") for line in lines]
        if not cells:
            self._places, self._width = {name: i for i, name in enumerate(SIDES)}, len(SIDES)
            return self._schema_of_tsv()
        self._is_quoted = _are_quoted(cells[:1]) or (
            len(cells) >= _FEW_LINES and _are_quoted(cells[1:])
        )
        if self._is_quoted:
            cells = [row for _, row in self._split(enumerate(lines, 1), is_cut=True)]
        first = cells[0]
        names = None
        if not are_numbers(self._given):
            names = named_columns(self._path, first, self._given, self._direction)
            if names is not None and _repeats(cells, names):  # `en` and `fr` before every pair
                names = None
        elif looks_like_header(first):
            names = numbered_columns(self._path, self._given, len(first))
        self._has_header = names is not None
        if names is not None:
            self._places = _unique_names(first, names)
        elif self._given:
            self._places = numbered_columns(self._path, self._given, len(first))
        else:
            check_first_lines(self._path, cells)
            self._places = {name: place for place, name in enumerate(SIDES)}
        self._width = 1 + max(self._places[name] for name in SIDES)
        return self._schema_of_tsv()

    def _schema_of_tsv(self) -> pa.Schema:
        return pa.schema(
            (name, pa.float32() if name == SCORE else pa.string()) for name in self._places
        )

    def _first_lines(self) -> list[str]:
        """Return the first lines, from which the columns are recognized.

        Raises:
            DataError: If they are no text.
        """
        first = list(itertools.islice(open_lines(self._path), _FIRST_LINES))
        text = "".join(first)
        if text.startswith("\ufffd\ufffd") or text.count("\0") > _MOST_ZEROS * len(text):
            raise DataError(
                f"{self._path} is no text in UTF-8. UTF-16 is converted with `iconv -f UTF-16 -t"
                " UTF-8`; Parquet is recognized by the suffix .parquet."
            )
        return [line.removeprefix(BYTE_ORDER_MARK) for line in first[:1]] + first[1:]

    def _numbered_lines(self) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(open_lines(self._path), 1):
            yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line

    def _split(
        self, lines: Iterator[tuple[int, str]], *, is_cut: bool = False
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row with the number of its last line.

        Args:
            lines: Numbered.
            is_cut: Whether the lines may end inside a row.
        """
        if not self._is_quoted:
            for number, line in lines:
                yield number, line.split("\t")
            return
        reader = csv.reader((f"{line}\n" for _, line in lines), delimiter="\t", strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            if not is_cut:
                raise DataError(
                    f"{self._path}:{reader.line_num}: its cells stand in quotation marks, but here"
                    f" they do not close: {error}"
                ) from None

    def _numbered_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each pair with the number of the line it ends on."""
        rows = self._split(self._numbered_lines())
        if self._has_header:
            next(rows, None)
        for number, row in rows:
            if len(row) < self._width:
                raise DataError(
                    f"{self._path}:{number}: {len(row)} columns where a pair needs {self._width}"
                )
            yield number, row

    def _tsv_tables(self) -> Iterator[pa.Table]:
        rows = self._numbered_rows()
        while batch := list(itertools.islice(rows, self._rows)):
            yield self._as_table(batch)

    def _as_table(self, rows: list[tuple[int, list[str]]]) -> pa.Table:
        columns = []
        for field in self.schema:
            place = self._places[field.name]
            cells = [row[place] if place < len(row) else "" for _, row in rows]
            column = pa.array(cells, pa.string())
            try:
                columns.append(column.cast(field.type))
            except pa.ArrowInvalid as error:
                number = rows[_first_damaged(column, field.type)][0]
                raise DataError(
                    f"{self._path}:{number}: column `{field.name}` holds what is not a number:"
                    f" {error}"
                ) from None
        return pa.Table.from_arrays(columns, schema=self.schema)

    def count(self) -> int:
        """Return the number of pairs; a TSV is read once for it."""
        if self._is_parquet:
            with open_parquet(self._path, self._path) as file:
                return int(file.metadata.num_rows)
        return sum(1 for _ in self._numbered_rows())

    def copy_first(self, copy: Path, pairs: int) -> int:
        """Copy the first pairs to another file unchanged; return how many."""
        if not self._is_parquet:
            numbers = [number for number, _ in itertools.islice(self._numbered_rows(), pairs)]
            last = numbers[-1] if numbers else int(self._has_header)
            write_lines(copy, itertools.islice(open_lines(self._path), last))
            return len(numbers)
        with open_parquet(self._path, self._path) as file, atomic_path(copy) as temporary:
            left = pairs
            with pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer:
                for batch in iterate_batches(file, self._path, None, self._rows):
                    writer.write_table(batch.slice(0, left))
                    left -= min(left, batch.num_rows)
                    if not left:
                        break
        return pairs - left


def _repeats(rows: Sequence[Sequence[str]], names: Mapping[str, int]) -> bool:
    """Whether the names of both sides would also be the content of the next row."""
    places = [names[side] for side in SIDES]
    return len(rows) > 1 and all(
        place < len(rows[1]) and rows[1][place] == rows[0][place] for place in places
    )


def _flat(table: pa.Table) -> pa.Table:
    """Return a table whose columns of structures are columns of their own, `translation.en`."""
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _unique_names(names: Sequence[str], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the place of each column by name, our names for those that were chosen."""
    ours = {place: name for name, place in chosen.items()}
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        plain = ours.get(place) or name.strip().strip('"') or f"column_{place + 1}"
        same = 1
        unique = plain
        while place not in ours and (unique in places or unique in chosen):
            same += 1
            unique = f"{plain}_{same}"
        places[unique] = place
    return places


def _are_quoted(rows: Sequence[Sequence[str]]) -> bool:
    """Whether every cell stands in quotation marks."""
    cells = [cell for row in rows for cell in row if cell]
    return bool(cells) and all(
        len(cell) > 1 and cell.startswith('"') and cell.endswith('"') for cell in cells
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _checked_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text as strings that are valid UTF-8.

    Raises:
        pa.ArrowInvalid: If one is not.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    text = column.cast(pa.binary()).cast(pa.string())  # which validates
    return text


def _first_damaged(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> int:
    """Return the first row that cannot be cast, by halving."""
    begin, end = 0, len(column)
    while end - begin > 1:
        middle = (begin + end) // 2
        try:
            part = column.slice(begin, middle - begin)
            (_checked_text(part) if pa.types.is_string(kind) else part).cast(kind)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            end = middle
        else:
            begin = middle
    return begin


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def count_pairs(path: Path, columns: Mapping[str, str] | None = None) -> int:
    """Return the number of pairs of a bitext file; a TSV is read once for it.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged.
    """
    return BitextReader(path, columns=columns).count()


def copy_first_pairs(
    path: Path, copy: Path, pairs: int, columns: Mapping[str, str] | None = None
) -> int:
    """Write the first pairs of a bitext file to another with all their columns; return how many."""
    return BitextReader(path, columns=columns).copy_first(copy, pairs)


def check_bitext_name(path: Path) -> None:
    """Refuse a path that bitext cannot be written to; called before the work starts.

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
        if stem != path.name and "-" in stem:
            try:
                return parse_direction(stem)
            except UserError:
                return None
    return None
