"""A crawl made for tests: WARC files as Common Crawl writes them, and their columnar index."""

import base64
import datetime
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

CRAWL = "CC-MAIN-2026-04"
TEXTS = {
    "eng": "The river is long and the fields beside it are very wide today. "
    "She reads a book about the river at home in the evening.",
    "rus": "Она читает книгу дома каждый вечер перед сном. "
    "Река очень длинная и поля рядом с ней широкие.",
    "hin": "यह मेरा घर है और यह बहुत बड़ा है। नदी लंबी है और खेत बहुत चौड़े हैं।",
}

SCHEMA = pa.schema(
    [
        pa.field("url_surtkey", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("url_host_name", pa.string(), nullable=False),
        ("url_host_tld", pa.string()),
        ("url_host_2nd_last_part", pa.string()),
        ("url_host_3rd_last_part", pa.string()),
        ("url_host_4th_last_part", pa.string()),
        ("url_host_5th_last_part", pa.string()),
        ("url_host_registry_suffix", pa.string()),
        ("url_host_registered_domain", pa.string()),
        ("url_host_private_suffix", pa.string()),
        ("url_host_private_domain", pa.string()),
        ("url_host_name_reversed", pa.string()),
        pa.field("url_protocol", pa.string(), nullable=False),
        ("url_port", pa.int32()),
        pa.field("url_path", pa.string(), nullable=False),
        ("url_query", pa.string()),
        pa.field("fetch_time", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("fetch_status", pa.int16(), nullable=False),
        ("fetch_redirect", pa.string()),
        ("content_digest", pa.string()),
        ("content_mime_type", pa.string()),
        ("content_mime_detected", pa.string()),
        ("content_charset", pa.string()),
        ("content_languages", pa.string()),
        ("content_truncated", pa.string()),
        pa.field("warc_record_id", pa.binary(), nullable=False),
        pa.field("warc_filename", pa.string(), nullable=False),
        pa.field("warc_record_offset", pa.int32(), nullable=False),
        pa.field("warc_record_length", pa.int32(), nullable=False),
        pa.field("warc_segment", pa.string(), nullable=False),
    ]
)
"""Common Crawl's, column by column, as of CC-MAIN-2026-30: `cc-index-schema-flat.json` of
github.com/commoncrawl/cc-index-table. `crawl` and `subset` are directories."""


class Page(NamedTuple):
    """A page to put into a crawl."""

    url: str
    language: str
    """A key of `TEXTS`."""
    indexed: str | None = ""
    """What the index says of its languages; empty for the same."""
    status: int = 200
    media_type: str = "text/html"
    file: int = 0
    """Which WARC file it is in."""

    @property
    def host(self) -> str:
        return self.url.split("/")[2]

    @property
    def surt(self) -> str:
        parts = self.host.removeprefix("www.").split(".")
        return ",".join(reversed(parts)) + ")/" + self.url.split("/", 3)[3]


def html(page: Page) -> bytes:
    # Text that is its page's own, in the letters of its language: copies are dropped.
    number = int.from_bytes(hashlib.sha256(page.url.encode()).digest()[:6], "big")
    letters = "".join(sorted({one for one in TEXTS[page.language].lower() if one.isalpha()}))
    word = "".join(letters[(number >> 4 * place) % len(letters)] for place in range(8))
    lines = TEXTS[page.language].replace(". ", f" {word}. ").replace("। ", f" {word}। ")
    return (
        f"<html><head><title>t</title></head><body><h1>t</h1><p>{lines}</p>"
        f"<p>{lines} {word}</p></body></html>"
    ).encode()


def write_crawl(root: Path, pages: Sequence[Page], row_group_size: int = 4) -> Path:
    """Write WARC files and an index of them below `root`; return the index's directory."""
    rows = []
    for number in sorted({page.file for page in pages}):
        name = f"crawl-data/{CRAWL}/segments/1.{number}/warc/{CRAWL}-{number:05d}.warc.gz"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            writer.write_record(writer.create_warcinfo_record(path.name, {"software": "made"}))
            for page in pages:
                if page.file == number:
                    rows.append(_write(writer, file, page, name))
    rows.sort(key=lambda row: row["url_surtkey"])
    index = root / "cc-index" / f"crawl={CRAWL}" / "subset=warc"
    index.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, SCHEMA)
    file = index / "part-00000-made.c000.gz.parquet"
    pq.write_table(table, file, row_group_size=row_group_size, compression="gzip")
    return root / "cc-index"


def _write(writer: WARCWriter, file: io.BufferedWriter, page: Page, name: str) -> dict[str, object]:
    request = StatusAndHeaders("GET / HTTP/1.1", [("Host", page.host)], is_http_request=True)
    writer.write_record(writer.create_warc_record(page.url, "request", http_headers=request))
    body = html(page)
    headers = StatusAndHeaders(
        f"{page.status} OK",
        [("Content-Type", f"{page.media_type}; charset=utf-8"), ("Content-Length", str(len(body)))],
        protocol="HTTP/1.1",
    )
    record = writer.create_warc_record(page.url, "response", io.BytesIO(body), http_headers=headers)
    start = file.tell()
    writer.write_record(record)
    end = file.tell()
    host = page.host.split(".")
    return {
        "url_surtkey": page.surt,
        "url": page.url,
        "url_host_name": page.host,
        "url_host_tld": host[-1],
        "url_host_registered_domain": ".".join(host[-2:]),
        "url_host_private_domain": ".".join(host[-2:]),
        "url_host_name_reversed": ".".join(reversed(host)),
        "url_protocol": page.url.partition(":")[0],
        "fetch_time": datetime.datetime(2026, 1, 20, tzinfo=datetime.UTC),
        "content_mime_type": page.media_type,
        "content_charset": "UTF-8",
        "warc_record_id": hashlib.sha1(page.url.encode()).digest()[:16],
        "url_path": "/" + page.url.split("/", 3)[3],
        "fetch_status": page.status,
        "content_digest": base64.b32encode(hashlib.sha1(body).digest()).decode(),
        "content_mime_detected": page.media_type,
        "content_languages": page.language if page.indexed == "" else page.indexed,
        "warc_filename": name,
        "warc_record_offset": start,
        "warc_record_length": end - start,
        "warc_segment": f"1.{page.file}",
    }
