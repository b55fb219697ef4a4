"""What `mining sentences` reads: crawl shards, or single records of them by byte range."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.crawl.documents import (
    Document,
    Documents,
    Shard,
    read_documents,
    shard_kind,
    shard_names,
)
from corpus.crawl.parts import Part, divide
from corpus.crawl.range_documents import MOST_JOINED_BYTES, RangeDocuments
from corpus.crawl.ranges import count_ranges, plan_requests, read_ranges
from corpus.crawl.shard_lists import sample_by_name
from corpus.errors import UserError
from corpus.fetch.byte_ranges import COMMON_CRAWL, RangeReader, RangesConfig, check_prefix
from corpus.fetch.pace import Pace
from corpus.jobs import RECEIPTS, Task
from corpus.remote import RemoteFile
from mining.sentences.addresses import read_addresses
from mining.sentences.config import DocumentsConfig, SentencesConfig

_FIRST, _RECORDS = "first", "records"
_PACE = ".pace"
_MEGABYTE = 1 << 20
_KILOBYTE = 1 << 10


class Ranges(NamedTuple):
    """Records to read: their table, where their files are, and how many shards of them."""

    table: Path
    prefix: str = COMMON_CRAWL
    sample: float | None = None


class RangesPlan(NamedTuple):
    """What reading a table of ranges takes."""

    pages: int
    files: int
    bytes: int
    """Of the records."""
    requests: int
    fetched_bytes: int
    """Of the requests: with what lies between joined records."""
    hours: float
    """That the requests take at least, at the rate of the config."""

    def __str__(self) -> str:
        """Return the same as a sentence's part."""
        return (
            f"{self.pages:,} pages ({self.bytes:,} bytes) of {self.files:,} files, in"
            f" {self.requests:,} requests of {self.fetched_bytes:,} bytes, which take"
            f" {self.hours:.1f} hours or more"
        )

    def as_counts(self) -> dict[str, float]:
        """Return all of it by name."""
        return {"pages": self.pages, "files": self.files, "bytes": self.bytes, **self.cost()}

    def cost(self) -> dict[str, float]:
        """Return what reading takes, beside what is read."""
        return {
            "requests": self.requests,
            "fetched_bytes": self.fetched_bytes,
            "hours": round(self.hours, 2),
        }


def shard_tasks(
    shards: Sequence[Shard], model_files: tuple[Path, ...], max_bytes: int
) -> list[Task]:
    """Return a task per shard; its own file is the first of its inputs, or the remote one.

    Larger files on this machine have several, if their format has borders that can be found.

    Raises:
        UserError: If a shard's name tells no format.
    """
    for shard in shards:
        shard_kind(shard)
    tasks = []
    for name, shard in shard_names(shards).items():
        if isinstance(shard, RemoteFile):
            tasks.append(Task(name=name, inputs=model_files, remote=(shard,)))
            continue
        parts = divide(shard, max_bytes) if shard.is_file() else []
        whole = Task(name=name, inputs=(shard, *model_files))
        if len(parts) < 2:
            tasks.append(whole)
            continue
        tasks += [
            dataclasses.replace(whole, name=f"{name}.part-{number:04d}", arguments=part._asdict())
            for number, part in enumerate(parts)
        ]
    return tasks


def task_shard(task: Task) -> Shard:
    """Return the shard that a task reads."""
    return task.remote[0] if task.remote else task.inputs[0]


def task_part(task: Task) -> Part | None:
    """Return which part of its shard a task reads; None for the whole of it."""
    borders = [task.arguments[name] for name in Part._fields if name in task.arguments]
    return Part(*borders) if borders else None


def range_tasks(ranges: Ranges, config: RangesConfig, model_files: tuple[Path, ...]) -> list[Task]:
    """Return a task per `records_per_shard` rows of a table of ranges.

    Where its files are is no part of a task: the same records may come from another mirror.

    Raises:
        UserError: If the table or the prefix does not exist, or the table is empty.
    """
    check_prefix(ranges.prefix)
    count = count_ranges(ranges.table)
    if not count:
        raise UserError(f"{ranges.table} lists no records")
    tasks = [
        Task(
            name=f"ranges-{first // config.records_per_shard:06d}",
            inputs=(ranges.table, *model_files),
            arguments={_FIRST: first, _RECORDS: config.records_per_shard},
        )
        for first in range(0, count, config.records_per_shard)
    ]
    return sample_by_name(tasks, [task.name for task in tasks], ranges.sample)


class ChosenDocuments:
    """Those of a shard's documents that the config lets through, to be iterated once."""

    def __init__(
        self, documents: Documents, config: DocumentsConfig, dropped: frozenset[int]
    ) -> None:
        self._documents = documents
        self._blocked = read_addresses(config.blocked)
        self._only = read_addresses(config.only) if config.only else None
        self._dropped = dropped

    @property
    def counts(self) -> Counter[str]:
        """As `Documents.counts`, and those that were left out."""
        return self._documents.counts

    @property
    def problem(self) -> str:
        """As `Documents.problem`."""
        return self._documents.problem

    @property
    def boilerplate_characters(self) -> int:
        """As `Documents.boilerplate_characters`."""
        return self._documents.boilerplate_characters

    def __iter__(self) -> Iterator[Document]:
        return (document for _, document in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Document]]:
        """Yield documents with their numbers among all of the shard."""
        for number, document in enumerate(self._documents):
            address = document.identifier
            if address in self._blocked or (self._only is not None and address not in self._only):
                self.counts["documents.blocked"] += 1
            elif number in self._dropped:
                self.counts["documents.near_duplicate"] += 1
            else:
                yield number, document


def open_documents(
    task: Task,
    ranges: Ranges | None,
    output: Path,
    config: SentencesConfig,
    dropped: frozenset[int] = frozenset(),
) -> ChosenDocuments:
    """Return the documents of a task, to be iterated once.

    Args:
        task: See `shard_tasks` and `range_tasks`.
        ranges: Where single records are read.
        output: Directory of the sentences.
        config: Which documents are read.
        dropped: Numbers of documents that are left out as near copies.
    """
    return ChosenDocuments(_all_documents(task, ranges, output, config), config.documents, dropped)


def _all_documents(
    task: Task, ranges: Ranges | None, output: Path, config: SentencesConfig
) -> Documents:
    most = config.max_document_mb * _MEGABYTE
    if ranges is None:
        return read_documents(task_shard(task), most, task_part(task))
    pace = Pace(output / RECEIPTS / _PACE, config.ranges.requests_per_second)
    reader = RangeReader(ranges.prefix, config.ranges, pace)
    records = read_ranges(task.inputs[0], task.arguments[_FIRST], task.arguments[_RECORDS])
    return RangeDocuments(task.name, records, reader, config.ranges, most)


def plan_ranges(table: Path, config: RangesConfig) -> RangesPlan:
    """Return what reading a table takes, without reading anything but the table.

    Raises:
        UserError: If it does not exist.
        DataError: If it is damaged.
    """
    count_ranges(table)
    pages = files = size = requests = fetched = 0
    last = ""
    rows = read_ranges(table)
    for request in plan_requests(rows, config.join_gap_kb * _KILOBYTE, MOST_JOINED_BYTES):
        pages += len(request.records)
        size += sum(record.length for record in request.records)
        files += request.file != last
        last = request.file
        requests += 1
        fetched += request.count
    hours = requests / config.requests_per_second / 3600
    return RangesPlan(pages, files, size, requests, fetched, hours)
