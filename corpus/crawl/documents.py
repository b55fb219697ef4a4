"""Documents out of crawl shards: WET and WARC, JSON lines, Parquet, plain text.

Shards are read as streams, in bounded memory, from this machine or by URL. Malformed records are
counted and skipped with their offset; invalid UTF-8 is replaced and counted; of a truncated file
everything before the cut is kept, and `Documents.problem` says what is missing.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.crawl.findings import Findings
from corpus.crawl.html import read_page
from corpus.crawl.streams import ByteStream, open_streams
from corpus.crawl.warc import Record, read_records
from corpus.errors import DataError, UserError
from corpus.remote import RemoteFile

Shard = Path | RemoteFile

_COMPRESSIONS = (".gz", ".zst")
_TEXT_COLUMNS = ("text", "content", "raw_content")
_NAME_COLUMNS = ("url", "id", "document", "warc_record_id")
MAX_DOCUMENT_BYTES = 64 << 20
_MAX_NAME_CHARACTERS = 2048
_BATCH_ROWS = 64
_PARQUET_BUFFER = 1 << 20
_PAGE_RECORDS = ("response", "resource")
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
        counts: What was met so far: `documents`, `invalid_utf8`, `malformed`, `oversized`,
            `without_text`, and of crawled pages `revisits`, `other_status`, `other_media` and
            `unreadable_pages`.
    """

    def __init__(self, shard: Shard, max_bytes: int) -> None:
        if isinstance(shard, Path) and not shard.is_file():
            raise UserError(f"shard {shard} does not exist or is not a file")
        self._shard = shard
        self._max_bytes = max_bytes
        self._findings = Findings(str(shard))
        self.counts: Counter[str] = self._findings.counts

    @property
    def problem(self) -> str:
        """Why part of the shard could not be read; empty if all of it could."""
        return self._findings.problem

    def __iter__(self) -> Iterator[Document]:
        kind = shard_kind(self._shard)
        with open_shard(self._shard) as file:
            read = self._read_parquet(file) if kind == ".parquet" else self._read(file, kind)
            for document in read:
                self.counts["documents"] += 1
                yield document

    def _read(self, file: BinaryIO, kind: str) -> Iterator[Document]:
        count = 0
        for stream in open_streams(file, self._shard.suffix):
            count += 1
            if kind == ".txt":
                yield from self._read_blocks(stream)
            elif kind in (".jsonl", ".json"):
                yield from self._read_json_lines(stream)
            else:
                for record in read_records(stream, self._findings, self._max_bytes):
                    document = self._take_record(record)
                    if document is not None:
                        yield document
            if stream.damage:
                self._findings.note(f": {stream.damage}")
        if not count and self._shard.suffix in _COMPRESSIONS:
            self._findings.note(f" is not a {self._shard.suffix} file")

    def _name(self, identifier: object, offset: int) -> str:
        name = str(identifier)[:_MAX_NAME_CHARACTERS] if identifier else ""
        return _without_surrogates(name) or f"{self._shard.name}:{offset}"

    def _read_blocks(self, stream: ByteStream) -> Iterator[Document]:
        """Read plain text: a document per block of lines between blank lines.

        A block with more than the most bytes goes on as a further document.
        """
        offset = stream.offset
        block: list[bytes] = []
        length = 0
        while True:
            here = stream.offset
            line = stream.read_line(self._max_bytes)
            if line and not line.endswith(b"\n") and stream.damage:
                self._findings.skip("malformed", here, "the last line is cut off")
                line = b""
            if block and (not line.strip() or length + len(line) > self._max_bytes):
                text = self._findings.decode(b"".join(block))
                yield Document(self._name(None, offset), text.replace("\r\n", "\n"), offset)
                block, length = [], 0
            if not line:
                return
            if line.strip():
                offset = offset if block else here
                block.append(line)
                length += len(line)

    def _read_json_lines(self, stream: ByteStream) -> Iterator[Document]:
        while True:
            offset = stream.offset
            line = stream.read_line(self._max_bytes)
            if not line:
                return
            if not line.strip():
                continue
            if len(line) == self._max_bytes and not line.endswith(b"\n"):
                self._findings.skip("oversized", offset, f"a line above {self._max_bytes:,} bytes")
                while line and not line.endswith(b"\n"):
                    line = stream.read_line(self._max_bytes)
                continue
            try:
                record = json.loads(self._findings.decode(line))
            except (ValueError, RecursionError):
                self._findings.skip("malformed", offset, "not a JSON object")
                continue
            if not isinstance(record, dict):
                self._findings.skip("malformed", offset, "not a JSON object")
                continue
            text = _first(record, _TEXT_COLUMNS)
            if not isinstance(text, str):
                what = f"no column {', '.join(_TEXT_COLUMNS)}"
                self._findings.skip("without_text", offset, what)
                continue
            name = self._name(_first(record, _NAME_COLUMNS), offset)
            yield Document(name, _without_surrogates(text), offset)

    def _read_parquet(self, source: BinaryIO) -> Iterator[Document]:
        try:
            # Neither mapped nor read ahead: a row group of any size is read in pieces.
            with pq.ParquetFile(source, buffer_size=_PARQUET_BUFFER, pre_buffer=False) as file:
                column, name = self._find_columns(file.schema_arrow.names)
                wanted = [column] if name is None else [column, name]
                row = 0
                for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                    for record in batch.to_pylist():
                        document = self._take_row(record, column, name, row)
                        if document is not None:
                            yield document
                        row += 1
        except (pa.ArrowException, OSError) as error:
            self._findings.note(f" is not a whole Parquet file: {error}")

    def _find_columns(self, names: list[str]) -> tuple[str, str | None]:
        column = next((name for name in _TEXT_COLUMNS if name in names), None)
        if column is None:
            raise DataError(
                f"{self._shard} has no text column ({', '.join(_TEXT_COLUMNS)});"
                f" its columns are {', '.join(names)}"
            )
        return column, next((name for name in _NAME_COLUMNS if name in names), None)

    def _take_row(
        self, record: dict[str, Any], column: str, name: str | None, row: int
    ) -> Document | None:
        text = record[column]
        if not isinstance(text, str):
            self.counts["without_text"] += 1
            return None
        if len(text) > self._max_bytes:
            self._findings.skip("oversized", row, f"row {row:,} of {len(text):,} characters")
            return None
        return Document(self._name(record[name] if name is not None else None, row), text, row)

    def _take_record(self, record: Record) -> Document | None:
        if record.kind == "conversion":
            text = self._findings.decode(record.body).replace("\r\n", "\n")
        elif record.kind in _PAGE_RECORDS:
            page = read_page(record, self._max_bytes)
            if page.reason:
                self.counts[page.reason] += 1
                return None
            text = page.text
        else:
            self.counts["revisits"] += record.kind == "revisit"
            return None
        return Document(self._name(record.identifier, record.offset), text, record.offset)


def read_documents(shard: Shard, max_bytes: int = MAX_DOCUMENT_BYTES) -> Documents:
    """Return the documents of a shard, to be iterated once.

    Args:
        shard: A file, here or elsewhere.
        max_bytes: Longer documents are skipped and counted; of plain text they are cut.

    Raises:
        UserError: If the file does not exist or its name says no format.
    """
    shard_kind(shard)
    return Documents(shard, max_bytes)


def shard_kind(shard: Shard) -> str:
    """Return the suffix that says a shard's format, without its compression.

    Raises:
        UserError: If it is not one of `SHARD_SUFFIXES`.
    """
    name = Path(shard.name)
    name = name.with_suffix("") if name.suffix in _COMPRESSIONS else name
    if name.suffix not in SHARD_SUFFIXES:
        raise UserError(
            f"shard {shard}: its name should end in one of {', '.join(SHARD_SUFFIXES)},"
            " with or without .gz or .zst"
        )
    return name.suffix


def open_shard(shard: Shard) -> AbstractContextManager[BinaryIO]:
    """Open a shard for reading as it is, compressed or not."""
    if isinstance(shard, RemoteFile):
        return shard.open()
    return cast(AbstractContextManager[BinaryIO], shard.open("rb"))


def shard_bytes(shard: Shard) -> int:
    """Return the size of a shard, 0 where its server does not tell.

    Raises:
        UserError: If a local file does not exist.
        DataError: If a remote one cannot be reached.
    """
    if isinstance(shard, RemoteFile):
        return shard.describe()["bytes"] or 0
    if not shard.is_file():
        raise UserError(f"shard {shard} does not exist or is not a file")
    return shard.stat().st_size


def shard_name(shard: Shard) -> str:
    """Return what names a shard in outputs: its file name without format and compression."""
    name = shard.name
    for suffix in (*_COMPRESSIONS, *SHARD_SUFFIXES, ".warc"):
        name = name.removesuffix(suffix)
    return name


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates, which are legal in JSON and cannot be written as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _first(record: dict[str, Any], names: tuple[str, ...]) -> object:
    return next((record[name] for name in names if record.get(name) is not None), None)
