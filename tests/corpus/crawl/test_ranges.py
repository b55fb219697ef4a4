"""Tables of ranges, the requests they become, and records read and checked one by one."""

import base64
import gzip
import hashlib
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from corpus.crawl.documents import read_documents
from corpus.crawl.range_documents import RangeDocuments, read_one
from corpus.crawl.ranges import (
    RecordRange,
    count_ranges,
    plan_requests,
    read_ranges,
    write_ranges,
)
from corpus.errors import DataError, FetchError, UserError
from corpus.fetch.byte_ranges import RangeReader, RangesConfig
from corpus.fetch.pace import Pace
from tests.corpus.fetch.faulty_server import faulty_server, serve_files

QUICK = RangesConfig(wait_seconds=0.0, attempts=2, timeout_seconds=1.0)
NO_LIMIT = 1 << 26
RECORDS = [
    RecordRange(f"https://example.org/{number}", f"a/{number // 50}.warc.gz", number * 100, 90, "")
    for number in range(100)
]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.integers(1, 60))),
    st.integers(0, 50),
    st.integers(1, 200),
)
def test_every_record_is_in_one_request_that_holds_its_bytes(
    rows: list[tuple[int, int, int]], gap: int, most: int
) -> None:
    records = [RecordRange("u", f"f{file}", first, count, "") for file, first, count in rows]
    requests = list(plan_requests(records, gap, most))
    assert [record for request in requests for record in request.records] == records
    for request in requests:
        assert {record.file for record in request.records} == {request.file}
        assert all(request.first <= record.offset for record in request.records)
        assert all(record.end <= request.first + request.count for record in request.records)
        assert len(request.records) == 1 or request.count <= most


def test_neighbors_are_joined_up_to_the_gap() -> None:
    assert len(list(plan_requests(RECORDS, 10, NO_LIMIT))) == 2
    assert len(list(plan_requests(RECORDS, 9, NO_LIMIT))) == 100
    assert len(list(plan_requests(RECORDS, 10, 190))) == 50


def table_of(records: list[RecordRange]) -> pa.Table:
    names = ["url", "warc_filename", "warc_record_offset", "warc_record_length", "content_digest"]
    return pa.table(dict(zip(names, map(list, zip(*records, strict=True)), strict=True)))


@pytest.mark.parametrize("name", ["a.parquet", "a.tsv", "a.tsv.gz", "a.tsv.zst"])
@pytest.mark.parametrize(("first", "count"), [(0, None), (0, 7), (95, 10), (100, 5), (31, 20)])
def test_rows_come_back_from_any_place(
    tmp_path: Path, name: str, first: int, count: int | None
) -> None:
    write_ranges(tmp_path / name, table_of(RECORDS))
    wanted = RECORDS[first:] if count is None else RECORDS[first : first + count]
    assert list(read_ranges(tmp_path / name, first, count)) == wanted
    assert count_ranges(tmp_path / name) == 100


def test_rows_come_back_from_tables_in_many_row_groups(tmp_path: Path) -> None:
    pq.write_table(table_of(RECORDS), tmp_path / "a.parquet", row_group_size=7)
    for first in range(101):
        assert list(read_ranges(tmp_path / "a.parquet", first, 9)) == RECORDS[first : first + 9]


def test_what_an_sql_query_gets_from_the_index_is_a_table_too(tmp_path: Path) -> None:
    columns = ("warc_record_offset", "warc_filename", "crawl", "url", "warc_record_length")
    rows = [[1, "f.warc.gz", "CC-MAIN-2026-04", "https://example.org/", 2]]
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(columns)})
    pq.write_table(table.cast(table.schema.set(0, pa.field(columns[0], pa.int32()))),
                   tmp_path / "a.parquet")  # fmt: skip
    assert list(read_ranges(tmp_path / "a.parquet")) == [
        RecordRange("https://example.org/", "f.warc.gz", 1, 2, "")
    ]


@pytest.mark.parametrize(
    "cells",
    [
        "u\tf\t-1\t5\t",
        "u\tf\t0\t0\t",
        "u\tf\tx\t5\t",
        "u\t\t0\t5\t",
        f"u\tf\t0\t{10**30}\t",
    ],
)
def test_a_row_that_is_no_range_is_named(tmp_path: Path, cells: str) -> None:
    names = "url\twarc_filename\twarc_record_offset\twarc_record_length\tcontent_digest"
    (tmp_path / "a.tsv").write_text(f"{names}\nu\tf\t0\t5\t\n{cells}\n")
    with pytest.raises(DataError, match="row 1 is no range"):
        list(read_ranges(tmp_path / "a.tsv"))


def test_other_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("url\tfile\n")
    with pytest.raises(DataError, match="lacks the columns warc_filename"):
        count_ranges(tmp_path / "a.tsv")
    with pytest.raises(UserError, match="does not exist"):
        count_ranges(tmp_path / "none.parquet")
    with pytest.raises(UserError, match="ends in"):
        count_ranges(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1, but no more")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        count_ranges(tmp_path / "a.parquet")


@pytest.fixture
def crawl() -> Path:
    data = os.environ.get("TONGUES_DATA")
    if not data:
        pytest.skip("needs TONGUES_DATA")
    return Path(data) / "crawl"


def records_of(path: Path, root: Path) -> list[RecordRange]:
    """Return the responses and the like of a file by warcio, another reader."""
    found = []
    with path.open("rb") as file:
        records = ArchiveIterator(file)
        for record in records:
            start = records.get_record_offset()
            headers = record.rec_headers
            length = records.get_record_length()
            if record.rec_type in ("response", "resource"):
                found.append(
                    RecordRange(
                        headers.get_header("WARC-Target-URI").strip("<>"),
                        str(path.relative_to(root)),
                        start,
                        length,
                        headers.get_header("WARC-Payload-Digest") or "",
                    )
                )
    return found


def documents_of(
    records: list[RecordRange],
    prefix: str,
    folder: Path,
    config: RangesConfig = QUICK,
    most: int = NO_LIMIT,
) -> tuple[list[tuple[str, str]], RangeDocuments]:
    reader = RangeReader(prefix, config, Pace(folder / "pace", 1e9))
    documents = RangeDocuments("ranges-0", records, reader, config, most)
    return [(document.identifier, document.text) for document in documents], documents


def test_real_records_read_alone_are_those_of_the_whole_file(crawl: Path, tmp_path: Path) -> None:
    for name in ("whirlwind.warc.gz", "whirlwind.warc", "odd/example-iana.org-chunked.warc"):
        records = records_of(crawl / name, crawl)
        found, documents = documents_of(records, str(crawl), tmp_path)
        whole = [(one.identifier, one.text) for one in read_documents(crawl / name)]
        assert found == whole
        assert found
        assert documents.problem == ""


def record(number: int, body: bytes, kind: str = "response") -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body
    return gzip.compress(
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://example.org/{number}\r\n"
        f"Content-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(http)}\r\n\r\n".encode()
        + http
        + b"\r\n\r\n",
        mtime=0,
    )


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, list[RecordRange]]:
    root = tmp_path / "crawl"
    root.mkdir()
    listed = []
    with (root / "a.warc.gz").open("wb") as file:
        for number in range(20):
            data = record(number, b"a line of text, number %d\n" % number)
            url = f"https://example.org/{number}"
            listed.append(RecordRange(url, "a.warc.gz", file.tell(), len(data), ""))
            file.write(data)
    return root, listed


def test_records_come_in_the_order_of_the_table_and_joined(
    tmp_path: Path, made: tuple[Path, list[RecordRange]]
) -> None:
    root, listed = made
    with faulty_server(serve_files(root)) as server:
        found, documents = documents_of(listed, server.url, tmp_path)
        assert [url for url, _ in found] == [one.url for one in listed]
        assert len(server.requests) == 1
        alone = RangesConfig(connections=3, join_gap_kb=0, wait_seconds=0.0)
        every_other, _ = documents_of(listed[::2], server.url, tmp_path, alone)
        assert every_other == found[::2]
        assert len(server.requests) == 11
    assert documents.counts["fetched_records"] == documents.counts["documents"] == 20


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"url": "https://example.org/other"}, "the record is of https://example.org/3"),
        ({"digest": "A" * 32}, "the digest of its payload is not AAAA"),
        ({"digest": "sha256:" + "0" * 64}, "the digest of its payload is not sha256:0000"),
        ({"length": -1}, "the range is not a whole record"),
        ({"offset": 1}, "the range is not a whole record"),
        ({"length": 1}, "the range is not a whole record"),
        ({"length": 500}, "the range holds more than one record"),
    ],
)
def test_a_record_that_is_not_what_the_table_says_is_left_out_and_told(
    tmp_path: Path,
    made: tuple[Path, list[RecordRange]],
    change: dict[str, str | int],
    why: str,
) -> None:
    root, listed = made
    values = {
        key: value if isinstance(value, str) else getattr(listed[3], key) + value
        for key, value in change.items()
    }
    listed[3] = listed[3]._replace(**values)  # type: ignore[arg-type]
    with faulty_server(serve_files(root)) as server:
        found, documents = documents_of(listed, server.url, tmp_path)
        assert len(server.requests) == 2  # it was read once more, alone
    assert len(found) == 19
    assert documents.counts["wrong_records"] == 1
    assert why in documents.problem


def test_a_wrong_answer_is_mended_by_the_second(
    tmp_path: Path, made: tuple[Path, list[RecordRange]]
) -> None:
    root, listed = made
    with faulty_server(serve_files(root)) as server:
        server.faults.append("swapped")
        found, documents = documents_of(listed, server.url, tmp_path)
    assert len(found) == 20
    assert documents.problem == ""


def test_a_missing_file_costs_its_records_only(
    tmp_path: Path, made: tuple[Path, list[RecordRange]]
) -> None:
    root, listed = made
    listed[5:5] = [RecordRange("https://example.org/x", "none.warc.gz", 0, 9, "")]
    with faulty_server(serve_files(root)) as server:
        found, documents = documents_of(listed, server.url, tmp_path)
    assert len(found) == 20
    assert documents.counts["missing_records"] == 1
    assert "none.warc.gz: the server answered 404" in documents.problem


def test_a_server_that_never_answers_ends_the_job_and_one_that_stops_a_shard(
    tmp_path: Path, made: tuple[Path, list[RecordRange]]
) -> None:
    root, listed = made
    alone = RangesConfig(connections=1, join_gap_kb=0, attempts=1, wait_seconds=0.0)
    apart = [*listed[0:6:2], *listed[6:20:2]]
    with faulty_server(serve_files(root)) as server:
        server.always = "503"
        with pytest.raises(FetchError, match="answered 503"):
            documents_of(apart, server.url, tmp_path, alone)
        server.faults.extend(["", "", ""])
        found, documents = documents_of(apart, server.url, tmp_path, alone)
    assert len(found) == 3
    assert documents.counts["unread_records"] == 7
    assert "answered 503" in documents.problem


def test_long_ranges_and_bombs_are_not_held(tmp_path: Path) -> None:
    root = tmp_path / "crawl"
    root.mkdir()
    bomb = record(0, bytes(8 << 20))
    (root / "a.warc.gz").write_bytes(bomb)
    listed = [
        RecordRange("https://example.org/0", "a.warc.gz", 0, len(bomb), ""),
        RecordRange("https://example.org/1", "a.warc.gz", 0, 1 << 40, ""),
    ]
    found, documents = documents_of(listed, str(root), tmp_path, most=1 << 20)
    assert found == []
    assert documents.counts == Counter(oversized=2, fetched_records=1, requests=1,
                                       fetched_bytes=len(bomb))  # fmt: skip


def test_a_digest_of_chunks_is_of_either_reading() -> None:
    chunks = b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    whole = base64.b32encode(hashlib.sha1(b"ab").digest()).decode()
    stored = hashlib.sha1(chunks).hexdigest()
    http = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    data = (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.b/\r\n"
        b"Content-Type: application/http\r\nContent-Length: %d\r\n\r\n" % len(http)
    ) + http + b"\r\n\r\n"  # fmt: skip
    for digest in (whole, f"sha1:{whole}", f"sha1:{stored}"):
        found = read_one(RecordRange("http://a.b/", "f", 0, len(data), digest), data, NO_LIMIT)
        assert not isinstance(found, str)
    other = hashlib.sha1(b"abc").hexdigest()
    found = read_one(RecordRange("http://a.b/", "f", 0, len(data), other), data, NO_LIMIT)
    assert found == f"the digest of its payload is not {other}"
