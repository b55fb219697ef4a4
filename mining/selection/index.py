"""Reading Common Crawl's columnar index: the rows that a query asks for, and as little else.

Layout: github.com/commoncrawl/cc-index-table, `cc-index-schema-flat.json`; Parquet files below
`crawl=…/subset=…/`, each sorted by SURT key. Row groups that cannot hold a wanted host, by the
statistics of `url_surtkey`, are not read at all. Of the others the columns of the conditions are
read first, and the rest only of row groups where a page meets them.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.crawl.ranges import RANGES_SCHEMA
from corpus.crawl.shard_lists import read_shard_list
from corpus.errors import DataError, UserError
from corpus.parquet import is_text_type, iterate_dictionaries, open_parquet
from corpus.parquet_footer import ColumnChunk, read_footer
from corpus.records import in_types_of
from corpus.remote import RemoteFile, connect, find_files
from mining.selection.query import HOST, LANGUAGES, Query

DOMAIN = "domain"
SELECTED_SCHEMA = pa.schema(
    [*RANGES_SCHEMA, (LANGUAGES, pa.string()), (HOST, pa.string()), (DOMAIN, pa.string())]
)
"""A table of ranges, and of each page its languages, host and domain."""

_DOMAINS = ("url_host_private_domain", "url_host_registered_domain", HOST)
"""Columns that name the domain somebody owns, the best first: `me.blogspot.com` rather than
`blogspot.com`."""

_SURT = "url_surtkey"
_LISTS = (".paths", ".paths.gz")
_SUBSET = re.compile(r"(?:^|/)subset=([^/]+)/")
_ROWS = 1 << 16


class IndexFile(NamedTuple):
    """A file of an index, and what names it in a job."""

    name: str
    file: RemoteFile
    """Also on this machine, so that a job knows it by size and time of change: a digest would have
    all of it read."""


def find_index(
    arguments: Sequence[str], prefix: str, subsets: Sequence[str] = ()
) -> list[IndexFile]:
    """Return the Parquet files of an index.

    Args:
        arguments: Parquet files, directories of them, lists of them (`cc-index-table.paths.gz`);
            paths or URLs.
        prefix: What stands before the paths of lists.
        subsets: Partitions to take, where paths name theirs; empty for all.

    Raises:
        UserError: If there are none.
    """
    files: list[Path | RemoteFile] = []
    for argument in arguments:
        if argument.endswith(_LISTS):
            files += read_shard_list(argument, prefix)
        else:
            for file in find_files([argument]):
                files += _below(file)
    wanted = [
        file
        for file in dict.fromkeys(files)
        if (subset := _SUBSET.search(Path(str(file)).as_posix())) is None
        or not subsets
        or subset[1] in subsets
    ]
    if not wanted:
        listed = f"; {len(files):,} are in other subsets" if files else ""
        raise UserError(f"{', '.join(arguments)}: no Parquet files of an index{listed}")
    width = len(str(len(wanted)))
    return [
        IndexFile(
            f"{number:0{width}d}",
            RemoteFile(f"file://{file.absolute()}") if isinstance(file, Path) else file,
        )
        for number, file in enumerate(wanted)
    ]


def _below(file: Path | RemoteFile) -> list[Path | RemoteFile]:
    if isinstance(file, Path):
        if file.is_dir():
            return [path for path in sorted(file.rglob("[!._]*.parquet")) if path.is_file()]
        if not file.is_file():
            raise UserError(f"index {file} does not exist")
        return [file]
    if file.suffix == ".parquet":
        return [file]
    system, path = connect(file.url)
    with file.naming_errors():
        names = sorted(name for name in system.find(path) if name.endswith(".parquet"))
    if not names:
        raise UserError(
            f"{file}: no Parquet files are listed there. A server without directories, as"
            " data.commoncrawl.org, needs the list of the files: give cc-index-table.paths.gz"
        )
    return [RemoteFile(str(system.unstrip_protocol(name))) for name in names]


def read_index(file: RemoteFile, query: Query, counts: Counter[str]) -> Iterator[pa.Table]:
    """Yield the pages of an index's file that a query asks for, in tables of `SELECTED_SCHEMA`.

    Args:
        file: A Parquet file.
        query: The conditions.
        counts: Gets `index_rows`, `index_rows_skipped` (in row groups that were not read),
            `index_bytes` (compressed, of the column chunks that were read) and `without_record`
            (pages that the index names no record of).

    Raises:
        DataError: If it is not Parquet, damaged, or lacks a column.
    """
    with file.open() as source, open_parquet(source, file) as parquet:
        schema = parquet.schema_arrow
        names = schema.names
        owner = next((name for name in _DOMAINS if name in names), HOST)
        rest = list(dict.fromkeys([*RANGES_SCHEMA.names, LANGUAGES, HOST, owner]))
        _check_columns(file, names, query.columns, rest)
        rest = [name for name in rest if name in names]
        used = {*query.columns, *rest}
        texts = [name for name in names if name in used and is_text_type(schema.field(name).type)]
        chunks = read_footer(source)
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(len(chunks))]
        groups = [group for group, columns in enumerate(chunks) if _may_match(columns, query)]
        counts["index_rows"] += sum(sizes)
        counts["index_rows_skipped"] += sum(sizes) - sum(sizes[group] for group in groups)
        with open_parquet(source, file, texts) as dictionaries:
            for group in groups:
                read = functools.partial(iterate_dictionaries, dictionaries, chunks[group], group)
                counts["index_bytes"] += _packed(chunks[group], query.columns)
                hits = _find(read(query.columns, _ROWS), query)
                if not hits.size:
                    continue
                counts["index_bytes"] += _packed(chunks[group], rest)
                for table in _take(read(rest, _ROWS), hits):
                    selected = _selected(file, table)
                    readable = _readable(selected)
                    counts["without_record"] += selected.num_rows - readable.num_rows
                    yield readable


def _check_columns(
    file: RemoteFile, names: Sequence[str], conditions: Sequence[str], rest: Sequence[str]
) -> None:
    optional = (LANGUAGES, "content_digest")
    missing = [
        name
        for name in dict.fromkeys((*conditions, *rest))
        if name not in names and (name in conditions or name not in optional)
    ]
    if missing:
        raise DataError(
            f"{file} lacks the columns {', '.join(missing)} of Common Crawl's columnar index"
            " (content_languages is there since CC-MAIN-2018-39); it has"
            f" {', '.join(names)[:500]}"
        )


def _may_match(columns: Sequence[ColumnChunk], query: Query) -> bool:
    for chunk in columns:
        if chunk.name == _SURT and chunk.lowest is not None and chunk.highest is not None:
            return query.may_match(chunk.lowest, chunk.highest)
    return True


def _find(tables: Iterable[pa.Table], query: Query) -> NDArray[np.int64]:
    """Return the numbers of the rows that meet the conditions, [H]."""
    first = 0
    parts = [np.empty(0, np.int64)]
    for table in tables:
        parts.append(np.flatnonzero(query.select(table).to_numpy(zero_copy_only=False)) + first)
        first += table.num_rows
    return np.concatenate(parts)


def _take(tables: Iterable[pa.Table], rows: NDArray[np.int64]) -> Iterator[pa.Table]:
    """Yield the rows with some numbers, ascending."""
    first = 0
    for table in tables:
        low, high = np.searchsorted(rows, [first, first + table.num_rows])
        if high > low:
            yield table.take(pa.array(rows[low:high] - first))
        first += table.num_rows


def _selected(file: RemoteFile, table: pa.Table) -> pa.Table:
    """Return rows of an index in the columns and types of `SELECTED_SCHEMA`."""
    owner = next(name for name in _DOMAINS if name in table.column_names)
    missing = pa.nulls(table.num_rows, pa.string())
    columns = [
        table.column(name) if name in table.column_names else missing
        for name in SELECTED_SCHEMA.names[:-1]
    ]
    host = table.column(HOST)
    domain = table.column(owner)
    named = pa.Table.from_arrays([*columns, domain, host], [*SELECTED_SCHEMA.names, "_host"])
    typed = in_types_of(Path(str(file)), named, SELECTED_SCHEMA)
    domains = typed.column(DOMAIN).combine_chunks()
    hosts = typed.column(HOST).combine_chunks()
    filled = pa.array(
        [one or other for one, other in zip(domains.to_pylist(), hosts.to_pylist(), strict=True)],
        pa.string(),
    )
    typed = typed.drop_columns(["_host"])
    return typed.set_column(SELECTED_SCHEMA.get_field_index(DOMAIN), DOMAIN, filled).cast(
        SELECTED_SCHEMA
    )


def _readable(table: pa.Table) -> pa.Table:
    """Return the rows that say where a record is; what is no number of bytes cannot be read."""
    offsets, lengths = table.column("warc_record_offset"), table.column("warc_record_length")
    is_range = pc.and_(pc.greater_equal(offsets, 0), pc.greater(lengths, 0))
    names = pc.and_(table.column("warc_filename").is_valid(), table.column("url").is_valid())
    return table.filter(pc.and_(is_range, names))


def _packed(chunks: Sequence[ColumnChunk], columns: Sequence[str]) -> int:
    return sum(chunk.packed for chunk in chunks if chunk.name in columns)
