"""Byte streams of plain, gzip and Zstandard files that survive damage.

A gzip or Zstandard file is a chain of members. Where a member is damaged, its sound beginning is
delivered, the damage is noted with its offset, and reading resumes at the next member. The standard
library's reader raises instead and loses whatever it had buffered. Memory is bounded whatever the
file holds: 16 MiB of decompressed data, and the window of a Zstandard frame, at most 128 MiB.
"""

import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import zstandard

from corpus.files import ZSTANDARD_PIECE_BYTES

_READ_BYTES = 1 << 16
_GZIP_WINDOW = 31
_HEADER_BYTES = 10
_KEPT_BYTES = 1 << 18
"""How far back the next member is searched for after damage."""

_PROOF_BYTES = 1 << 18
"""Members that follow each other for so long are the file's own. What is stored in one without
being compressed, an archive among the pages of a crawl, say, is interrupted after at most 64 KiB by
the header of a deflate block, and after 128 KiB by that of a Zstandard block."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class _Format:
    """How the members of a compressed file are found and read."""

    starts: tuple[bytes, ...]
    """The magic numbers that a member begins with."""

    start: re.Pattern[bytes]
    """What a member looks like where one is searched for after damage."""

    next_start: re.Pattern[bytes]
    """What a member begins with right after another."""

    piece_bytes: int
    """Compressed bytes to decompress at a time: they unpack to at most 16 MiB."""

    new_decompressor: Callable[[], _Decompressor]


_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGICS = tuple(bytes((first, 0x2A, 0x4D, 0x18)) for first in range(0x50, 0x60))
"""Frames without data: pzstd writes them before each frame, seekable Zstandard as its table."""

_FORMATS = {
    ".gz": _Format(
        starts=(_GZIP_MAGIC,),
        # Where it is searched for, flags and level must make sense too.
        start=re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04]", re.DOTALL),
        next_start=re.compile(rb"\x1f\x8b\x08"),
        piece_bytes=1 << 14,  # deflate packs at most 1,032 bytes into one
        new_decompressor=lambda: zlib.decompressobj(_GZIP_WINDOW),
    ),
    ".zst": _Format(
        starts=(_ZSTANDARD_MAGIC, *_SKIPPABLE_MAGICS),
        start=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        next_start=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        piece_bytes=ZSTANDARD_PIECE_BYTES,
        new_decompressor=lambda: zstandard.ZstdDecompressor().decompressobj(),
    ),
}


class ByteStream:
    """Bytes without a hole: a whole sound file, or what lies between two damaged places.

    Attributes:
        damage: Why the stream ended before its file did, once it has been used up.
        line_offset: The `offset` at which the line read last began.
    """

    def __init__(self, chunks: Iterator[tuple[int, bytes]], *, is_compressed: bool) -> None:
        self._chunks = chunks
        self._is_compressed = is_compressed
        self._chunk = b""
        self._chunk_offset = 0
        self._position = 0
        self.damage = ""
        self.line_offset = 0

    def _has_more(self) -> bool:
        while self._position == len(self._chunk):
            following = next(self._chunks, None)
            if following is None:
                return False
            self._chunk_offset, self._chunk = following
            self._position = 0
        return True

    def peek(self, count: int) -> bytes:
        """Return the next bytes without consuming them: up to `count`, fewer only at the end."""
        self._has_more()
        found = self._chunk[self._position : self._position + count]
        ahead = []
        while len(found) < count and (following := next(self._chunks, None)) is not None:
            ahead.append(following)
            found += following[1][: count - len(found)]
        self._chunks = itertools.chain(ahead, self._chunks)
        return found

    @property
    def offset(self) -> int:
        """Where in the file the next byte is; the start of its member in a compressed file."""
        self._has_more()
        return self._chunk_offset + (0 if self._is_compressed else self._position)

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer only where the stream ends."""
        parts = []
        while count > 0 and self._has_more():
            part = self._chunk[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Pass over `count` bytes without holding them; return how many there were."""
        skipped = 0
        while skipped < count and self._has_more():
            step = min(count - skipped, len(self._chunk) - self._position)
            self._position += step
            skipped += step
        return skipped

    def read_line(self, limit: int) -> bytes:
        r"""Return bytes up to and with the next `\n`, at most `limit`; empty at the end."""
        self.line_offset = self.offset
        parts = []
        while limit > 0 and self._has_more():
            newline = self._chunk.find(b"\n", self._position, self._position + limit)
            end = newline + 1 if newline >= 0 else self._position + limit
            part = self._chunk[self._position : end]
            self._position += len(part)
            limit -= len(part)
            parts.append(part)
            if newline >= 0:
                break
        return b"".join(parts)


def open_streams(file: BinaryIO, suffix: str) -> Iterator[ByteStream]:
    """Yield the sound stretches of a file in order; what is left of one is skipped.

    Args:
        file: The raw file, at its beginning.
        suffix: `.gz`, `.zst`, or anything else for plain bytes.
    """
    if suffix not in _FORMATS:
        yield ByteStream(_plain_chunks(file), is_compressed=False)
        return
    members = _Members(file, suffix)
    while members.find_next():
        stream = ByteStream(members.chunks(), is_compressed=True)
        members.stream = stream
        yield stream
        while stream.read(_READ_BYTES):
            pass


def open_part(file: BinaryIO, begin: int, end: int) -> ByteStream:
    """Return the bytes of a file that is not compressed from `begin` to before `end`."""
    file.seek(begin)
    return ByteStream(_plain_chunks(file, begin, end), is_compressed=False)


def open_members(
    file: BinaryIO, suffix: str, begin: int, end: int, *, is_lines: bool
) -> Iterator[ByteStream]:
    """Yield the sound stretches of the members that begin at `begin` or later, and before `end`.

    Args:
        file: The raw file.
        suffix: `.gz` or `.zst`.
        begin: Where a member begins; see `find_member`.
        end: Where another begins, or the file ends.
        is_lines: Whether lines may run on into the next member: then the one that runs on into
            these is left out, and the one that runs on from these is read to its end.
    """
    members = _Members(file, suffix, begin, end)
    skips_line = is_lines and begin > 0
    while members.find_next():
        chunks = members.chunks(beyond_end=is_lines)
        if is_lines:
            chunks = _whole_lines(chunks, end, skips_line=skips_line)
        stream = ByteStream(chunks, is_compressed=True)
        members.stream = stream
        yield stream
        while stream.read(_READ_BYTES):
            pass
        skips_line = False


def _whole_lines(
    chunks: Iterator[tuple[int, bytes]], end: int, *, skips_line: bool
) -> Iterator[tuple[int, bytes]]:
    """Yield from after the first line end, or from the start, to the first one at or after `end`.

    The line after a border belongs to what is before it even where it begins at the border, so that
    nobody has to look back.
    """
    for start, data in chunks:
        newline = data.find(b"\n") if skips_line or start >= end else -1
        if start >= end:
            if not skips_line:
                yield start, data[: newline + 1] if newline >= 0 else data
            if newline >= 0:
                return
        elif not skips_line:
            yield start, data
        elif newline >= 0:
            skips_line = False
            yield start, data[newline + 1 :]


def find_member(file: BinaryIO, suffix: str, position: int, size: int, prefix: bytes = b"") -> int:
    """Return where the first member of a compressed file at or after a byte begins, or `size`.

    That it is one is proved by those that follow it, for 256 KiB or to the end of the file.

    Args:
        file: The raw file.
        suffix: `.gz` or `.zst`.
        position: Where to begin; members do not begin at or after `size`.
        size: How far to look.
        prefix: What its data begin with; others are passed over.
    """
    if position <= 0:
        return 0
    while position < size:
        members = _Members(file, suffix, position, size)
        if not members.find_next():
            break
        position = members.place
        if _is_member(file, suffix, position, prefix):
            return position
        position += 1
    return size


def _is_member(file: BinaryIO, suffix: str, place: int, prefix: bytes) -> bool:
    """Return whether sound members follow each other from a byte on, the first with a prefix."""
    members = _Members(file, suffix, place)
    if not members.find_next() or members.place != place:
        return False
    chunks = members.chunks()
    members.stream = ByteStream(chunks, is_compressed=True)
    head = b""
    for start, data in chunks:
        if len(head) < len(prefix):
            head += data[: len(prefix)]
            if not head.startswith(prefix[: len(head)]):
                return False
        if start >= place + _PROOF_BYTES:
            return True
    return not members.stream.damage and head.startswith(prefix)


def _plain_chunks(
    file: BinaryIO, offset: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes]]:
    while chunk := file.read(_READ_BYTES if end is None else min(_READ_BYTES, end - offset)):
        yield offset, chunk
        offset += len(chunk)


class _Members:
    """Walks the members of a compressed file."""

    def __init__(self, file: BinaryIO, suffix: str, begin: int = 0, end: int | None = None) -> None:
        self._file = file
        self._format = _FORMATS[suffix]
        self._buffer = b""
        self._offset = begin or 0  # of the buffer's first byte in the file
        self._position = 0  # in the buffer, of the next byte
        self._end = end  # no member begins there or later
        self.stream: ByteStream | None = None
        if begin is not None:
            file.seek(begin)

    @property
    def place(self) -> int:
        """Where in the file the next byte is."""
        return self._offset + self._position

    def _read_more(self) -> bool:
        """Read more; discard bytes too far back to hold the next member."""
        forgotten = max(0, self._position - _KEPT_BYTES)
        chunk = self._file.read(_READ_BYTES)
        self._buffer = self._buffer[forgotten:] + chunk
        self._offset += forgotten
        self._position -= forgotten
        return bool(chunk)

    def find_next(self) -> bool:
        """Move to what looks like the next member; False if there is none."""
        while (found := self._format.start.search(self._buffer, self._position)) is None:
            self._position = max(self._position, len(self._buffer) - _HEADER_BYTES + 1)
            if self._is_past_end or not self._read_more():
                return False
        self._position = found.start()
        return not self._is_past_end

    @property
    def _is_past_end(self) -> bool:
        return self._end is not None and self.place >= self._end

    def chunks(self, *, beyond_end: bool = False) -> Iterator[tuple[int, bytes]]:
        """Decompress members until they end or one is damaged.

        With `beyond_end`, to the end of the file.
        """
        while True:
            if self._is_past_end and not beyond_end:
                return
            start = self.place
            decompressor = self._format.new_decompressor()
            while not decompressor.eof:
                if self._position == len(self._buffer) and not self._read_more():
                    self._note(f"the file ends inside the member that begins at byte {start:,}")
                    return
                # Little at a time, so that no input can become more than 16 MiB at once.
                data = self._buffer[self._position : self._position + self._format.piece_bytes]
                try:
                    plain = decompressor.decompress(data)
                except (zlib.error, zstandard.ZstdError) as error:
                    self._note(f"damaged data in the member that begins at byte {start:,}: {error}")
                    # The next member may have begun already: what was read last was no data then.
                    self._position = max(0, start + 1 - self._offset)
                    return
                self._position += len(data) - len(decompressor.unused_data)
                yield start, plain
            while len(self._buffer) - self._position < _HEADER_BYTES and self._read_more():
                pass
            if not self._format.next_start.match(self._buffer, self._position):
                self._note_trailing()
                return

    def _note_trailing(self) -> None:
        """Zero padding after the last member is usual; anything else is damage."""
        while not (rest := self._buffer[self._position :].strip(b"\0")):
            self._position = len(self._buffer)
            if not self._read_more():
                return
        if any(start.startswith(rest) for start in self._format.starts):
            where = self._offset + self._position
            self._note(f"the file ends inside the member that begins at byte {where:,}")
        elif not self._format.next_start.match(rest):
            where = self._offset + self._position
            self._note(f"bytes that are no compressed data at byte {where:,}")

    def _note(self, damage: str) -> None:
        if self.stream is not None:
            self.stream.damage = damage
