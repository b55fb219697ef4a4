"""Reading Common Crawl's columnar index: the rows that a query asks for, and as little else.

Layout: github.com/commoncrawl/cc-index-table, `cc-index-schema-flat.json`; Parquet files below
`crawl=…/subset=…/`, each sorted by SURT key. Row groups that cannot hold a wanted host, by the
statistics of `url_surtkey`, are not read at all. Of the others the columns of the conditions are
read first, and the rest only of row groups where a page meets them.
"""

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.crawl.ranges import RANGES_SCHEMA
from corpus.crawl.shard_lists import read_shard_list
from corpus.errors import DataError, UserError
from corpus.parquet import iterate_batches, open_parquet
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
_BATCH_ROWS = 1 << 16


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
        names = parquet.schema_arrow.names
        rest = [
            *RANGES_SCHEMA.names,
            LANGUAGES,
            HOST,
            next(n for n in (*_DOMAINS, "") if n in names),
        ]
        rest = list(dict.fromkeys(rest))
        _check_columns(file, names, query.columns, rest)
        rest = [name for name in rest if name in names]
        groups = [
            group
            for group in range(parquet.num_row_groups)
            if _may_match(parquet.metadata.row_group(group), query)
        ]
        counts["index_rows"] += parquet.metadata.num_rows
        counts["index_rows_skipped"] += parquet.metadata.num_rows - sum(
            parquet.metadata.row_group(group).num_rows for group in groups
        )
        rows, hits = _find(parquet, source, query, groups)
        counts["index_bytes"] += _chunk_bytes(parquet, groups, query.columns)
        counts["index_bytes"] += _chunk_bytes(parquet, hits, rest)
        for table in _take(parquet, source, rest, hits, rows):
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


def _may_match(group: pq.RowGroupMetaData, query: Query) -> bool:
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == _SURT:
            found = column.statistics
            if found is None or not found.has_min_max or not isinstance(found.min, str):
                return True
            return query.may_match(found.min, found.max)
    return True


def _find(
    parquet: pq.ParquetFile, source: BinaryIO, query: Query, groups: Sequence[int]
) -> tuple[dict[int, "np.ndarray[tuple[int], np.dtype[np.int64]]"], list[int]]:
    """Return the rows in each row group that meet the conditions, and the groups that have any."""
    sizes = [parquet.metadata.row_group(group).num_rows for group in groups]
    ends = list(itertools.accumulate(sizes))
    found: dict[int, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    row = 0
    for table in iterate_batches(parquet, source, query.columns, _BATCH_ROWS, frozenset(groups)):
        hits = np.flatnonzero(query.select(table).to_numpy(zero_copy_only=False)) + row
        row += table.num_rows
        while hits.size:
            place = bisect.bisect_right(ends, int(hits[0]))
            inside = hits < ends[place]
            found.setdefault(groups[place], []).append(hits[inside] - (ends[place] - sizes[place]))
            hits = hits[~inside]
    return {group: np.concatenate(parts) for group, parts in found.items()}, sorted(found)


def _take(
    parquet: pq.ParquetFile,
    source: BinaryIO,
    columns: Sequence[str],
    groups: Sequence[int],
    rows: dict[int, "np.ndarray[tuple[int], np.dtype[np.int64]]"],
) -> Iterator[pa.Table]:
    starts = itertools.accumulate(
        (parquet.metadata.row_group(group).num_rows for group in groups), initial=0
    )
    parts = [rows[group] + start for group, start in zip(groups, starts, strict=False)]
    wanted = np.concatenate(parts) if parts else np.empty(0, np.int64)
    first = 0
    for table in iterate_batches(parquet, source, columns, _BATCH_ROWS, frozenset(groups)):
        low, high = np.searchsorted(wanted, [first, first + table.num_rows])
        if high > low:
            yield table.take(pa.array(wanted[low:high] - first))
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


def _chunk_bytes(parquet: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]) -> int:
    total = 0
    for group in groups:
        row_group = parquet.metadata.row_group(group)
        for number in range(row_group.num_columns):
            chunk = row_group.column(number)
            if chunk.path_in_schema in columns:
                total += chunk.total_compressed_size
    return total
