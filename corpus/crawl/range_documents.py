"""Documents of single records of crawl shards, read by byte range and checked one by one."""

import base64
import hashlib
import io
import itertools
import logging
import string
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

from corpus.crawl.documents import Document, Documents
from corpus.crawl.findings import Findings
from corpus.crawl.html import http_payload, join_chunks
from corpus.crawl.ranges import RecordRange, Request, plan_requests
from corpus.crawl.streams import open_streams
from corpus.crawl.warc import Record, read_records
from corpus.errors import FetchError
from corpus.fetch.byte_ranges import MissingRangeError, RangeReader, RangesConfig

logger = logging.getLogger(__name__)

MOST_JOINED_BYTES = 4 << 20
"""Limit of a request of several records."""

_KILOBYTE = 1 << 10
_AHEAD = 2
"""Requests for each connection that are sent or answered before their records are used."""
_FAILURES = 3
"""Requests in a row that may fail for good before the rest of a shard is left for another run."""
_SUFFIXES = ((b"\x1f\x8b", ".gz"), (b"\x28\xb5\x2f\xfd", ".zst"))
_DIGESTS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "md5": hashlib.md5}


class RangeDocuments(Documents):
    """The documents of records that a table lists, in its order, to be iterated once.

    A record that is not what the table says is read once more, alone; then it is counted as
    `wrong_records`. A file that is not there, or ends too early, costs its records only
    (`missing_records`). Where requests fail for good, theirs are `unread_records`.
    """

    def __init__(
        self,
        name: str,
        records: Iterable[RecordRange],
        reader: RangeReader,
        config: RangesConfig,
        max_bytes: int,
    ) -> None:
        """Read nothing yet.

        Args:
            name: What messages call them.
            records: What to read.
            reader: Where from.
            config: How much at a time.
            max_bytes: Longer records are skipped and counted, without being read if their range
                is as long.
        """
        self._begin(name, max_bytes)
        self._all = records
        self._reader = reader
        self._config = config
        self._failures = 0

    def __iter__(self) -> Iterator[Document]:
        join_gap = self._config.join_gap_kb * _KILOBYTE
        requests = plan_requests(self._readable(), join_gap, MOST_JOINED_BYTES)
        for request, data in self._answers(requests):
            for record in request.records:
                start = record.offset - request.first
                document = self._take(record, data[start : start + record.length])
                if document is not None:
                    self.counts["documents"] += 1
                    yield document
        self.counts["requests"] = self._reader.requests

    def _readable(self) -> Iterator[RecordRange]:
        for record in self._all:
            if record.length > self._max_bytes:
                what = f"{record.url}: a range of {record.length:,} bytes"
                self._findings.skip("oversized", record.offset, what)
            else:
                yield record

    def _answers(self, requests: Iterator[Request]) -> Iterator[tuple[Request, bytes]]:
        """Yield what came, in order, while the next requests are on their way."""
        connections = self._config.connections
        waiting: deque[tuple[Request, Future[bytes]]] = deque()
        with ThreadPoolExecutor(connections, thread_name_prefix="ranges") as pool:
            try:
                while True:
                    for request in itertools.islice(requests, _AHEAD * connections - len(waiting)):
                        read = self._reader.read
                        future = pool.submit(read, request.file, request.first, request.count)
                        waiting.append((request, future))
                    if not waiting:
                        return
                    request, future = waiting.popleft()
                    data = self._answer(request, future)
                    if data is not None:
                        yield request, data
                    if self._failures >= _FAILURES:
                        left = sum(len(one.records) for one, _ in waiting)
                        left += sum(len(one.records) for one in requests)
                        self.counts["unread_records"] += left
                        return
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _answer(self, request: Request, future: "Future[bytes]") -> bytes | None:
        """Return what came for a request; None, noting why, if nothing did."""
        try:
            data = future.result()
        except MissingRangeError as error:
            self._findings.note_error(error)
            logger.warning("%s", error)
            self.counts["missing_records"] += len(request.records)
            return None
        except FetchError as error:
            if not self.counts["fetched_records"]:
                raise  # nothing comes at all: no other shard would fare better
            self._findings.note_error(error)
            logger.warning("%s", error)
            self.counts["unread_records"] += len(request.records)
            self._failures += 1
            return None
        self._failures = 0
        self.counts["fetched_records"] += len(request.records)
        self.counts["fetched_bytes"] += len(data)
        return data

    def _take(self, wanted: RecordRange, data: bytes) -> Document | None:
        found = read_one(wanted, data, self._max_bytes)
        if isinstance(found, str):
            logger.info("%s: %s; reading it once more", wanted.url, found)
            try:
                again = self._reader.read(wanted.file, wanted.offset, wanted.length)
            except (FetchError, MissingRangeError) as error:
                found = str(error)
            else:
                found = read_one(wanted, again, self._max_bytes)
        if isinstance(found, str):
            where = f"{wanted.file}, byte {wanted.offset:,}, {wanted.url}: {found}"
            self._findings.skip("wrong_records", wanted.offset, where)
            self._findings.note(f": records are not what the table says, the first: {where}")
            return None
        if found is None:
            self._findings.skip("oversized", wanted.offset, f"the record of {wanted.url}")
            return None
        self._records += 1
        return self._take_record(found)


def read_one(wanted: RecordRange, data: bytes, max_bytes: int) -> Record | str | None:
    """Return the record that some bytes are, or why it is not the wanted one.

    Args:
        wanted: What it should be.
        data: The record, compressed as a member or frame of its own, or not at all.
        max_bytes: Of a longer one, None is returned.
    """
    findings = Findings("", is_logged=False)
    suffix = next((suffix for start, suffix in _SUFFIXES if data.startswith(start)), "")
    found: list[Record] = []
    damage = ""
    for stream in open_streams(io.BytesIO(data), suffix):
        found += itertools.islice(read_records(stream, findings, max_bytes), 2 - len(found))
        damage = damage or stream.damage or findings.problem
        if len(found) > 1:
            return "the range holds more than one record"
    if findings.counts["oversized"]:
        return None
    if damage or findings.counts["malformed"] or not found:
        return f"the range is not a whole record ({damage or 'no WARC record begins there'})"
    record = found[0]
    if _quoted(record.identifier or "") != _quoted(wanted.url):
        return f"the record is of {(record.identifier or 'no URL')[:200]}"
    return _digest_problem(record, wanted.digest) or record


def _quoted(url: str) -> str:
    """Return a URL with spaces and other letters percent-encoded, as some writers do."""
    return quote(url, string.punctuation)


def _digest_problem(record: Record, wanted: str) -> str:
    """Return how a digest differs from that of what came; empty if it does not.

    The block's own digest is of the record as it stands. Of a payload, some writers mean the bytes
    as they are stored, others those without the chunks of the transfer (WARC 1.1, 5.9).
    """
    payload = http_payload(record)
    chunked = "chunked" in record.body[: len(record.body) - len(payload)].lower().decode("latin-1")
    readings = [payload, join_chunks(payload, chunked).data]
    if record.kind == "revisit":  # the digest is that of the page it stands for
        wanted = ""
    checks = [(record.headers.get("warc-block-digest", ""), [record.body], "block"),
              (wanted, readings, "payload")]  # fmt: skip
    for digest, contents, what in checks:
        name, colon, value = digest.rpartition(":")
        algorithm = _DIGESTS.get(name.lower() if colon else "sha1")
        if value and algorithm and not any(_has(one, algorithm, value) for one in contents):
            return f"the digest of its {what} is not {digest[:200]}"
    return ""


def _has(content: bytes, algorithm: "Callable[[bytes], hashlib._Hash]", value: str) -> bool:
    digest = algorithm(content)
    in_base32 = base64.b32encode(digest.digest()).decode().rstrip("=")
    return value.rstrip("=") == in_base32 or value.lower() == digest.hexdigest()
