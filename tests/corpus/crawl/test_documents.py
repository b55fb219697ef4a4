import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.crawl.documents import Documents, read_documents, shard_name
from corpus.errors import DataError, UserError


def wet_record(number: int, body: bytes = b"", kind: str = "conversion") -> bytes:
    body = body or f"page {number}\n".encode() + b"a line of text\n" * 50
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://example.org/{number}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return header.encode() + body + b"\r\n\r\n"


def read(path: Path) -> tuple[list[str], Documents]:
    documents = read_documents(path)
    return [document.identifier for document in documents], documents


def urls(numbers: range) -> list[str]:
    return [f"https://example.org/{number}" for number in numbers]


@pytest.mark.parametrize("one_member", [True, False])
def test_wet_records_are_read_whether_compressed_one_by_one_or_as_a_whole(
    tmp_path: Path, one_member: bool
) -> None:
    records = [wet_record(number) for number in range(5)]
    path = tmp_path / "a.warc.wet.gz"
    whole = gzip.compress(b"".join(records))
    path.write_bytes(whole if one_member else b"".join(map(gzip.compress, records)))
    identifiers, documents = read(path)
    assert identifiers == urls(range(5))
    assert documents.problem == ""


def test_offset_of_a_compressed_document_is_the_start_of_its_member(tmp_path: Path) -> None:
    members = [gzip.compress(wet_record(number)) for number in range(4)]
    path = tmp_path / "a.wet.gz"
    path.write_bytes(b"".join(members))
    offsets = [document.offset for document in read_documents(path)]
    assert offsets == [sum(map(len, members[:i])) for i in range(4)]


def test_offset_of_a_plain_document_is_the_start_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet"
    path.write_bytes(wet_record(0) + wet_record(1))
    offsets = [document.offset for document in read_documents(path)]
    assert offsets == [0, len(wet_record(0))]


@pytest.mark.parametrize("one_member", [True, False])
def test_truncated_gzip_keeps_what_was_read_and_says_so(tmp_path: Path, one_member: bool) -> None:
    noise = random.Random(1)
    records = [wet_record(number, noise.randbytes(500).hex().encode()) for number in range(20)]
    whole = gzip.compress(b"".join(records))
    data = whole if one_member else b"".join(map(gzip.compress, records))
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(data[: len(data) // 2 + 200])
    identifiers, documents = read(path)
    assert identifiers == urls(range(len(identifiers)))
    assert 8 <= len(identifiers) <= 10
    assert "cut off" in documents.problem or "ends inside the member" in documents.problem


def test_damaged_member_costs_its_own_record_only(tmp_path: Path) -> None:
    members = [gzip.compress(wet_record(number)) for number in range(6)]
    members[2] = members[2][:40] + b"\xff" * 10 + members[2][50:]
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(members))
    identifiers, documents = read(path)
    assert identifiers == urls(range(2)) + urls(range(3, 6))
    assert f"begins at byte {len(members[0] + members[1]):,}" in documents.problem


def test_truncated_plain_warc_is_a_problem_too(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet"
    path.write_bytes((wet_record(0) + wet_record(1))[:-100])
    identifiers, documents = read(path)
    assert identifiers == urls(range(1))
    assert documents.counts["malformed"] == 1
    assert "cut off" in documents.problem


def test_record_with_a_wrong_length_is_counted_and_the_next_one_is_read(tmp_path: Path) -> None:
    wrong = wet_record(1).replace(b"Content-Length: 7", b"Content-Length: 6")
    assert wrong != wet_record(1)
    path = tmp_path / "a.warc.wet"
    path.write_bytes(wet_record(0) + wrong + wet_record(2) + b"rubbish\n" + wet_record(3))
    identifiers, documents = read(path)
    assert identifiers == [*urls(range(1)), *urls(range(2, 4))]
    assert documents.counts["malformed"] == 2


def test_record_without_a_length_is_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet"
    path.write_bytes(b"WARC/1.0\r\nWARC-Type: conversion\r\n\r\nx\r\n\r\n" + wet_record(7))
    identifiers, documents = read(path)
    assert identifiers == urls(range(7, 8))
    assert documents.counts["malformed"] == 1


def test_invalid_utf8_is_counted_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet"
    path.write_bytes(wet_record(0, b"caf\xe9 is Latin-1") + wet_record(1))
    documents = read_documents(path)
    assert [document.text[:4] for document in documents] == ["caf\ufffd", "page"]
    assert documents.counts["invalid_utf8"] == 1


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_record_and_line_above_the_most_bytes_are_counted_and_passed_over(
    tmp_path: Path, suffix: str
) -> None:
    data = wet_record(0) + wet_record(1, b"long " * 40_000) + wet_record(2)
    path = tmp_path / f"a.warc.wet{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    documents = read_documents(path, 10_000)
    assert [document.identifier for document in documents] == [*urls(range(1)), *urls(range(2, 3))]
    assert documents.counts["oversized"] == 1
    lines = "\n".join(json.dumps({"text": text}) for text in ("one", "x" * 50_000, "two"))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    documents = read_documents(tmp_path / "a.jsonl", 10_000)
    assert [document.text for document in documents] == ["one", "two"]
    assert documents.counts == {"documents": 2, "oversized": 1}


def test_length_with_millions_of_digits_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet"
    header = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: " + b"9" * 60_000
    path.write_bytes(header + b"\r\n\r\nx\r\n\r\n" + wet_record(7))
    identifiers, documents = read(path)
    assert identifiers == urls(range(7, 8))
    assert documents.counts["malformed"] == 1


def test_text_without_blank_lines_is_cut_into_documents(tmp_path: Path) -> None:
    lines = [f"line {number} of a text that nobody divided\n" for number in range(1000)]
    path = tmp_path / "a.txt"
    path.write_text("".join(lines), encoding="utf-8")
    found = list(read_documents(path, 2000))
    assert "".join(document.text for document in found) == "".join(lines)
    assert max(len(document.text) for document in found) <= 2000
    assert [document.offset for document in found][1] == len(found[0].text)


def test_endless_name_and_deep_nesting_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"text": "x", "url": "u" * 100_000}) + "\n" + "[" * 100_000 + "\n",
        encoding="utf-8",
    )
    (document,) = documents = list(read_documents(path))
    assert len(document.identifier) == 2048
    assert len(documents) == 1


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_text_has_a_document_per_block(tmp_path: Path, suffix: str) -> None:
    data = "one\u2028still one\nfirst\n\n\n \nsecond\n".encode()
    packed = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[suffix]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed)
    assert [document.text for document in read_documents(path)] == [
        "one\u2028still one\nfirst\n",
        "second\n",
    ]


def test_json_lines_skip_what_is_no_object_and_survive_lone_surrogates(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": "good", "url": "https://a.example"}),
        "{broken",
        "[1]",
        json.dumps({"title": "no text"}),
        '{"content": "half \\ud83d pair"}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    documents = read_documents(path)
    found = list(documents)
    assert [document.text for document in found] == ["good", "half \ufffd pair"]
    assert found[0].identifier == "https://a.example"
    assert found[1].identifier.startswith("a.jsonl:")
    assert documents.counts["malformed"] == 2
    assert documents.counts["without_text"] == 1


def test_truncated_json_lines_lose_the_last_line_only(tmp_path: Path) -> None:
    noise = random.Random(1)
    lines = [json.dumps({"text": noise.randbytes(300).hex()}) for _ in range(50)]
    data = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    documents = read_documents(path)
    found = [document.text for document in documents]
    assert found == [json.loads(line)["text"] for line in lines[: len(found)]]
    assert 20 <= len(found) <= 25
    assert documents.problem


def test_parquet_gives_text_and_url(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x", None, "y"], "url": ["u0", "u1", "u2"]}), path)
    documents = read_documents(path)
    assert [(d.identifier, d.text, d.offset) for d in documents] == [("u0", "x", 0), ("u2", "y", 2)]
    assert documents.counts["without_text"] == 1


def test_parquet_without_a_text_column_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["x"]}), path)
    with pytest.raises(DataError, match="its columns are body"):
        list(read_documents(path))


def test_truncated_parquet_is_a_problem_of_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    identifiers, documents = read(path)
    assert identifiers == []
    assert "not a whole Parquet file" in documents.problem


def test_file_that_is_not_gzip_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"plain text, really")
    identifiers, documents = read(path)
    assert identifiers == []
    assert "is not a .gz file" in documents.problem


def test_unknown_suffix_and_missing_file_are_the_users_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"should end in one of \.wet"):
        read_documents(tmp_path / "a.pdf")
    with pytest.raises(UserError, match="does not exist"):
        read_documents(tmp_path / "a.txt")


def test_shard_name_is_free_of_format_and_compression() -> None:
    names = ["x/shard-000.warc.wet.gz", "part.1.jsonl.zst", "a.parquet", "b.warc"]
    assert [shard_name(Path(name)) for name in names] == ["shard-000", "part.1", "a", "b"]


CRAWL = Path(os.environ["TONGUES_DATA"]) / "crawl" if "TONGUES_DATA" in os.environ else None


@pytest.mark.skipif(CRAWL is None, reason="TONGUES_DATA is not set")
def test_real_wet_file_is_read_whole_plain_and_compressed() -> None:
    assert CRAWL is not None
    (plain,) = read_documents(CRAWL / "whirlwind.warc.wet")
    (compressed,) = read_documents(CRAWL / "whirlwind.warc.wet.gz")
    assert plain.identifier == "https://an.wikipedia.org/wiki/Escopete"
    assert plain.text == compressed.text
    assert len(plain.text.encode()) == 4456
