"""Documents of crawl shards: WET and WARC, JSON lines, Parquet, plain text.

Shards are read as streams, in bounded memory, from this machine or by URL. Malformed records are
counted and skipped with their offset; invalid UTF-8 is replaced and counted; of a truncated file
everything before the cut is kept, and `Documents.problem` reports what is missing.
"""

import codecs
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from corpus.crawl.findings import Findings
from corpus.crawl.html import read_page
from corpus.crawl.json_items import CUT, read_array, read_json_lines
from corpus.crawl.parts import COMPRESSIONS, Part, find_border, groups_of, member_prefix
from corpus.crawl.streams import (
    ByteStream,
    find_member,
    open_members,
    open_part,
    open_streams,
)
from corpus.crawl.warc import Record, read_records
from corpus.errors import DataError, UserError
from corpus.files import check_encoding
from corpus.parquet import iterate_batches, open_parquet
from corpus.remote import RemoteFile

logger = logging.getLogger(__name__)

Shard = Path | RemoteFile

_TEXT_COLUMNS = ("text", "content", "raw_content")
_NAME_COLUMNS = ("url", "id", "document", "warc_record_id")
MAX_DOCUMENT_BYTES = 64 << 20
_MAX_NAME_CHARACTERS = 2048
_BATCH_ROWS = 64
_MAX_NAME_BYTES = 4 * _MAX_NAME_CHARACTERS
_SNIFFED_BYTES = 1024
_MAX_ZERO_SHARE = 0.2
_MAX_LEVELS = 64
_PAGE_RECORDS = ("response", "resource", "conversion")
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
        counts: Counts so far: `documents`, `invalid_utf8`, `malformed`, `oversized`,
            `without_text`, and of crawled pages `revisits`, `other_status`, `other_media`,
            `unreadable_pages`, `pages_over_limits` and `cut_pages`.
        boilerplate_characters: Characters of menus and the like that were left out of pages.
    """

    def __init__(self, shard: Shard, max_bytes: int, part: Part | None = None) -> None:
        if isinstance(shard, Path) and not shard.is_file():
            raise UserError(f"shard {shard} does not exist or is not a file")
        self._shard = shard
        self._part = part
        self._begin(str(shard), max_bytes)

    def _begin(self, name: str, max_bytes: int) -> None:
        """Set the counts to nothing; `name` is what messages call the shard."""
        self._max_bytes = max_bytes
        self._findings = Findings(name)
        self._records = 0
        self.boilerplate_characters = 0
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
        self._note_nothing_read(kind)

    def _note_nothing_read(self, kind: str) -> None:
        """Note a shard none of whose records could be used, as opposed to an empty shard.

        Pages of a crawl may all be without text; but then they are records.
        """
        if self.counts["documents"] or self._records:
            return
        reasons = ("malformed", "without_text", "oversized")
        met = [f"{self.counts[reason]:,} {reason}" for reason in reasons if self.counts[reason]]
        if met:
            self._findings.note(
                f": no document could be read ({', '.join(met)}). Is its format {kind}, and its"
                f" text in a column {' or '.join(_TEXT_COLUMNS)}?"
            )

    def _read(self, file: BinaryIO, kind: str) -> Iterator[Document]:
        count = 0
        for stream in self._streams(file, kind):
            if not count and self._is_other_encoding(stream.peek(_SNIFFED_BYTES)):
                return
            count += 1
            if kind == ".txt":
                yield from self._read_blocks(stream)
            elif kind in (".jsonl", ".json"):
                yield from self._read_json(stream)
            else:
                yield from self._read_records(stream)
            if stream.damage:
                self._findings.note(f": {stream.damage}")
        if not count and self._part is None and self._shard.suffix in COMPRESSIONS:
            self._findings.note(f" is not a {self._shard.suffix} file")

    def _streams(self, file: BinaryIO, kind: str) -> Iterator[ByteStream]:
        if self._part is None:
            yield from open_streams(file, self._shard.suffix)
            return
        if self._shard.suffix in COMPRESSIONS:
            size = file.seek(0, os.SEEK_END)
            prefix = member_prefix(kind)
            begin, end = (
                find_member(file, self._shard.suffix, place, size, prefix) for place in self._part
            )
            is_lines = kind in (".jsonl", ".json")
            yield from open_members(file, self._shard.suffix, begin, end, is_lines=is_lines)
            return
        begin, end = (
            find_border(file, place, is_at_blank_line=kind == ".txt") for place in self._part
        )
        yield open_part(file, begin, max(begin, end))

    def _is_other_encoding(self, start: bytes) -> bool:
        """Note text that is UTF-16 or UTF-32, by its byte order mark or zero bytes."""
        try:
            check_encoding(start, self._shard)
        except DataError as error:
            self._findings.note_error(error)
            return True
        if start.count(0) > _MAX_ZERO_SHARE * len(start):
            self._findings.note(" is not UTF-8: it holds zero bytes. Is it UTF-16, or compressed?")
            return True
        return False

    def _read_records(self, stream: ByteStream) -> Iterator[Document]:
        for record in read_records(stream, self._findings, self._max_bytes):
            self._records += 1
            document = self._take_record(record)
            if document is not None:
                yield document

    def _name(self, identifier: object, offset: int) -> str:
        name = str(identifier)[:_MAX_NAME_CHARACTERS] if identifier else ""
        return _without_surrogates(name) or f"{self._shard.name}:{offset}"

    def _read_blocks(self, stream: ByteStream) -> Iterator[Document]:
        """Read plain text: a document per block of lines between blank lines.

        A block above the limit of bytes is continued as a further document.
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

    def _read_json(self, stream: ByteStream) -> Iterator[Document]:
        """Read JSON lines, or a JSON array of objects, by its first character."""
        start = stream.peek(_SNIFFED_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        if self._part is None and start.startswith(b"["):
            items = read_array(stream, self._max_bytes)
        else:
            items = read_json_lines(stream, self._max_bytes)
        for item in items:
            if item.problem:
                self._findings.skip(item.reason, item.offset, item.problem)
                if item.reason == CUT:
                    self._findings.note(f" ends early, at byte {item.offset:,}: {item.problem}")
                continue
            try:
                record = json.loads(self._findings.decode(item.data))
            except (ValueError, RecursionError):
                self._findings.skip("malformed", item.offset, "not a JSON object")
                if item.data.startswith(b"{") and not item.data.rstrip(b" \r").endswith(
                    (b"}", b"\n")
                ):
                    what = f" ends early, at byte {item.offset:,}: its last line is cut off"
                    self._findings.note(what)
                continue
            if not isinstance(record, dict):
                self._findings.skip("malformed", item.offset, "not a JSON object")
                continue
            document = self._take_object(record, item.offset)
            if document is not None:
                yield document

    def _take_object(self, record: dict[str, Any], offset: int) -> Document | None:
        values = (record.get(name) for name in _TEXT_COLUMNS)
        texts = [value for value in values if isinstance(value, str)]
        if not texts:
            wanted = f"no text in {', '.join(_TEXT_COLUMNS)}"
            self._findings.skip("without_text", offset, wanted)
            return None
        text = next((text for text in texts if text.strip()), texts[0])
        given = next((record[key] for key in _NAME_COLUMNS if record.get(key)), None)
        return Document(self._name(given, offset), _without_surrogates(text), offset)

    def _read_parquet(self, source: BinaryIO) -> Iterator[Document]:
        try:
            with open_parquet(source, self._shard) as file:
                texts, names = self._find_columns(file.schema_arrow)
                groups = range(file.num_row_groups)
                if self._part is not None:
                    groups = groups_of(file.metadata, self._part, source.seek(0, os.SEEK_END))
                row = sum(file.metadata.row_group(group).num_rows for group in range(groups.start))
                columns = [*texts, *names]
                for table in iterate_batches(file, source, columns, _BATCH_ROWS, groups):
                    for number in range(table.num_rows):
                        values = {name: table.column(name)[number] for name in table.column_names}
                        document = self._take_row(values, texts, names, row)
                        if document is not None:
                            yield document
                        row += 1
        except DataError as error:
            if error.__cause__ is None:
                raise
            self._findings.note(f" is not a whole Parquet file: {error.__cause__}")

    def _find_columns(self, schema: pa.Schema) -> tuple[list[str], list[str]]:
        """Return the columns of text, of which a row may fill any, and those that name documents.

        Raises:
            DataError: If there is no column of text.
        """
        kinds = {name: schema.field(name).type for name in schema.names}
        texts = [name for name in _TEXT_COLUMNS if name in kinds and _is_text(kinds[name])]
        if not texts:
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise DataError(
                f"{self._shard} has no text column: one of {', '.join(_TEXT_COLUMNS)}, of strings"
                f" or of UTF-8 bytes; its columns are {found}"
            )
        names = [
            name
            for name in _NAME_COLUMNS
            if name in kinds and (_is_text(kinds[name]) or pa.types.is_integer(kinds[name]))
        ]
        return texts, names

    def _take_row(
        self, values: dict[str, pa.Scalar], texts: list[str], names: list[str], row: int
    ) -> Document | None:
        cells = [_bytes_of(values[name]) for name in texts]
        found = [cell for cell in cells if cell is not None]
        data = next((cell for cell in found if cell.strip()), found[0] if found else None)
        if data is None:
            self.counts["without_text"] += 1
            return None
        if len(data) > self._max_bytes:
            self._findings.skip("oversized", row, f"row {row:,} of {len(data):,} bytes")
            return None
        given = next(filter(None, (_bytes_of(values[name]) for name in names)), b"")
        name = given[:_MAX_NAME_BYTES].decode("utf-8", "replace")
        return Document(self._name(name, row), self._findings.decode(data), row)

    def _take_record(self, record: Record) -> Document | None:
        if record.kind == "conversion" and record.media_type in ("", "text/plain"):
            text = self._findings.decode(record.body).replace("\r\n", "\n")
        elif record.kind in _PAGE_RECORDS:
            page = read_page(record, self._max_bytes, self.counts)
            self.boilerplate_characters += self.counts.pop("boilerplate_characters", 0)
            if page.reason == "pages_over_limits":
                where = f"{record.identifier}: a page beyond the limits on size, time and memory"
                self._findings.skip(page.reason, record.offset, where)
                return None
            if page.reason:
                self.counts[page.reason] += 1
                return None
            text = page.text
        else:
            self.counts["revisits"] += record.kind == "revisit"
            return None
        return Document(self._name(record.identifier, record.offset), text, record.offset)


def read_documents(
    shard: Shard, max_bytes: int = MAX_DOCUMENT_BYTES, part: Part | None = None
) -> Documents:
    """Return the documents of a shard, to be iterated once.

    Args:
        shard: A file, here or elsewhere.
        max_bytes: Longer documents are skipped and counted; of plain text they are cut.
        part: One of its parts as `divide` returns them; None for the whole file.

    Raises:
        UserError: If the file does not exist or its suffix is of no known format.
    """
    shard_kind(shard)
    return Documents(shard, max_bytes, part)


def shard_kind(shard: Shard) -> str:
    """Return the suffix of a shard's format, without that of its compression.

    Raises:
        UserError: If it is not one of `SHARD_SUFFIXES`.
    """
    name = Path(shard.name)
    name = name.with_suffix("") if name.suffix in COMPRESSIONS else name
    if name.suffix not in SHARD_SUFFIXES:
        raise UserError(
            f"shard {shard}: its name should end in one of {', '.join(SHARD_SUFFIXES)},"
            " with or without .gz or .zst"
        )
    return name.suffix


def open_shard(shard: Shard) -> AbstractContextManager[BinaryIO]:
    """Open a shard for reading its raw bytes, compressed or not."""
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
    for suffix in (*COMPRESSIONS, *SHARD_SUFFIXES, ".warc"):
        name = name.removesuffix(suffix)
    return name


def shard_names(shards: Sequence[Shard]) -> dict[str, Shard]:
    """Return shards by the names of their outputs, each once.

    A name is that of `shard_name`. Where two shards would share one, they keep their suffixes
    (`a.warc`, `a.warc.wet`), and if that is not enough, the folders above them, joined by `+`.
    """
    remaining = list(dict.fromkeys(shards))
    repeated = len(shards) - len(remaining)
    if repeated:
        logger.warning("%d shards are given more than once and read once", repeated)
    names: dict[Shard, str] = {}
    for level in range(_MAX_LEVELS):
        found: dict[str, list[Shard]] = {}
        for shard in remaining:
            found.setdefault(_name_of_level(shard, level), []).append(shard)
        taken = set(names.values())
        names |= {
            same[0]: name for name, same in found.items() if len(same) == 1 and name not in taken
        }
        remaining = [shard for shard in remaining if shard not in names]
    if remaining:
        raise UserError(f"two shards have one name: {remaining[0]}; rename one")
    return {names[shard]: shard for shard in dict.fromkeys(shards)}


def _name_of_level(shard: Shard, level: int) -> str:
    """Return the name of a shard: bare, with its format, with its compression, with folders."""
    if level == 0:
        return shard_name(shard)
    folders = level - 2
    if folders < 0:
        return Path(shard.name).stem if Path(shard.name).suffix in COMPRESSIONS else shard.name
    path = shard.absolute() if isinstance(shard, Path) else Path(str(shard).replace("://", "/"))
    above = path.parts[-1 - folders : -1] if folders else ()
    return "+".join([part.strip("/") for part in above if part.strip("/")] + [shard.name])


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates, which are legal in JSON and cannot be written as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def _bytes_of(value: pa.Scalar) -> bytes | None:
    """Return a value of a text column as it is in the file, where strings may not be UTF-8."""
    if isinstance(value, pa.DictionaryScalar):
        value = value.value
    if not value.is_valid:
        return None
    if isinstance(value, pa.StringScalar | pa.BinaryScalar):  # the large ones among them
        return bytes(value.as_buffer())
    return str(value.as_py()).encode()
