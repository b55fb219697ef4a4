"""Writing WET files: gzipped WARC 1.0 conversion records, as Common Crawl publishes them.

One gzip member per record, so that a reader can seek and damage stays local. Equal documents give
equal bytes: dates and record ids come from the content, never from the clock.
"""

import gzip
import uuid
from collections.abc import Iterable
from pathlib import Path

from corpus.files import atomic_path

_DATE = "2026-01-01T00:00:00Z"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tongues:wet")


def write_wet(path: Path, documents: Iterable[tuple[str, bytes]], description: str) -> int:
    """Write documents as one WET shard, whole or not at all; return how many.

    Args:
        path: Ends in `.warc.wet.gz`.
        documents: URL and text of each; bytes, since a crawl holds broken encodings too.
        description: What made the shard, for its warcinfo record.
    """
    count = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        information = f"software: tongues\r\ndescription: {description}\r\n".encode()
        file.write(_member(_record("warcinfo", "application/warc-fields", information, None, path)))
        for url, text in documents:
            file.write(_member(_record("conversion", "text/plain", text, url, path)))
            count += 1
    return count


def _member(record: bytes) -> bytes:
    return gzip.compress(record, mtime=0)


def _record(kind: str, content_type: str, body: bytes, url: str | None, path: Path) -> bytes:
    identity = uuid.uuid5(_NAMESPACE, f"{path.name} {kind} {url}")
    headers = ["WARC/1.0", f"WARC-Type: {kind}"]
    if url is not None:
        headers.append(f"WARC-Target-URI: {url}")
    headers += [
        f"WARC-Date: {_DATE}",
        f"WARC-Record-ID: <urn:uuid:{identity}>",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"
