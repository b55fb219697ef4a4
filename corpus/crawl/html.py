"""The text of web pages as crawlers store them: an HTTP response, its encodings, its HTML."""

import codecs
import io
import re
import zlib
from collections import Counter
from typing import NamedTuple

from corpus.crawl.page_process import PAGES
from corpus.crawl.page_text import require_resiliparse
from corpus.crawl.streams import open_streams
from corpus.crawl.warc import Record, media_type, parse_headers

_HTML = ("text/html", "application/xhtml+xml")
_PLAIN = "text/plain"
_LOGS = "metadata:"
"""How Wget names its own logs, which it stores as resources."""
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]{0,200}\r?\n")
_UNKNOWN = ("", "unknown/unknown", "application/unknown", "*/*", "application/octet-stream")
_NO_ENCODINGS = ("identity", "none", "utf-8")
_MAX_ENCODINGS = 3
_MAGICS = ((".gz", b"\x1f\x8b\x08"), (".zst", b"\x28\xb5\x2f\xfd"))
_SNIFFED_BYTES = 1445
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype\s+html|<\?xml[^>]*\?>\s*<(?:!doctype\s+)?html|<!--|<(?:html|head|script|"
    rb"iframe|h1|div|font|table|a|style|title|b|body|br|p)(?=[\s>]))",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]|^(?:%PDF|\x89PNG|\xff\xd8\xff|GIF8|PK)")
_BODY_START = re.compile(rb"\s*<|\xef\xbb\xbf|\x1f\x8b|\x28\xb5\x2f\xfd")
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


def read_page(record: Record, max_bytes: int, counts: Counter[str] | None = None) -> Page:
    """Return the text of a response, resource or conversion record.

    Headers are believed only where the bytes agree: crawlers store pages decoded under their old
    `Transfer-Encoding` and `Content-Encoding`, and servers leave out media types.

    Args:
        record: Its content is an HTTP response, or the page itself.
        max_bytes: Pages that unpack to more are cut there.
        counts: Gets `cut_pages`, whose body was not stored whole, and `boilerplate_characters`,
            of menus, footers and the like.

    Returns:
        The text; or as the reason `other_status` (a status that is not 2xx), `other_media`,
        `unreadable_pages` (no HTTP, or an unknown encoding), `pages_over_limits` (longer than
        `MAX_PAGE_CHARACTERS`, or more CPU time or memory than a page may take), `without_text`.

    Raises:
        UserError: If the page is HTML and Resiliparse is not installed.
    """
    counts = Counter() if counts is None else counts
    headers, payload = record.headers, record.body
    is_whole = True
    if media_type(headers.get("content-type", "")) == "application/http":
        status = _STATUS.match(payload)
        end = _HEADER_END.search(payload)
        if status is None or end is None:
            return Page("", "unreadable_pages")
        if not status.group(1).startswith(b"2"):
            return Page("", "other_status")
        headers = parse_headers(iter(payload[: end.start()].split(b"\n")[1:]))
        payload, is_whole = join_chunks(
            payload[end.end() :], "chunked" in headers.get("transfer-encoding", "").lower()
        )
    if (record.identifier or "").startswith(_LOGS):
        return Page("", "other_media")
    kind = media_type(headers.get("content-type", ""))
    if kind not in (*_HTML, _PLAIN, *_UNKNOWN):
        return Page("", "other_media")
    unpacked = unpack_body(payload, headers.get("content-encoding", ""), max_bytes)
    if unpacked is None:
        return Page("", "unreadable_pages")
    if kind in _UNKNOWN:
        identified = media_type(record.headers.get("warc-identified-payload-type", ""))
        kind = identified or sniff_media_type(unpacked.data)
        if kind not in (*_HTML, _PLAIN):
            return Page("", "other_media")
    declared = _CHARSET.search(headers.get("content-type", ""))
    text = decode_page(unpacked.data, declared.group(1) if declared else None)
    if kind in _HTML:
        found = PAGES.read(text)
        if found is None:
            return Page("", "pages_over_limits")
        text = found.text
        counts["boilerplate_characters"] += found.dropped_characters
    counts["cut_pages"] += not (is_whole and unpacked.is_whole)
    return Page(text, "" if text.strip() else "without_text")


def http_payload(record: Record) -> bytes:
    """Return a record's content without the headers of an HTTP response or request."""
    if media_type(record.headers.get("content-type", "")) != "application/http":
        return record.body
    end = _HEADER_END.search(record.body)
    return record.body[end.end() :] if end is not None else record.body


def sniff_media_type(data: bytes) -> str:
    """Return what a page without a media type is: HTML, plain text, or "" for anything else.

    By the rules of browsers (https://mimesniff.spec.whatwg.org, sections 5 and 7.1).
    """
    start = data[:_SNIFFED_BYTES]
    if _HTML_START.match(start):
        return _HTML[0]
    if start.startswith(tuple(mark for mark, _ in _BYTE_ORDER_MARKS)):
        return _PLAIN
    return "" if not start or _BINARY.search(start) else _PLAIN


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
    first = data.decode(_detect_encoding(data, declared), "replace")
    if declared is None or first.count("\ufffd") <= _MAX_INVALID_SHARE * len(first):
        return first
    second = data.decode(_detect_encoding(data, None), "replace")
    return min(first, second, key=lambda text: text.count("\ufffd"))


def _detect_encoding(data: bytes, declared: str | None) -> str:
    """Return the encoding that a page names, or else the likeliest one."""
    require_resiliparse()
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    named = map_encoding_to_html5(declared, fallback_utf8=False) if declared else None
    found: str = named or detect_encoding(data, from_html_meta=True) or "utf-8"
    return found


class Body(NamedTuple):
    """The bytes of a page, with transfer and content encodings undone."""

    data: bytes
    is_whole: bool
    """Whether it is complete and undamaged."""


def join_chunks(payload: bytes, is_declared: bool) -> Body:
    """Undo chunked transfer where the bytes are chunks, whatever the header says.

    Args:
        payload: The body of a response.
        is_declared: Whether its header says that it is chunked. If not, only a body of chunks to
            the very end is taken for one.
    """
    parts: list[bytes] = []
    position = 0
    is_whole = False
    while (size := _CHUNK_SIZE.match(payload, position)) is not None:
        length = int(size.group(1), 16)
        if length == 0:
            is_whole = True
            break
        part = payload[size.end() : size.end() + length]
        position = size.end() + length
        is_cut = position >= len(payload)
        if not parts and is_cut and not _BODY_START.match(part):
            return Body(payload, is_whole=True)  # a first line that only looks like a size
        if not is_cut and payload[position] not in b"\r\n":
            break
        parts.append(part)
        while payload[position : position + 1] in (b"\r", b"\n"):
            position += 1
    if is_whole and is_declared and not parts:
        return Body(b"", is_whole=True)
    if not parts or not (is_whole or is_declared):
        return Body(payload, is_whole=True)
    return Body(b"".join(parts), is_whole)


def unpack_body(payload: bytes, encoding: str, max_bytes: int) -> Body | None:
    """Undo the content encoding as far as the payload is sound.

    Args:
        payload: The body, in all its members or frames.
        encoding: The Content-Encoding header; it tells only what the bytes do not.
        max_bytes: At most so many bytes are unpacked.

    Returns:
        The bytes; None if the encoding is unknown.
    """
    body = Body(payload, is_whole=True)
    for _ in range(_MAX_ENCODINGS):
        suffix = next((name for name, magic in _MAGICS if body.data.startswith(magic)), "")
        if not suffix:
            break
        data, is_whole = _unpack_members(body.data, suffix, max_bytes)
        body = Body(data, body.is_whole and is_whole)
    if body.data is payload and payload:  # nothing that the bytes tell
        for name in reversed([part.strip().lower() for part in encoding.split(",")]):
            if name in ("deflate", "br"):
                unpack = _unpack_deflate if name == "deflate" else _unpack_brotli
                unpacked = unpack(body, max_bytes)
                if unpacked is not None:
                    body = unpacked
                elif not sniff_media_type(body.data):
                    return None
            elif name not in ("", *_NO_ENCODINGS) and not sniff_media_type(body.data):
                return None
    return body


def _unpack_members(payload: bytes, suffix: str, max_bytes: int) -> Body:
    """Unpack gzip members or Zstandard frames up to the first damage."""
    for stream in open_streams(io.BytesIO(payload), suffix):
        data = stream.read(max_bytes)
        return Body(data, len(data) < max_bytes and not stream.damage)
    return Body(b"", is_whole=False)


def _unpack_deflate(body: Body, max_bytes: int) -> Body | None:
    """Unpack `deflate`, by the standard zlib's format; some servers send the bare one."""
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        decompressor = zlib.decompressobj(window)
        try:
            data = decompressor.decompress(body.data, max_bytes)
        except zlib.error:
            continue
        return Body(data, decompressor.eof)
    return None


def _unpack_brotli(body: Body, max_bytes: int) -> Body | None:
    import brotli

    decompressor = brotli.Decompressor()
    try:
        data = decompressor.process(body.data, output_buffer_limit=max_bytes)
    except brotli.error:
        return None
    return Body(data[:max_bytes], decompressor.is_finished()) if data else None
