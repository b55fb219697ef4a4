"""The items of JSON lines and of JSON arrays, as bytes, in bounded memory."""

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from corpus.crawl.streams import ByteStream

CUT = "cut"
"""The file ends inside an item, or what follows the array is no JSON: the rest is lost."""
_READ_BYTES = 1 << 16
_BETWEEN = re.compile(rb"[ \t\r\n,]*")
_STRUCTURE = re.compile(rb'[\[\]{},"]')
_STRING_END = re.compile(rb'[\\"]')


class Item(NamedTuple):
    """A JSON value as it stands in its file, or why it was skipped."""

    offset: int
    data: bytes
    reason: str = ""
    """The count it goes under, `malformed`, `oversized` or `CUT`, if it was skipped."""
    problem: str = ""


def read_json_lines(stream: ByteStream, max_bytes: int) -> Iterator[Item]:
    """Yield the lines that hold something; longer ones are skipped."""
    while True:
        offset = stream.offset
        line = stream.read_line(max_bytes)
        if not line:
            return
        if len(line) == max_bytes and not line.endswith(b"\n"):
            yield Item(offset, b"", "oversized", f"a line above {max_bytes:,} bytes")
            while line and not line.endswith(b"\n"):
                line = stream.read_line(max_bytes)
            continue
        # A mark may stand before any line where files were joined.
        line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield Item(offset, line)


def read_array(stream: ByteStream, max_bytes: int) -> Iterator[Item]:
    """Yield the items of an array, one after the other; longer ones are skipped."""
    buffer = stream.read(_READ_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()[1:]
    position = 0
    while True:
        between = _BETWEEN.match(buffer, position)
        assert between is not None
        position = between.end()
        if position == len(buffer):
            buffer, position = stream.read(_READ_BYTES), 0
            if not buffer:
                yield Item(stream.offset, b"", CUT, "the array is not closed")
                return
            continue
        if buffer.startswith(b"]", position):
            buffer, position = buffer[position + 1 :].lstrip(), 0
            while not buffer and (buffer := stream.read(_READ_BYTES)):
                buffer = buffer.lstrip()
            if not buffer:
                return
            if not buffer.startswith(b"["):  # files may have been joined
                yield Item(stream.offset, b"", CUT, "what follows the array is no array")
                return
            position = 1
            continue
        offset = stream.offset
        scanner = _Scanner()
        parts: list[bytes] = []
        size = 0
        while (end := scanner.find_end(buffer, position)) < 0:
            size += len(buffer) - position
            if size <= max_bytes:
                parts.append(buffer[position:])
            else:
                parts.clear()
            buffer, position = stream.read(_READ_BYTES), 0
            if not buffer:
                yield Item(offset, b"", CUT, "the last item of the array is cut off")
                return
        if not size and end == position:  # a brace that closes nothing, where an item should begin
            end += 1
        if size + end - position > max_bytes:
            yield Item(offset, b"", "oversized", f"an item above {max_bytes:,} bytes")
        else:
            yield Item(offset, b"".join((*parts, buffer[position:end])))
        position = end


class _Scanner:
    """Finds where a JSON value ends, from pieces of it."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def find_end(self, data: bytes, position: int) -> int:
        """Return the position after the value's last byte; -1 if it is not in this piece.

        Args:
            data: The next piece.
            position: Where in it the value begins or continues.
        """
        while position < len(data):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
            elif self._in_string:
                match = _STRING_END.search(data, position)
                if match is None:
                    return -1
                position = match.end()
                self._is_escaped = match.group() == b"\\"
                self._in_string = self._is_escaped
            else:
                match = _STRUCTURE.search(data, position)
                if match is None:
                    return -1
                sign = match.group()
                position = match.end()
                if sign in b",]}" and self._depth == 0:
                    return match.start()  # the end of a number, word or string
                if sign == b'"':
                    self._in_string = True
                elif sign in b"[{":
                    self._depth += 1
                elif sign in b"]}":
                    self._depth -= 1
                    if self._depth == 0:
                        return position
        return -1
