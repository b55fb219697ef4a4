"""Records of WARC files (ISO 28500), WET among them, also of files that are damaged."""

import codecs
from collections.abc import Iterator
from typing import NamedTuple

from corpus.crawl.findings import Findings
from corpus.crawl.streams import ByteStream

_MAX_LINE_BYTES = 1 << 16
_MAX_HEADER_LINES = 200


class Record(NamedTuple):
    """A record: its headers by lower-case name, its content, and where it begins."""

    headers: dict[str, str]
    body: bytes
    offset: int

    @property
    def kind(self) -> str:
        """Its type, as `response`."""
        return self.headers.get("warc-type", "").lower()

    @property
    def media_type(self) -> str:
        """What its content is, as `text/plain`, without parameters."""
        return media_type(self.headers.get("content-type", ""))

    @property
    def identifier(self) -> str | None:
        """Its URL, or else its record id."""
        # Wget writes the URL between angle brackets.
        uri = self.headers.get("warc-target-uri", "").strip("<>")
        return uri or self.headers.get("warc-record-id")


def media_type(header: str) -> str:
    """Return the media type of a Content-Type header, in lower case."""
    return header.partition(";")[0].strip().lower()


def read_records(stream: ByteStream, findings: Findings, max_bytes: int) -> Iterator[Record]:
    """Yield the sound records; after a malformed one, resume at the next version line.

    Args:
        stream: The bytes.
        findings: Gets what was malformed, oversized or cut off.
        max_bytes: Records with more are skipped.
    """
    line = stream.read_line(_MAX_LINE_BYTES)
    while line:
        line = line.removeprefix(codecs.BOM_UTF8)
        if not line.startswith(b"WARC/"):
            if line.strip():
                findings.skip("malformed", stream.line_offset, "a WARC record should begin here")
                line = _next_record(stream)
            else:
                line = stream.read_line(_MAX_LINE_BYTES)
            continue
        offset = stream.line_offset
        headers = read_headers(stream)
        length = _content_length(headers)
        if length is None:
            findings.skip("malformed", offset, "a WARC record without a usable Content-Length")
            line = _next_record(stream)
            continue
        if length > max_bytes:
            findings.skip("oversized", offset, f"a record of {length:,} bytes")
            skipped = stream.skip(length)
            body = b""
        else:
            body = stream.read(length)
            skipped = len(body)
        if skipped < length:
            findings.skip("malformed", offset, f"{skipped:,} of {length:,} bytes of a record")
            findings.note(f": the record at byte {offset:,} is cut off")
            return
        line = stream.read_line(_MAX_LINE_BYTES)
        if line.strip() and not line.startswith(b"WARC/"):
            findings.skip("malformed", offset, "a Content-Length that is not the record's length")
            line = _next_record(stream)
        elif length <= max_bytes:
            yield Record(headers, body, offset)


def read_headers(stream: ByteStream) -> dict[str, str]:
    """Read header lines up to the empty one."""
    lines = iter(lambda: stream.read_line(_MAX_LINE_BYTES), b"")
    return parse_headers(line for _, line in zip(range(_MAX_HEADER_LINES), lines, strict=False))


def parse_headers(lines: Iterator[bytes]) -> dict[str, str]:
    """Return headers by lower-case name, from their lines up to an empty one."""
    headers: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            break
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _content_length(headers: dict[str, str]) -> int | None:
    value = headers.get("content-length", "")
    # Twenty digits are above any length there is; int() of millions of digits takes minutes.
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


def _next_record(stream: ByteStream) -> bytes:
    """Skip to the next line that begins a record; empty at the end."""
    while line := stream.read_line(_MAX_LINE_BYTES):
        if line.startswith(b"WARC/1."):
            return line
    return b""
