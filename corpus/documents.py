"""Documents out of crawl shards: WET and WARC, JSON lines, Parquet, plain text.

Shards are read as streams, in bounded memory. Malformed records are counted and skipped with their
offset; invalid UTF-8 is replaced and counted; of a truncated file everything before the cut is
kept, and `Documents.problem` says what is missing.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError, UserError
from corpus.streams import ByteStream, open_streams

logger = logging.getLogger(__name__)

_COMPRESSIONS = (".gz", ".zst")
_TEXT_COLUMNS = ("text", "content", "raw_content")
_NAME_COLUMNS = ("url", "id", "document", "warc_record_id")
_MAX_LINE_BYTES = 1 << 16
MAX_DOCUMENT_BYTES = 64 << 20
_MAX_HEADER_LINES = 200
_BATCH_ROWS = 1024
_LOGGED_DEFECTS = 5
_TEXT_RECORDS = ("conversion",)
_PAGE_RECORDS = ("response", "resource", "revisit")
SHARD_SUFFIXES = (".wet", ".warc", ".jsonl", ".json", ".parquet", ".txt")


@dataclass(frozen=True, slots=True)
class Document:
    """One page or text of a shard."""

    identifier: str
    """Its URL; where there is none, its record id or `<shard>:<offset>`."""

    text: str
    """Its text; paragraphs are lines ended by `\\n`."""

    offset: int
    """Byte offset in the file (of the compressed member), or row number in Parquet."""


class Documents:
    """The documents of one shard, to be iterated once.

    Attributes:
        counts: What was met so far: `documents`, `invalid_utf8`, `malformed`, `without_text`,
            and `html_records`, pages whose text nobody has extracted yet.
        problem: Why part of the shard could not be read; empty if all of it could.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        if not path.is_file():
            raise UserError(f"shard {path} does not exist or is not a file")
        self._path = path
        self._max_bytes = max_bytes
        self.counts: Counter[str] = Counter()
        self.problem = ""

    def __iter__(self) -> Iterator[Document]:
        kind = shard_kind(self._path)
        documents = self._read_parquet() if kind == ".parquet" else self._read_streams(kind)
        for document in documents:
            self.counts["documents"] += 1
            yield document
        if self.counts["html_records"] and not self.counts["documents"] and not self.problem:
            self.problem = (
                f"{self._path} holds {self.counts['html_records']:,} pages as HTML and no extracted"
                " text; take the WET file of the same crawl"
            )

    def _read_streams(self, kind: str) -> Iterator[Document]:
        with self._path.open("rb") as file:
            for stream in open_streams(_as_binary(file), self._path.suffix):
                if kind == ".txt":
                    yield from self._read_blocks(stream)
                elif kind in (".jsonl", ".json"):
                    yield from self._read_json_lines(stream)
                else:
                    yield from self._read_records(stream)
                if stream.damage and not self.problem:
                    self.problem = f"{self._path}: {stream.damage}"
        if self._path.suffix in _COMPRESSIONS and not self.problem and self._is_not_compressed():
            self.problem = f"{self._path} is not a {self._path.suffix} file"

    def _is_not_compressed(self) -> bool:
        with self._path.open("rb") as file:
            return next(open_streams(_as_binary(file), self._path.suffix), None) is None

    def _skip(self, reason: str, offset: int, what: str) -> None:
        self.counts[reason] += 1
        if self.counts[reason] <= _LOGGED_DEFECTS:
            logger.warning("%s: byte %d: %s; skipped", self._path, offset, what)

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            self.counts["invalid_utf8"] += 1
            return data.decode("utf-8", "replace")

    def _name(self, identifier: object, offset: int) -> str:
        return str(identifier) if identifier else f"{self._path.name}:{offset}"

    def _read_blocks(self, stream: ByteStream) -> Iterator[Document]:
        """Read plain text: a document per block of lines between blank lines."""
        offset = stream.offset
        block: list[bytes] = []
        while True:
            here = stream.offset
            line = stream.read_line(self._max_bytes)
            if line and not line.endswith(b"\n") and stream.damage:
                self._skip("malformed", here, "the last line is cut off")
                line = b""
            if line.strip():
                block.append(line)
                continue
            if block:
                text = self._decode(b"".join(block))
                yield Document(self._name(None, offset), text.replace("\r\n", "\n"), offset)
            if not line:
                return
            block = []
            offset = stream.offset

    def _read_json_lines(self, stream: ByteStream) -> Iterator[Document]:
        while True:
            offset = stream.offset
            line = stream.read_line(self._max_bytes)
            if not line:
                return
            if not line.strip():
                continue
            try:
                record = json.loads(self._decode(line))
            except ValueError:
                self._skip("malformed", offset, "not a JSON object")
                continue
            if not isinstance(record, dict):
                self._skip("malformed", offset, "not a JSON object")
                continue
            text = _first(record, _TEXT_COLUMNS)
            if not isinstance(text, str):
                self._skip("without_text", offset, f"no column {', '.join(_TEXT_COLUMNS)}")
                continue
            # A lone surrogate is legal in JSON and cannot be written as UTF-8.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            yield Document(self._name(_first(record, _NAME_COLUMNS), offset), text, offset)

    def _read_parquet(self) -> Iterator[Document]:
        try:
            with pq.ParquetFile(self._path) as file:
                names = file.schema_arrow.names
                column = next((name for name in _TEXT_COLUMNS if name in names), None)
                if column is None:
                    raise DataError(
                        f"{self._path} has no text column ({', '.join(_TEXT_COLUMNS)});"
                        f" its columns are {', '.join(names)}"
                    )
                name = next((name for name in _NAME_COLUMNS if name in names), None)
                wanted = [column] if name is None else [column, name]
                row = 0
                for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                    for record in batch.to_pylist():
                        text = record[column]
                        if isinstance(text, str):
                            identifier = record[name] if name is not None else None
                            yield Document(self._name(identifier, row), text, row)
                        else:
                            self.counts["without_text"] += 1
                        row += 1
        except (pa.ArrowException, OSError) as error:
            self.problem = f"{self._path} is not a whole Parquet file: {error}"

    def _read_records(self, stream: ByteStream) -> Iterator[Document]:
        """Read WARC records (ISO 28500); after a malformed one, go on at the next version line."""
        line = stream.read_line(_MAX_LINE_BYTES)
        while line:
            if not line.startswith(b"WARC/"):
                if line.strip():
                    self._skip("malformed", stream.line_offset, "a WARC record should begin here")
                    line = _next_record(stream)
                else:
                    line = stream.read_line(_MAX_LINE_BYTES)
                continue
            offset = stream.line_offset
            headers = _read_headers(stream)
            length = _content_length(headers)
            if length is None or length > self._max_bytes:
                self._skip("malformed", offset, "a WARC record without a usable Content-Length")
                line = _next_record(stream)
                continue
            body = stream.read(length)
            if len(body) < length:
                self._skip("malformed", offset, f"{len(body):,} of {length:,} bytes of a record")
                if not self.problem:
                    self.problem = f"{self._path}: the record at byte {offset:,} is cut off"
                return
            line = stream.read_line(_MAX_LINE_BYTES)
            if line.strip() and not line.startswith(b"WARC/"):
                self._skip("malformed", offset, "a Content-Length that is not the record's length")
                line = _next_record(stream)
                continue
            document = self._take_record(headers, body, offset)
            if document is not None:
                yield document

    def _take_record(self, headers: dict[str, str], body: bytes, offset: int) -> Document | None:
        kind = headers.get("warc-type", "").lower()
        is_plain = headers.get("content-type", "").lower().startswith("text/plain")
        if kind in _TEXT_RECORDS or (kind == "resource" and is_plain):
            name = headers.get("warc-target-uri", "").strip("<>") or headers.get("warc-record-id")
            text = self._decode(body).replace("\r\n", "\n")
            return Document(self._name(name, offset), text, offset)
        if kind in _PAGE_RECORDS:
            self.counts["html_records"] += 1
        return None


def read_documents(path: Path, max_bytes: int = MAX_DOCUMENT_BYTES) -> Documents:
    """Return the documents of a shard, to be iterated once.

    Raises:
        UserError: If the file does not exist or its name says no format.
    """
    shard_kind(path)
    return Documents(path, max_bytes)


def shard_kind(path: Path) -> str:
    """Return the suffix that says a shard's format, without its compression.

    Raises:
        UserError: If it is not one of `SHARD_SUFFIXES`.
    """
    name = path.with_suffix("") if path.suffix in _COMPRESSIONS else path
    if name.suffix not in SHARD_SUFFIXES:
        raise UserError(
            f"shard {path}: its name should end in one of {', '.join(SHARD_SUFFIXES)},"
            " with or without .gz or .zst"
        )
    return name.suffix


def shard_name(path: Path) -> str:
    """Return what names a shard in outputs: its file name without format and compression."""
    name = path.name
    for suffix in (*_COMPRESSIONS, *SHARD_SUFFIXES, ".warc"):
        name = name.removesuffix(suffix)
    return name


def _as_binary(file: Any) -> BinaryIO:
    binary: BinaryIO = file
    return binary


def _first(record: dict[str, Any], names: tuple[str, ...]) -> object:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _read_headers(stream: ByteStream) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADER_LINES):
        line = stream.read_line(_MAX_LINE_BYTES)
        if not line.strip():
            break
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _content_length(headers: dict[str, str]) -> int | None:
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _next_record(stream: ByteStream) -> bytes:
    """Skip to the next line that begins a record; empty at the end."""
    while line := stream.read_line(_MAX_LINE_BYTES):
        if line.startswith(b"WARC/1."):
            return line
    return b""
