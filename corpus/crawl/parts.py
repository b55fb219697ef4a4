"""Parts of a large shard, each from one border between documents to another.

JSON lines are divided at line ends, plain text at blank lines, Parquet at row groups; WARC, WET and
JSON lines that are compressed where one of their gzip members or Zstandard frames begins. Crawlers
write a member for each record. Read as a whole are compressed files of one member, which cannot be
read from the middle; compressed plain text; WARC that is not compressed, as what begins a record
may stand in a page; and JSON arrays.
"""

import itertools
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow.parquet as pq

from corpus.crawl.streams import find_member, open_streams

COMPRESSIONS = (".gz", ".zst")
_RECORDS = (".wet", ".warc")
_LINES = (".jsonl", ".json")
_PACKED = 4
"""Bytes that one byte of a compressed crawl unpacks to, about."""
_FIRST_MEMBER_BYTES = 64 << 20
"""A compressed file whose first member is longer is read as a whole."""
_PIECE_BYTES = 1 << 20
_SNIFFED_BYTES = 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Part(NamedTuple):
    """The documents of a file that begin at or after one byte and before another, about."""

    begin: int
    end: int


def divide(shard: Path, max_bytes: int) -> list[Part]:
    """Return the parts of a file, of equal size and at most so large; one if it has no borders.

    Of a compressed file a part is a quarter as large.
    """
    size = shard.stat().st_size
    if shard.suffix in COMPRESSIONS:
        max_bytes = -(-max_bytes // _PACKED)
    if size <= max_bytes or not _has_borders(shard):
        return [Part(0, size)]
    count = -(-size // max_bytes)
    edges = [size * number // count for number in range(count + 1)]
    return [Part(*edge) for edge in itertools.pairwise(edges)]


def _has_borders(shard: Path) -> bool:
    if shard.suffix in COMPRESSIONS:
        kind = shard.with_suffix("").suffix
        if kind not in (*_RECORDS, *_LINES):
            return False
        with shard.open("rb") as file:
            if kind in _LINES:
                first = next(open_streams(file, shard.suffix), None)
                if first is None or _is_array(first.peek(_SNIFFED_BYTES)):
                    return False
            size = min(_FIRST_MEMBER_BYTES, shard.stat().st_size)
            return find_member(file, shard.suffix, 1, size, member_prefix(kind)) < size
    if shard.suffix not in _LINES:
        return shard.suffix in (".parquet", ".txt")
    with shard.open("rb") as file:
        return not _is_array(file.read(_SNIFFED_BYTES))


def _is_array(start: bytes) -> bool:
    return start.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"[")


def member_prefix(kind: str) -> bytes:
    """Return what the data of a member begin with where a file of a kind is divided."""
    return b"WARC/" if kind in _RECORDS else b""


def find_border(file: BinaryIO, position: int, *, is_at_blank_line: bool) -> int:
    """Return where the first line after a byte begins, or the first that follows a blank line.

    Memory does not grow with the lines.
    """
    if position <= 0:
        return 0
    file.seek(position - 1)
    is_blank = not is_at_blank_line
    _skip_line(file)
    while not is_blank and (line := file.readline(_PIECE_BYTES)):
        is_blank = not line.strip()
        if not line.endswith(b"\n"):
            is_blank = not _skip_line(file) and is_blank
    return file.tell()


def _skip_line(file: BinaryIO) -> bool:
    """Skip the rest of a line; return whether there was more than space in it."""
    has_text = False
    while line := file.readline(_PIECE_BYTES):
        has_text = has_text or bool(line.strip())
        if line.endswith(b"\n"):
            break
    return has_text


def groups_of(metadata: pq.FileMetaData, part: Part, size: int) -> range:
    """Return the row groups of a Parquet file that begin in a part of its bytes."""
    starts = []
    for group in range(metadata.num_row_groups):
        column = metadata.row_group(group).column(0)
        starts.append(column.dictionary_page_offset or column.data_page_offset)
    # In a damaged file they may lie anywhere, and each group must still be in one part.
    starts = [min(max(0, start), size - 1) for start in starts]
    for group in range(1, len(starts)):
        starts[group] = max(starts[group], starts[group - 1])
    inside = [group for group, start in enumerate(starts) if part.begin <= start < part.end]
    return range(inside[0], inside[-1] + 1) if inside else range(0)
