"""Shards that others wrote in their own way, and shards that mean harm: read right, or named."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.crawl.documents import read_documents, shard_names
from corpus.crawl.html import read_page
from corpus.crawl.page_text import page_text
from corpus.crawl.warc import Record
from corpus.errors import TonguesError
from tests.system.damage import limited

ROOT = Path(__file__).parents[3]
LINES = b"".join(b'{"text": "line %d of it"}\n' % number for number in range(200))
TEXTS = [f"line {number} of it" for number in range(200)]
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
BOM = b"\xef\xbb\xbf"


def texts_of(path: Path, data: bytes) -> tuple[list[str], str]:
    path.write_bytes(data)
    documents = read_documents(path)
    return [document.text for document in documents], documents.problem


def test_zstandard_with_skippable_frames_and_a_seek_table_is_read_whole(tmp_path: Path) -> None:
    # pzstd puts a skippable frame before each frame and cuts anywhere; seekable ends with one.
    halves = [zstandard.compress(part) for part in (LINES[:1001], LINES[1001:])]
    pzstd = b"".join(SKIPPABLE + frame for frame in halves)
    assert texts_of(tmp_path / "a.jsonl.zst", pzstd) == (TEXTS, "")
    seekable = b"".join(halves) + b"\x5e" + SKIPPABLE[1:]
    assert texts_of(tmp_path / "b.jsonl.zst", seekable) == (TEXTS, "")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.warc.wet", "a.txt"])
def test_byte_order_mark_costs_no_record(tmp_path: Path, name: str) -> None:
    record = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 3\r\n\r\none\r\n\r\n"
    data = {
        "a.jsonl": b'{"text": "one"}\n',
        "a.json": b'[{"text": "one"}]',
        "a.warc.wet": record,
        "a.txt": b"one",
    }
    texts, problem = texts_of(tmp_path / name, BOM + data[name])
    assert [text.strip("\ufeff") for text in texts] == ["one"]
    assert problem == ""


def test_utf16_is_named_not_read_as_noise(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le"):
        texts, problem = texts_of(tmp_path / "a.txt", "some text\n".encode(encoding))
        assert texts == []
        assert "UTF-16" in problem


def test_json_array_is_read_item_by_item(tmp_path: Path) -> None:
    items = [{"text": 'a "b" ]} \\', "url": "u"}, {"text": "c", "more": [1, {"d": "]"}]}, 7]
    for indent in (None, 2):
        data = json.dumps(items, indent=indent).encode()
        assert texts_of(tmp_path / "a.json", data) == (['a "b" ]} \\', "c"], "")


@pytest.mark.parametrize(
    "data",
    [
        b'{"text": "one"}\n{"text": "tw',
        b'[{"text": "one"}, {"text": "tw',
        b'[{"text": "one"},',
        b'[{"text": "one"}]\n{"text": "two"}\n',
    ],
)
def test_json_that_ends_early_is_a_problem(tmp_path: Path, data: bytes) -> None:
    texts, problem = texts_of(tmp_path / "a.json", data)
    assert texts == ["one"]
    assert "ends early, at byte" in problem


@pytest.mark.parametrize("rest", [b"}]", b"}", b",}}}, 7]", b" " * 65_510 + b"}" * 99])
def test_json_array_with_a_brace_too_many_is_read_to_its_end(tmp_path: Path, rest: bytes) -> None:
    texts, _ = texts_of(tmp_path / "a.json", b'[{"text": "one"}' + rest)
    assert texts == ["one"]


def test_json_arrays_that_were_joined_are_all_read(tmp_path: Path) -> None:
    assert texts_of(tmp_path / "a.json", b'[{"text": "a"}]\n [{"text": "b"}]\n') == (["a", "b"], "")


def test_json_lines_need_no_newline_at_the_end(tmp_path: Path) -> None:
    assert texts_of(tmp_path / "a.jsonl", b'{"text": "one"}') == (["one"], "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b'{"text": ["a", "b"]}\n{"text": 3}\n'),
        ("a.jsonl", b"no json at all\n"),
        ("a.json", b'[{"title": "x"}]'),
        ("a.warc", b"no record\n"),
    ],
)
def test_shard_of_which_nothing_can_be_read_is_a_problem(
    tmp_path: Path, name: str, data: bytes
) -> None:
    texts, problem = texts_of(tmp_path / name, data)
    assert texts == []
    assert "no document could be read" in problem


def test_null_text_beside_a_full_content_takes_the_content(tmp_path: Path) -> None:
    rows = [{"text": None, "content": "one"}, {"text": "two", "content": None}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert texts_of(tmp_path / "a.jsonl", lines) == (["one", "two"], "")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = [document.text for document in read_documents(tmp_path / "a.parquet")]
    assert found == ["one", "two"]


def test_binary_and_damaged_text_in_parquet_is_read_and_counted(tmp_path: Path) -> None:
    raw = pa.array([b"caf\xc3\xa9", b"caf\xe9"], pa.binary())
    for kind in (pa.binary(), pa.large_binary(), pa.string()):
        column = (
            raw
            if kind == pa.binary()
            else raw.cast(kind, safe=False)
            if kind != pa.string()
            else pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
        )
        pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
        documents = read_documents(tmp_path / "a.parquet")
        assert [document.text for document in documents] == ["café", "caf\ufffd"]
        assert documents.counts["invalid_utf8"] == 1


def test_conversion_record_that_is_an_image_is_no_text(tmp_path: Path) -> None:
    body = b"\x89PNG\r\n"
    head = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: image/png\r\n"
    data = head + b"Content-Length: %d\r\n\r\n%b\r\n\r\n" % (len(body), body)
    (tmp_path / "a.warc").write_bytes(data)
    documents = read_documents(tmp_path / "a.warc")
    assert list(documents) == []
    assert documents.counts["other_media"] == 1
    assert documents.problem == ""


def response(payload: bytes, *headers: str) -> Record:
    head = "\r\n".join(["HTTP/1.1 200 OK", *headers]).encode()
    return Record({"content-type": "application/http"}, head + b"\r\n\r\n" + payload, 0)


PAGE = b"<!doctype html><p>One sentence of a page, long enough.</p>" * 3


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (PAGE, ("Transfer-Encoding: chunked",)),
        (PAGE, ("Content-Encoding: gzip",)),
        (PAGE, ("Content-Encoding: br",)),
        (gzip.compress(PAGE[:40]) + gzip.compress(PAGE[40:]), ("Content-Encoding: gzip",)),
        (
            zstandard.compress(PAGE[:40]) + zstandard.compress(PAGE[40:]),
            ("Content-Encoding: zstd",),
        ),
        (gzip.compress(PAGE), ()),
        (b"%x\r\n%b\r\n0\r\n\r\n" % (len(PAGE), PAGE), ()),
    ],
)
def test_bytes_of_a_page_are_believed_before_its_headers(
    payload: bytes, headers: tuple[str, ...]
) -> None:
    for media in ("Content-Type: text/html", "X-None: 1"):
        page = read_page(response(payload, media, *headers), 1 << 20)
        assert page.text.split() == ["One", "sentence", "of", "a", "page,", "long", "enough."] * 3


def test_cut_body_is_counted() -> None:
    from collections import Counter

    counts: Counter[str] = Counter()
    payload = gzip.compress(random.Random(1).randbytes(300).hex().encode())[:-60]
    read_page(response(payload, "Content-Type: text/plain"), 1 << 20, counts)
    assert counts["cut_pages"] == 1


def test_lists_stay_and_menus_go() -> None:
    html = (
        "<body><ul><li><a href=a>Home</a><li><a href=b>Shop</a><li><a href=c>Log in</a></ul>"
        "<div><ul><li>The first fact is here.</li><li>The second is too.</li></ul></div></body>"
    )
    found = page_text(html)
    assert found.text.split("\n") == ["The first fact is here.", "The second is too."]
    assert found.dropped_characters > 0


def test_ruby_and_line_breaks_of_japanese_and_chinese() -> None:
    html = "<p><ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>を読<br>む。</p>"
    html += "<p>这是\n  一句话。</p><p>a\nb</p>"
    assert page_text(html).text.split() == ["漢字を読む。", "这是一句话。", "a", "b"]


def test_shards_of_one_name_are_told_apart(tmp_path: Path) -> None:
    shards = [Path("a/x.jsonl"), Path("b/x.jsonl"), Path("a/y.warc.gz"), Path("a/y.warc.wet.gz")]
    assert list(shard_names(shards)) == ["a+x.jsonl", "b+x.jsonl", "y.warc", "y.warc.wet"]
    assert list(shard_names([Path("a/x.jsonl"), Path("a/x.jsonl")])) == ["x"]


BOMBS = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from corpus.bitext import BitextReader
from corpus.crawl.documents import read_documents
from corpus.errors import TonguesError
from corpus.evaluation_files import evaluation_sentences
from corpus.files import read_lines
from corpus.records import take_sentences
folder = Path(sys.argv[1])
for name in ("a.jsonl.zst", "a.txt.zst", "a.warc.zst", "a.parquet", "a.jsonl.gz", "a.warc"):
    documents = read_documents(folder / name, 1 << 20)
    for _ in documents:
        pass
    print(name, dict(documents.counts), documents.problem)
for table in (
    take_sentences(folder / "a.parquet", ["text"], np.array([2999, 0])),
    evaluation_sentences(folder / "a.parquet"),
):
    print(sum(1 for _ in table))
try:
    read_lines(folder / "a.txt.zst")
except TonguesError as error:
    print(error)
try:
    rows = sum(table.num_rows for table in BitextReader(folder / "eng_Latn-fra_Latn.parquet"))
    print(rows, "pairs")
except TonguesError as error:
    print(error)
"""


@pytest.mark.slow
def test_no_bomb_takes_more_memory_than_is_stated(tmp_path: Path) -> None:
    zeros = zstandard.ZstdCompressor(level=1).compressobj()
    with (tmp_path / "a.txt.zst").open("wb") as file:
        for _ in range(1 << 8):
            file.write(zeros.compress(b"x" * (1 << 20)))
        file.write(zeros.flush())
    for name in ("a.jsonl.zst", "a.warc.zst"):
        (tmp_path / name).write_bytes((tmp_path / "a.txt.zst").read_bytes())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"x" * (1 << 26)))
    long = pa.table({"text": ["x" * 360_000] * 3000})
    pq.write_table(long, tmp_path / "a.parquet", compression="zstd")
    pairs = pa.table({"source": ["x" * 360_000] * 3000, "target": ["y" * 360_000] * 3000})
    pq.write_table(pairs, tmp_path / "eng_Latn-fra_Latn.parquet", compression="zstd")
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + b"<div>" * 50_000 + b"text"
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n"
    record = head + b"Content-Length: %d\r\n\r\n%b\r\n\r\n" % (len(page), page)
    (tmp_path / "a.warc").write_bytes(record)
    result = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert "3000 pairs" in result.stdout


FUZZED = int(os.environ.get("TONGUES_FUZZ_FILES", "1000"))
"""Damaged files to try; 10,000 take half a minute."""
SECONDS = 60
"""For one file, before it counts as stuck."""


def _sound_shards(folder: Path) -> dict[str, bytes]:
    record = b"".join(
        b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 5\r\n\r\nab%03d\r\n\r\n" % number
        for number in range(40)
    )
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    page += gzip.compress(PAGE, mtime=0)
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n"
    pages = (head + b"Content-Length: %d\r\n\r\n%b\r\n\r\n" % (len(page), page)) * 5
    pq.write_table(
        pa.table({"text": TEXTS, "url": TEXTS[::-1]}), folder / "sound", write_page_checksum=True
    )
    packed = zstandard.ZstdCompressor(write_checksum=True)
    members = b"".join(gzip.compress(line, mtime=0) for line in LINES[:1000].splitlines(True))
    return {
        "a.jsonl": LINES, "a.jsonl.gz": members, "a.jsonl.zst": packed.compress(LINES),
        "a.json": b"[" + LINES[:-1].replace(b"\n", b",") + b"]", "a.txt": b"one\n\ntwo\n",
        "a.txt.gz": gzip.compress(LINES, mtime=0), "a.warc.wet": record,
        "a.warc.wet.gz": gzip.compress(record, mtime=0), "a.warc": pages,
        "a.warc.zst": packed.compress(pages), "a.parquet": (folder / "sound").read_bytes(),
    }  # fmt: skip


CHECKED = (".gz", ".zst", ".parquet")
"""Formats with checksums over their data, where a change cannot stay silent."""


@pytest.mark.slow
def test_damaged_shards_are_read_or_named_and_never_changed_in_silence(tmp_path: Path) -> None:
    generator = random.Random(13)
    sound = _sound_shards(tmp_path)
    whole = {name: texts_of(tmp_path / name, data)[0] for name, data in sound.items()}
    silent = []
    for number in range(FUZZED):
        name = generator.choice(list(sound))
        data = bytearray(sound[name])
        for _ in range(generator.randint(1, 4)):
            if not data:
                break
            place = generator.randrange(len(data))
            kind = generator.randrange(4)
            if kind == 0:
                data[place] ^= 1 << generator.randrange(8)
            elif kind == 1:
                del data[place : place + generator.randint(1, 50)]
            elif kind == 2:
                data[place:place] = generator.randbytes(generator.randint(1, 20))
            else:
                del data[max(place, 1) :]
        try:
            with limited(SECONDS):
                texts, problem = texts_of(tmp_path / name, bytes(data))
        except TonguesError:
            continue
        if name.endswith(CHECKED) and not problem and not set(texts) <= set(whole[name]):
            silent.append((number, name))
    assert silent == []
