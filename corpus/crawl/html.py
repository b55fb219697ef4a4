"""The text of web pages as crawlers store them: an HTTP response, its encodings, its HTML.

HTML is read by Resiliparse (Bevendorff et al. 2018, https://resiliparse.chatnoir.eu), an optional
package: its parser is the one of browsers, and its rules tell main content from navigation.
"""

import codecs
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard

from corpus.crawl.warc import Record, media_type, parse_headers
from corpus.errors import UserError

_HTML = ("text/html", "application/xhtml+xml")
_PLAIN = "text/plain"
_LOGS = "metadata:"
"""How Wget names its own logs, which it stores as resources."""
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]{0,200}\r?\n")
_GZIP_OR_ZLIB_WINDOW = 47
_RAW_DEFLATE_WINDOW = -15
_MAX_INVALID_SHARE = 0.005
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Page(NamedTuple):
    """The text of a record, or why it has none."""

    text: str
    reason: str = ""


def read_page(record: Record, max_bytes: int) -> Page:
    """Return the main text of a response or resource record.

    Args:
        record: Its content is an HTTP response, or for resources the page itself.
        max_bytes: Compressed pages that unpack to more are cut there.

    Returns:
        The text; or as the reason `other_status` (a status that is not 2xx), `other_media`,
        `unreadable_pages` (no HTTP, or an encoding nobody knows), `without_text`.

    Raises:
        UserError: If the page is HTML and Resiliparse is not installed.
    """
    headers, payload = record.headers, record.body
    if media_type(headers.get("content-type", "")) == "application/http":
        status = _STATUS.match(payload)
        end = _HEADER_END.search(payload)
        if status is None or end is None:
            return Page("", "unreadable_pages")
        if not status.group(1).startswith(b"2"):
            return Page("", "other_status")
        headers = parse_headers(iter(payload[: end.start()].split(b"\n")[1:]))
        payload = payload[end.end() :]
        if "chunked" in headers.get("transfer-encoding", "").lower():
            payload = _join_chunks(payload)
    kind = media_type(headers.get("content-type", ""))
    if (record.identifier or "").startswith(_LOGS):
        return Page("", "other_media")
    if kind not in (*_HTML, _PLAIN):
        return Page("", "other_media")
    unpacked = _unpack(payload, headers.get("content-encoding", ""), max_bytes)
    if unpacked is None:
        return Page("", "unreadable_pages")
    declared = _CHARSET.search(headers.get("content-type", ""))
    text = decode_page(unpacked, declared.group(1) if declared else None)
    if kind in _HTML:
        text = extract_text(text)
    return Page(text, "" if text.strip() else "without_text")


def extract_text(html: str) -> str:
    """Return the main content of a page as text, a line per paragraph.

    Raises:
        UserError: If Resiliparse is not installed.
    """
    _, extract = _resiliparse()
    return extract(html)


def decode_page(data: bytes, declared: str | None) -> str:
    """Decode a page: byte order mark, valid UTF-8, HTTP header, `meta`, guess, in this order.

    UTF-8 comes before what the server says, as text in another encoding is hardly ever valid
    UTF-8 and servers are often wrong.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if not data.isascii():
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    detect, _ = _resiliparse()
    first = data.decode(detect(data, declared), "replace")
    if declared is None or first.count("\ufffd") <= _MAX_INVALID_SHARE * len(first):
        return first
    second = data.decode(detect(data, None), "replace")
    return min(first, second, key=lambda text: text.count("\ufffd"))


def _resiliparse() -> tuple[Callable[[bytes, str | None], str], Callable[[str], str]]:
    """Return what tells the encoding of a page, and what extracts its text."""
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
    except ImportError as error:
        raise UserError(
            "reading HTML in WARC files needs the package `resiliparse`: pip install"
            " 'tongues[mining]', or take the WET files of the same crawl"
        ) from error

    def detect(data: bytes, declared: str | None) -> str:
        named = map_encoding_to_html5(declared, fallback_utf8=False) if declared else None
        found: str = named or detect_encoding(data, from_html_meta=True) or "utf-8"
        return found

    def extract(html: str) -> str:
        text: str = extract_plain_text(
            html, preserve_formatting=True, main_content=True, list_bullets=False, alt_texts=False
        )
        return "\n".join(line.strip() for line in text.split("\n"))

    return detect, extract


def _join_chunks(payload: bytes) -> bytes:
    """Undo chunked transfer; some crawlers store pages joined under the old header."""
    parts: list[bytes] = []
    position = 0
    while (size := _CHUNK_SIZE.match(payload, position)) is not None:
        length = int(size.group(1), 16)
        if length == 0:
            return b"".join(parts)
        parts.append(payload[size.end() : size.end() + length])
        position = size.end() + length
        while payload[position : position + 1] in (b"\r", b"\n"):
            position += 1
    return b"".join(parts) if parts else payload


def _unpack(payload: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """Undo the content encoding as far as the payload is sound; None if nobody knows it."""
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        if name in ("", "identity", "none", "utf-8"):
            continue
        if payload.lstrip().startswith(b"<"):  # stored unpacked under the old header
            continue
        unpacked = _unpack_one(payload, name, max_bytes)
        if unpacked is None:
            return None
        payload = unpacked
    return payload


def _unpack_one(payload: bytes, name: str, max_bytes: int) -> bytes | None:
    if name in ("gzip", "x-gzip", "deflate"):
        # By the standard `deflate` is zlib's format; some servers send the bare one.
        bare = (_RAW_DEFLATE_WINDOW,) if name == "deflate" else ()
        for window in (_GZIP_OR_ZLIB_WINDOW, *bare):
            try:
                return zlib.decompressobj(window).decompress(payload, max_bytes)
            except zlib.error:
                continue
        return None
    if name == "zstd":
        try:
            with zstandard.ZstdDecompressor().stream_reader(payload) as reader:
                return reader.read(max_bytes)
        except zstandard.ZstdError:
            return None
    return None
