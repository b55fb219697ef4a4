"""From a crawl's columnar index to a table of the records to read, as two jobs.

The first has a task per file of the index and writes what it found there to a hidden directory; the
second puts these tables together, in the order of files and offsets, each page once.
"""

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus import stores
from corpus.crawl.ranges import check_ranges_name, read_ranges, write_ranges
from corpus.files import make_directory, remove_parts
from corpus.jobs import LOCAL, Executor, Outcome, Task, has_receipt, run_job
from corpus.records import read_table, write_table
from mining.selection.config import SelectConfig
from mining.selection.index import SELECTED_SCHEMA, IndexFile, read_index
from mining.selection.query import HOST, Query, index_languages

SELECT_JOB = "select"
SCAN_JOB = "scan"
PARTS = ".select"
PAGES = "pages"
_DIGEST_BYTES = 8


def query_of(
    config: SelectConfig,
    languages: Sequence[str],
    domains: Sequence[str],
    places: Sequence[str],
) -> Query:
    """Return what is asked for by options and config.

    Raises:
        UserError: If that is nothing.
    """
    codes = dict.fromkeys(code for language in languages for code in index_languages(language))
    return Query(
        languages=tuple(codes),
        main_language=config.main_language,
        domains=tuple(domains),
        places=tuple(places),
        statuses=config.statuses,
        media_types=config.media_types,
    )


def run_select(
    index: Sequence[IndexFile],
    query: Query,
    output: Path,
    config: SelectConfig,
    executor: Executor = LOCAL,
) -> Mapping[str, int]:
    """Write the pages of an index that a query asks for, as a table of ranges.

    Args:
        index: Files of the index.
        query: What is asked for.
        output: Parquet or TSV, with the columns of `SELECTED_SCHEMA`.
        config: How many processes, and whether pages of the same content are selected once.
        executor: Where they run.

    Returns:
        Counts: `pages`, `hosts`, `files` (WARC), `bytes` (of the records), `same_content` (pages
        left out), and of the index `index_rows`, `index_rows_skipped` and `index_bytes`.

    Raises:
        UserError: If a file does not exist.
        JobError: If files of the index are damaged. The pages of the others are kept for the next
            run, and nothing is written.
    """
    check_ranges_name(output)
    name = output.name.split(".")[0]
    asked = {"query": _plain(query), "once": config.once}
    task = Task(
        name=name,
        inputs=(),
        remote=tuple(one.file for one in index),
        arguments={"output": output.name, **asked},
    )
    # Another query's parts, of an interrupted run, are not mixed with these.
    digest = hashlib.blake2b(json.dumps(asked["query"]).encode(), digest_size=_DIGEST_BYTES)
    parts = output.parent / PARTS / f"{name}-{digest.hexdigest()}"
    scanned: Mapping[str, int] = {}
    if not has_receipt(SELECT_JOB, task, output.parent):
        scanned = run_job(
            name=SCAN_JOB,
            tasks=[
                Task(
                    name=one.name,
                    inputs=(),
                    remote=(one.file,),
                    arguments={"query": asked["query"]},
                )
                for one in index
            ],
            work=functools.partial(_scan, query=query, parts=parts),
            output=parts,
            workers=config.workers,
            executor=executor,
        ).counts
    work = functools.partial(
        _merge,
        output=output,
        parts=[parts / f"{one.name}.parquet" for one in index],
        once=config.once,
        scanned=scanned,
    )
    summary = run_job(
        name=SELECT_JOB, tasks=[task], work=work, output=output.parent, executor=executor
    )
    stores.remove_all(parts)
    remove_parts(parts)
    stores.fetch(output)
    return summary.counts


def _plain(query: Query) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(query).items()
    }


def _scan(task: Task, *, query: Query, parts: Path) -> Outcome:
    counts: Counter[str] = Counter()
    tables = list(read_index(task.remote[0], query, counts))
    path = parts / f"{task.name}.parquet"
    make_directory(parts)
    write_table(path, pa.concat_tables([SELECTED_SCHEMA.empty_table(), *tables]))
    return Outcome(counts=counts, outputs=(path,))


def _merge(
    task: Task, *, output: Path, parts: Sequence[Path], once: bool, scanned: Mapping[str, int]
) -> Outcome:
    found = pa.concat_tables([read_table(stores.fetch(one), SELECTED_SCHEMA) for one in parts])
    table = in_order(found, once=once)
    write_ranges(output, table)
    counts = {**count_pages(table), "same_content": found.num_rows - table.num_rows, **scanned}
    return Outcome(counts=counts, outputs=(output,))


def in_order(table: pa.Table, *, once: bool) -> pa.Table:
    """Return pages in the order of their files and offsets, each record once.

    Args:
        table: Of `SELECTED_SCHEMA`.
        once: Whether of pages with one content digest only the last stays: that of the latest
            crawl, as files are named.
    """
    table = table.sort_by([("warc_filename", "ascending"), ("warc_record_offset", "ascending")])
    places = table.select(["warc_filename", "warc_record_offset"]).to_pydict()
    digests = table.column("content_digest").to_pylist()
    records: set[tuple[str, int]] = set()
    contents: set[str] = set()
    kept = []
    for row in range(table.num_rows - 1, -1, -1):
        record = (places["warc_filename"][row], places["warc_record_offset"][row])
        is_copy = record in records or (once and digests[row] and digests[row] in contents)
        if not is_copy:
            kept.append(row)
            records.add(record)
            contents.add(digests[row])
    return table.take(pa.array(kept[::-1], pa.int64()))


def count_pages(table: pa.Table) -> dict[str, int]:
    """Return how many pages, hosts and files a table has, and the bytes of its records."""
    return {
        PAGES: table.num_rows,
        "hosts": pc.count_distinct(table.column(HOST)).as_py(),
        "files": pc.count_distinct(table.column("warc_filename")).as_py(),
        "bytes": pc.sum(table.column("warc_record_length")).as_py() or 0,
    }


def largest_hosts(path: Path, count: int = 20) -> dict[str, tuple[int, int]]:
    """Return pages and bytes of the hosts of a table of ranges, the `count` with the most pages."""
    hosts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for record in read_ranges(path):
        host = (record.url.partition("://")[2].partition("/")[0]).lower()
        hosts[host] += 1
        size[host] += record.length
    most = sorted(hosts, key=lambda host: (-hosts[host], host))[:count]
    return {host: (hosts[host], size[host]) for host in most}
