"""Large shards in parts: every document once, with the name and offset that it has in the whole."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
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


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.warc.wet", "a.txt.zst", "a.warc"])
def test_formats_without_borders_are_one_part(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x\n\n" * 1000)
    assert divide(tmp_path / name, 100) == [(0, 3000)]


def test_json_array_is_one_part(tmp_path: Path) -> None:
    shard = tmp_path / "array.json"
    shard.write_text("\ufeff\n" + json.dumps([{"text": f"text {n}"} for n in range(50)], indent=1))
    assert len(divide(shard, 100)) == 1
    assert len(list(read_documents(shard))) == 50
