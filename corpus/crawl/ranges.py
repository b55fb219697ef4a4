"""Tables of records to read: in which file, from which byte on, how long, and what to find there.

The columns are named as in Common Crawl's columnar index
(github.com/commoncrawl/cc-index-table, `cc-index-schema-flat.json`), so that what an SQL query gets
from the index elsewhere is such a table, too.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, open_lines
from corpus.parquet import iterate_batches, open_parquet
from corpus.records import in_types_of, write_table

RANGES_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int64()),
        ("warc_record_length", pa.int64()),
        ("content_digest", pa.string()),
    ]
)
REQUIRED = RANGES_SCHEMA.names[:4]
_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst")
_BATCH_ROWS = 4096
_LARGEST = 1 << 50


class RecordRange(NamedTuple):
    """A record: what it should be, and where."""

    url: str
    file: str
    """Path of its file below the prefix, as `crawl-data/CC-MAIN-…/….warc.gz`."""
    offset: int
    length: int
    digest: str
    """Of its payload, as `CH7IV3XAD3M7A42JARKRLJ3T5PGGCGXD` (SHA-1) or `sha256:…`; or empty."""

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Request:
    """Records of a file that lie so near each other that they are read at once."""

    records: tuple[RecordRange, ...]

    @property
    def file(self) -> str:
        """The file of all of them."""
        return self.records[0].file

    @property
    def first(self) -> int:
        """Offset of the first byte."""
        return self.records[0].offset

    @property
    def count(self) -> int:
        """How many bytes, those between the records among them."""
        return max(record.end for record in self.records) - self.first


def plan_requests(
    records: Iterable[RecordRange], join_gap: int, most_bytes: int
) -> Iterator[Request]:
    """Join records that follow each other in a file.

    Args:
        records: In the order of their files and offsets; in another order fewer are joined.
        join_gap: Bytes that may lie between two.
        most_bytes: Limit of a request of several records.
    """
    waiting: list[RecordRange] = []
    end = 0
    for record in records:
        if waiting and (
            record.file != waiting[0].file
            or not record.offset - waiting[-1].offset >= 0
            or record.offset - end > join_gap
            or max(end, record.end) - waiting[0].offset > most_bytes
        ):
            yield Request(tuple(waiting))
            waiting = []
        end = max(end, record.end) if waiting else record.end
        waiting.append(record)
    if waiting:
        yield Request(tuple(waiting))


def check_ranges_name(path: Path) -> None:
    """Refuse a table of another format.

    Raises:
        UserError: Naming the formats.
    """
    if not path.name.endswith(_SUFFIXES):
        raise UserError(f"{path}: a table of ranges ends in {', '.join(_SUFFIXES)}")


def count_ranges(path: Path) -> int:
    """Return the number of rows of a table.

    Raises:
        UserError: If it does not exist, or its name is of another format.
        DataError: If it is damaged or lacks a column.
    """
    check_ranges_name(path)
    if not path.is_file():
        raise UserError(f"table of ranges {path} does not exist or is not a file")
    if path.suffix == ".parquet":
        with open_parquet(path, path) as file:
            _check_columns(path, file.schema_arrow.names)
            return int(file.metadata.num_rows)
    return sum(1 for _ in read_ranges(path))


def read_ranges(path: Path, first: int = 0, count: int | None = None) -> Iterator[RecordRange]:
    """Yield `count` rows of a table from row `first` on, or all that are left.

    Raises:
        DataError: If it is damaged, lacks a column, or a row holds no range.
    """
    rows = _parquet_rows(path, first) if path.suffix == ".parquet" else _tsv_rows(path, first)
    for number, row in enumerate(itertools.islice(rows, count), first):
        yield _checked(path, number, *row)


def write_ranges(path: Path, table: pa.Table) -> None:
    """Write a table of at least the columns of `RANGES_SCHEMA`, whole or not at all."""
    check_ranges_name(path)
    if path.suffix == ".parquet":
        write_table(path, table)
        return
    from corpus.files import open_binary

    with atomic_path(path) as temporary, open_binary(temporary, "wb") as file:
        file.write(("\t".join(table.column_names) + "\n").encode())
        for batch in table.to_batches(_BATCH_ROWS):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                cells = ("" if cell is None else _cell(str(cell)) for cell in row)
                file.write(("\t".join(cells) + "\n").encode("utf-8", "replace"))


def _cell(text: str) -> str:
    """Return a value without what ends a cell; no URL or path of a file has it."""
    return " ".join(text.replace("\t", " ").splitlines())


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; a table of ranges has"
            f" {', '.join(RANGES_SCHEMA.names)} (the last may be missing), as Common Crawl's index"
        )


def _parquet_rows(path: Path, first: int) -> Iterator[tuple[object, ...]]:
    with open_parquet(path, path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names)
        columns = [name for name in RANGES_SCHEMA.names if name in names]
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        begun = [start for start in itertools.accumulate(sizes, initial=0) if start <= first]
        row = begun[-1]
        for table in iterate_batches(
            file, path, columns, _BATCH_ROWS, range(len(begun) - 1, len(sizes))
        ):
            part = table.slice(max(0, first - row))
            row += table.num_rows
            values = in_types_of(path, part, RANGES_SCHEMA).to_pydict()
            digests = values.get("content_digest") or [""] * part.num_rows
            yield from zip(*(values[name] for name in REQUIRED), digests, strict=True)


def _tsv_rows(path: Path, first: int) -> Iterator[tuple[object, ...]]:
    lines = open_lines(path)
    header = next(lines, "").split("\t")
    _check_columns(path, header)
    places = [header.index(name) for name in REQUIRED]
    digest = header.index("content_digest") if "content_digest" in header else None
    for number, line in enumerate(itertools.islice(lines, first, None), first):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise DataError(f"{path}: row {number:,} has {len(cells)} cells of {len(header)}")
        yield (*(cells[place] for place in places), "" if digest is None else cells[digest])


def _checked(
    path: Path,
    number: int,
    url: object,
    file: object,
    offset: object,
    length: object,
    digest: object,
) -> RecordRange:
    """Return a row as a range.

    Raises:
        DataError: If it is none.
    """
    try:
        first, count = int(str(offset)), int(str(length))
    except ValueError:
        first, count = -1, 0
    if first < 0 or count < 1 or first + count > _LARGEST or not file:
        raise DataError(
            f"{path}: row {number:,} is no range: file `{file}`, offset `{offset}`, length"
            f" `{length}`"
        )
    return RecordRange(str(url or ""), str(file), first, count, str(digest or "").strip())
