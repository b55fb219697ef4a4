"""Pages of WARC files: HTTP, encodings, main content."""

import gzip
import os
import sys
import zlib
from pathlib import Path

import pytest
import zstandard

from corpus.crawl.documents import read_documents
from corpus.crawl.html import decode_page, read_page
from corpus.crawl.warc import Record
from corpus.errors import UserError

BODY = "<p>Она читает книгу дома, а он спит.</p><p>Второй абзац тоже здесь.</p>"
HTML = f"""<!doctype html><html><head><title>t</title><script>var x = 1;</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/b">Shop</a></li></ul></nav>
<main><article>{BODY}</article></main><footer>© 2026 Example</footer></body></html>"""
TEXT = ["Она читает книгу дома, а он спит.", "Второй абзац тоже здесь."]


def response(payload: bytes, *headers: str, status: str = "200 OK") -> Record:
    lines = "\r\n".join([f"HTTP/1.1 {status}", *headers])
    return Record(
        {"warc-type": "response", "content-type": "application/http; msgtype=response"},
        lines.encode() + b"\r\n\r\n" + payload,
        0,
    )


def lines_of(record: Record) -> list[str]:
    return [line for line in read_page(record, 1 << 20).text.split("\n") if line]


def test_main_content_is_taken_without_navigation_and_scripts() -> None:
    assert lines_of(response(HTML.encode(), "Content-Type: text/html; charset=utf-8")) == TEXT
    assert lines_of(response(HTML.encode(), "Server: without a media type")) == TEXT


@pytest.mark.parametrize(
    ("encoding", "header", "meta"),
    [
        ("windows-1251", "; charset=windows-1251", ""),
        ("windows-1251", "", '<meta charset="windows-1251">'),
        ("koi8-r", "; charset=KOI8-R", '<meta charset="utf-8">'),
        ("utf-8", "; charset=ISO-8859-1", ""),  # servers are often wrong
        ("utf-16", "", ""),
        ("utf-8-sig", "; charset=windows-1251", ""),
        ("windows-1251", "; charset=utf-8", ""),
        ("windows-1251", "; charset=nonsense", ""),
    ],
)
def test_encoding_is_found(encoding: str, header: str, meta: str) -> None:
    html = HTML.replace("<head>", f"<head>{meta}").replace("©", "(c)")
    payload = html.replace(BODY, BODY * 20).encode(encoding)
    found = lines_of(response(payload, f"Content-Type: text/html{header}"))
    assert found == TEXT * 20


def test_japanese_in_seven_bits_is_not_taken_for_ascii() -> None:
    payload = "これは日本語の文です。".encode("iso-2022-jp")
    assert payload.isascii()
    assert decode_page(payload, "iso-2022-jp") == "これは日本語の文です。"


def test_one_bad_byte_does_not_change_the_encoding_of_a_page() -> None:
    payload = ("これは日本語の文です。" * 100).encode("shift_jis") + b"\x81"
    assert decode_page(payload, "shift_jis").startswith("これは日本語の文です。")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        ("gzip", gzip.compress(HTML.encode())),
        ("x-gzip", gzip.compress(HTML.encode())),
        ("deflate", zlib.compress(HTML.encode())),
        ("deflate", raw_deflate(HTML.encode())),
        ("zstd", zstandard.compress(HTML.encode())),
        ("gzip", HTML.encode()),  # stored unpacked under the old header
        ("identity", HTML.encode()),
    ],
)
def test_content_encoding_is_undone(encoding: str, payload: bytes) -> None:
    record = response(payload, "Content-Type: text/html", f"Content-Encoding: {encoding}")
    assert lines_of(record) == TEXT


def test_bomb_is_cut_at_the_most_bytes() -> None:
    payload = gzip.compress(b"<p>" + b"word " * (8 << 20))
    page = read_page(response(payload, "Content-Type: text/html", "Content-Encoding: gzip"), 1000)
    assert len(page.text) < 1000


def chunked(data: bytes, size: int) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("payload", [chunked(HTML.encode(), 50), HTML.encode()])
def test_chunks_are_joined_where_there_are_any(payload: bytes) -> None:
    record = response(payload, "Content-Type: text/html", "Transfer-Encoding: chunked")
    assert lines_of(record) == TEXT


def test_chunks_cut_off_keep_what_came() -> None:
    payload = chunked(HTML.encode(), 200)[:-100]
    record = response(payload, "Content-Type: text/html", "Transfer-Encoding: chunked")
    assert lines_of(record)[0] == TEXT[0]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (response(b"<p>x", "Content-Type: text/html", status="404 Not Found"), "other_status"),
        (response(b"{}", "Content-Type: application/json"), "other_media"),
        (response(b"\x89PNG\r\n\x1a\n\0\0"), "other_media"),
        (response(b"<p> </p>", "Content-Type: text/html"), "without_text"),
        (
            response(b"\x01\x02", "Content-Type: text/html", "Content-Encoding: br"),
            "unreadable_pages",
        ),
        (
            response(b"\x01\x02", "Content-Type: text/html", "Content-Encoding: gzip"),
            "unreadable_pages",
        ),
        (Record({"content-type": "application/http"}, b"no http", 0), "unreadable_pages"),
        (Record({"content-type": "application/http"}, b"HTTP/1.1 200 OK", 0), "unreadable_pages"),
        (
            Record({"content-type": "text/plain", "warc-target-uri": "metadata://x/log"}, b"x", 0),
            "other_media",
        ),
    ],
)
def test_page_without_text_has_a_reason(record: Record, reason: str) -> None:
    assert read_page(record, 1 << 20) == ("", reason)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resiliparse.extract.html2text", None)
    with pytest.raises(UserError, match=r"resiliparse.*tongues\[mining\]"):
        read_page(response(HTML.encode(), "Content-Type: text/html"), 1 << 20)


CRAWL = Path(os.environ["TONGUES_DATA"]) / "crawl" if "TONGUES_DATA" in os.environ else None


@pytest.mark.skipif(CRAWL is None, reason="TONGUES_DATA is not set")
def test_real_page_has_the_prose_of_its_wet_record_without_its_menus() -> None:
    assert CRAWL is not None
    (page,) = read_documents(CRAWL / "whirlwind.warc.gz")
    (wet,) = read_documents(CRAWL / "whirlwind.warc.wet.gz")
    assert page.identifier == wet.identifier
    prose = "Escopete ye un municipio d'a provincia de Guadalachara"
    assert prose in page.text
    assert prose in wet.text
    assert len(page.text) < len(wet.text) / 2
    assert "Zaguera pachina" not in page.text


ODD = {
    "example-bad-non-chunked.warc.gz": {"documents": 1, "revisits": 1},
    "example-bad.warc.gz.bad": {"documents": 1, "other_status": 1, "revisits": 1},
    "example-digest.warc": {},
    "example-iana.org-chunked.warc": {"documents": 1},
    "example-resource.warc.gz": {"documents": 1},
    "example-space-in-target-uri.warc.gz": {"other_media": 1},
    "example-trunc.warc": {"malformed": 1},
    "example-wget-bad-target-uri.warc.gz": {"documents": 1, "other_media": 2},
    "example-wrong-chunks.warc.gz": {"documents": 1},
    "example.warc": {"documents": 1, "revisits": 1},
    "example.warc.gz": {"documents": 1, "revisits": 1},
    "post-test.warc.gz": {"other_media": 3},
}
"""warcio's test files, and by hand what they hold."""


@pytest.mark.skipif(CRAWL is None, reason="TONGUES_DATA is not set")
@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_warc_files_give_what_they_hold(name: str, tmp_path: Path) -> None:
    assert CRAWL is not None
    path = tmp_path / name.removesuffix(".bad")
    path.write_bytes((CRAWL / "odd" / name).read_bytes())
    documents = read_documents(path)
    texts = [document.text for document in documents]
    counts = {reason: count for reason, count in documents.counts.items() if count}
    assert counts == ODD[name]
    assert all("Domain" in text or "IANA" in text for text in texts)
