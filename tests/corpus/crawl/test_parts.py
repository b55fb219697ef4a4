"""Large shards in parts: every document once, with the name and offset that it has in the whole."""

import gzip
import io
import itertools
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.crawl.documents import Document, read_documents
from corpus.crawl.parts import divide, find_border

HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
TEXTS = st.lists(
    st.sampled_from(["", "a", "река и дом", "two\nlines", "[1]", "x" * 300, "  ", "{", "\u2028"]),
    max_size=30,
)


def in_parts(shard: Path, size: int) -> list[Document]:
    return [
        document for part in divide(shard, size) for document in read_documents(shard, part=part)
    ]


@HERE
@given(texts=TEXTS, size=st.integers(1, 400), end=st.sampled_from(["\n", "\r\n", ""]))
def test_parts_of_json_lines_are_the_whole(
    tmp_path: Path, texts: list[str], size: int, end: str
) -> None:
    shard = tmp_path / "shard.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts] + ["[1, 2]", "no"]
    shard.write_bytes((end or "\n").join(lines).encode() + end.encode())
    assert in_parts(shard, size) == list(read_documents(shard))


@HERE
@given(
    lines=st.lists(st.sampled_from(["", "", " \t", "a", "река", "x" * 300, "\r"]), max_size=60),
    size=st.integers(1, 400),
)
def test_parts_of_plain_text_are_the_whole(tmp_path: Path, lines: list[str], size: int) -> None:
    shard = tmp_path / "shard.txt"
    shard.write_bytes("\n".join(lines).encode())
    assert in_parts(shard, size) == list(read_documents(shard))


@HERE
@given(texts=TEXTS.filter(len), size=st.integers(1, 4000), rows=st.integers(1, 9))
def test_parts_of_parquet_are_the_whole(
    tmp_path: Path, texts: list[str], size: int, rows: int
) -> None:
    shard = tmp_path / "shard.parquet"
    pq.write_table(pa.table({"text": texts}), shard, row_group_size=rows)
    assert in_parts(shard, size) == list(read_documents(shard))


def test_border_is_found_past_lines_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    long = b"x" * 3_000_000
    path.write_bytes(long + b"\n" + long + b"\n" + b" " * 3_000_000 + b"\nlast\n")
    with path.open("rb") as file:
        assert find_border(file, 5, is_at_blank_line=False) == 3_000_001
        assert find_border(file, 5, is_at_blank_line=True) == 9_000_003
        assert find_border(file, 9_000_004, is_at_blank_line=True) == path.stat().st_size


def record(url: str, body: bytes) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: {url}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def pack(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data, 1, mtime=0)
    return zstandard.ZstdCompressor(level=1).compress(data)


def store(name: str, data: bytes) -> bytes:
    """Return a member that holds data as they are (RFC 8878, 3.1.1)."""
    if name.endswith(".gz"):
        return gzip.compress(data, 0, mtime=0)
    pieces = [data[start : start + (1 << 17)] for start in range(0, len(data), 1 << 17)]
    blocks = b"".join(
        (len(piece) << 3 | (piece is pieces[-1])).to_bytes(3, "little") + piece for piece in pieces
    )
    return b"\x28\xb5\x2f\xfd\xe0" + len(data).to_bytes(8, "little") + blocks


def unpack(name: str, data: bytes) -> bytes:
    opened = gzip.open if name.endswith(".gz") else zstandard.open
    with opened(io.BytesIO(data), "rb") as file:
        return bytes(file.read())


@HERE
@given(
    sizes=st.lists(st.sampled_from([0, 5, 90, 4000]), min_size=2, max_size=12),
    size=st.integers(40, 4000),
    name=st.sampled_from(["a.warc.wet.gz", "a.warc.gz", "a.warc.wet.zst"]),
    damage=st.none() | st.integers(0, 1 << 20),
)
def test_parts_of_compressed_records_are_the_whole(
    tmp_path: Path, sizes: list[int], size: int, name: str, damage: int | None
) -> None:
    shard = tmp_path / name
    bodies = [
        random.Random(number).randbytes(one).hex().encode() for number, one in enumerate(sizes)
    ]
    data = b"".join(pack(name, record(f"http://{n}/", body)) for n, body in enumerate(bodies))
    if damage is not None:
        data = data[: damage % len(data)] + b"?" + data[damage % len(data) + 1 :]
    shard.write_bytes(data)
    whole = list(read_documents(shard))
    found = in_parts(shard, size * 4)
    assert found == whole
    if damage is None:
        assert len(found) == len(sizes)


@HERE
@given(
    texts=TEXTS.filter(len),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    size=st.integers(20, 600),
    name=st.sampled_from(["a.jsonl.gz", "a.jsonl.zst"]),
)
def test_parts_of_compressed_json_lines_are_the_whole_wherever_members_begin(
    tmp_path: Path, texts: list[str], cuts: list[int], size: int, name: str
) -> None:
    shard = tmp_path / name
    data = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    shard.write_bytes(b"".join(pack(name, data[a:b]) for a, b in itertools.pairwise(edges)))
    assert in_parts(shard, size * 4) == list(read_documents(shard))


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc.zst"])
def test_an_archive_that_is_stored_in_a_page_is_not_taken_for_records(
    tmp_path: Path, name: str
) -> None:
    noise = random.Random(1).randbytes
    inner = b"".join(pack(name, record(f"inner:{n}", noise(900))) for n in range(400))
    shard = tmp_path / name
    pages = [record("a:", b"first"), record("b:", inner), record("c:", b"third")]
    shard.write_bytes(b"".join(store(name, page) for page in pages))
    assert unpack(name, shard.read_bytes()) == b"".join(pages)
    assert inner[:9_000] in shard.read_bytes()  # it is stored, not compressed again
    parts = divide(shard, 80_000)
    assert len(parts) > 10
    found = [document.identifier for document in in_parts(shard, 80_000)]
    assert found == ["a:", "b:", "c:"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.warc.wet", "a.txt.zst", "a.warc", "a.warc.gz"])
def test_formats_without_borders_are_one_part(tmp_path: Path, name: str) -> None:
    lines = b"x\n\n" * 1000
    data = pack(name, lines) if name.endswith((".gz", ".zst")) else lines
    (tmp_path / name).write_bytes(data)
    assert divide(tmp_path / name, 10) == [(0, len(data))]


def test_json_array_is_one_part(tmp_path: Path) -> None:
    shard = tmp_path / "array.json"
    shard.write_text("\ufeff\n" + json.dumps([{"text": f"text {n}"} for n in range(50)], indent=1))
    assert len(divide(shard, 100)) == 1
    assert len(list(read_documents(shard))) == 50
