"""Byte streams of plain, gzip and Zstandard files that survive damage.

A gzip or Zstandard file is a chain of members. Where a member is damaged, its sound beginning is
delivered, the damage is noted with its offset, and reading goes on at the next member. The standard
library's reader raises instead and loses whatever it had buffered.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import zstandard

_READ_BYTES = 1 << 16
_GZIP_WINDOW = 31
_MAGIC = {".gz": b"\x1f\x8b\x08", ".zst": b"\x28\xb5\x2f\xfd"}


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


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
    if suffix not in _MAGIC:
        yield ByteStream(_plain_chunks(file), is_compressed=False)
        return
    members = _Members(file, suffix)
    while members.find_next():
        stream = ByteStream(members.chunks(), is_compressed=True)
        members.stream = stream
        yield stream
        while stream.read(_READ_BYTES):
            pass


def _plain_chunks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while chunk := file.read(_READ_BYTES):
        yield offset, chunk
        offset += len(chunk)


class _Members:
    """Walks the members of a compressed file."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file = file
        self._magic = _MAGIC[suffix]
        self._suffix = suffix
        self._buffer = b""
        self._offset = 0  # of the buffer's first byte in the file
        self.stream: ByteStream | None = None

    def _read_more(self) -> bool:
        chunk = self._file.read(_READ_BYTES)
        self._buffer += chunk
        return bool(chunk)

    def _drop(self, count: int) -> None:
        self._buffer = self._buffer[count:]
        self._offset += count

    def find_next(self) -> bool:
        """Move to the next member; False if there is none."""
        while (found := self._buffer.find(self._magic)) < 0:
            self._drop(max(0, len(self._buffer) - len(self._magic) + 1))
            if not self._read_more():
                return False
        self._drop(found)
        return True

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Decompress members until the file ends or one is damaged."""
        while True:
            start = self._offset
            decompressor = self._new_decompressor()
            while not decompressor.eof:
                if not self._buffer and not self._read_more():
                    self._note(f"the file ends inside the member that begins at byte {start:,}")
                    return
                data, length = self._buffer, len(self._buffer)
                try:
                    plain = decompressor.decompress(data)
                except (zlib.error, zstandard.ZstdError) as error:
                    self._note(f"damaged data in the member that begins at byte {start:,}: {error}")
                    # The next member may begin in this very buffer, so step past the magic only.
                    if self._offset == start:
                        self._drop(1)
                    return
                self._drop(length - len(decompressor.unused_data))
                yield start, plain
            while len(self._buffer) < len(self._magic) and self._read_more():
                pass
            if not self._buffer.startswith(self._magic):
                self._note_trailing()
                return

    def _new_decompressor(self) -> _Decompressor:
        if self._suffix == ".gz":
            return zlib.decompressobj(_GZIP_WINDOW)
        return zstandard.ZstdDecompressor().decompressobj()

    def _note_trailing(self) -> None:
        """Zero padding after the last member is usual; anything else is damage."""
        while not self._buffer.strip(b"\0"):
            self._drop(len(self._buffer))
            if not self._read_more():
                return
        if self._magic.startswith(self._buffer):
            self._note(f"the file ends inside the member that begins at byte {self._offset:,}")
        elif not self._buffer.lstrip(b"\0").startswith(self._magic):
            self._note(f"bytes that are no compressed data at byte {self._offset:,}")

    def _note(self, damage: str) -> None:
        if self.stream is not None:
            self.stream.damage = damage
