"""The files of evaluation sets and their sentences, whatever the files are called.

What is not read would be trained on, so only files known to hold no sentences are skipped (READMEs,
licenses, checksums), and a file that cannot be read is an error.
"""

import bz2
import csv
import fnmatch
import html
import json
import logging
import lzma
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

from corpus.errors import DataError, UserError
from corpus.files import open_binary
from corpus.parquet import iterate_batches, open_parquet

logger = logging.getLogger(__name__)

_NO_SENTENCES = (
    "readme*", "license*", "licence*", "copying*", "citation*", "changelog*", "contributing*",
    "authors*", "makefile", "*.md", "*.rst", "*.py", "*.pyc", "*.sh", "*.yaml", "*.yml", "*.html",
    "*.bib", "*.sha256", "*.md5", "md5sum*", "sha256sum*", "checksums*", "metadata_dev*.tsv",
    "metadata_test*.tsv", "dataset_info*.json", "dataset_dict.json", "state.json",
)  # fmt: skip
"""Files beside test sets, in lower case: of FLORES-200, FLORES+, NTREX, WMT, and of `datasets`."""

_PACKED = (
    ".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".xlsx",
    ".xls", ".docx", ".pdf", ".arrow", ".npy", ".bin", ".pt", ".pkl",
)  # fmt: skip
_JSON_LINES = (".jsonl", ".ndjson", ".jl")
_MARKUP = (".sgm", ".sgml", ".xml", ".tmx", ".xliff", ".xlf")
_SEGMENT = re.compile(
    r"<(seg|source|target|hyp|ref|p)\b[^>]*>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[^>]*>")
_NOTES = frozenset({
    "annotator", "dataset", "doc_id", "docid", "document_id", "domain", "glottocode",
    "has_hyperlink", "has_image", "id", "ids", "index", "is_bad_source", "iso_15924", "iso_639_3",
    "lang", "language", "last_updated", "level", "license", "line_id", "lp", "origin", "par_id",
    "register", "script", "segment_id", "sent_id", "source_lang", "split", "src_lang", "stringid",
    "system", "target_lang", "tgt_lang", "topic", "translator", "uniq_id", "uri", "url", "urls",
    "variety",
})  # fmt: skip
"""Keys and columns of JSON and Parquet that hold no sentence."""

_LONGEST_LINE = 1 << 24
_LONGEST_TEXT = 1 << 28
"""Characters or bytes of a JSON value, of markup and of UTF-16, which are held whole."""
_OTHER_ENDS = re.compile("[\r\x85\u2028\u2029]")
"""Line ends of other systems; test sets have them inside sentences as well."""
_READ_BATCH = 1 << 10


def evaluation_files(sets: Sequence[Path]) -> tuple[Path, ...]:
    """Return all files of evaluation sets, those of a directory sorted.

    A set is a file, or a directory with whatever is in it and in its folders.

    Raises:
        UserError: If one does not exist or holds nothing, since a filter of nothing would pass
            unseen.
    """
    return tuple(file for path in sets for file in _files_of(path))


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} is not an evaluation set: it does not exist")
    found: list[Path] = []
    left: list[Path] = []
    for file in _walk(path):
        name = file.name.casefold()
        is_left = any(fnmatch.fnmatchcase(name, pattern) for pattern in _NO_SENTENCES)
        (left if is_left else found).append(file)
    if not found:
        raise UserError(f"{path} holds no evaluation set: there is no file with sentences in it")
    if left:
        shown = ", ".join(str(file.relative_to(path)) for file in left[:10])
        logger.info("%s: %d files of evaluation, besides %s", path, len(found), shown)
    return found


def _walk(directory: Path) -> list[Path]:
    """Return the files below a directory, linked ones too, sorted; hidden ones are left out."""
    found, seen = [], set()
    for folder, folders, names in os.walk(directory, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link upwards
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def evaluation_sentences(path: Path) -> Iterator[str]:
    """Yield everything in a file of an evaluation set that may be a sentence.

    Of text every cell between tabs, whatever the suffix; of CSV every cell; of JSON and JSON lines
    every string, and of Parquet every column of text, but for ids, addresses and the like; of SGML,
    XML and TMX the segments. Compressed as `.gz`, `.zst`, `.bz2` or `.xz` or not.

    Raises:
        UserError: If the file does not exist.
        DataError: If it cannot be read, or holds no sentence.
    """
    name = path.name.casefold()
    if name.endswith(_PACKED):
        raise DataError(f"{path} of an evaluation set cannot be read as it is; unpack or remove it")
    suffix = Path(re.sub(r"\.(gz|zst|bz2|xz)$", "", name)).suffix
    try:
        empty = True
        for sentence in _read(path, suffix):
            empty = empty and not sentence.strip()
            yield sentence
    except (
        OSError,
        EOFError,
        ValueError,
        RecursionError,
        csv.Error,
        lzma.LZMAError,
        zstandard.ZstdError,
        DataError,
    ) as error:
        raise DataError(f"{path} of an evaluation set cannot be read: {error}") from error
    if empty:
        logger.warning("%s of an evaluation set holds no sentence", path)


def _read(path: Path, suffix: str) -> Iterable[str]:
    if suffix == ".parquet":
        return _of_parquet(path)
    if suffix in _JSON_LINES:
        return _of_json_lines(_lines(path))
    if suffix == ".json":
        return _of_json(path)
    if suffix == ".csv":
        return (cell for row in csv.reader(f"{line}\n" for line in _lines(path)) for cell in row)
    if suffix in _MARKUP:
        return _segments("\n".join(_held(_lines(path))))
    return (text for line in _lines(path) for cell in line.split("\t") for text in _parts(cell))


def _parts(cell: str) -> Iterator[str]:
    """Yield a cell, and what lies between other line ends in it."""
    yield cell
    if not cell.isascii() or "\r" in cell:
        parts = _OTHER_ENDS.split(cell)
        yield from parts if len(parts) > 1 else ()


def _held(lines: Iterable[str]) -> list[str]:
    """Return lines as a list.

    Raises:
        ValueError: If they are longer than what may be held whole.
    """
    held, length = [], 0
    for line in lines:
        held.append(line)
        length += len(line) + 1
        if length > _LONGEST_TEXT:
            raise ValueError(
                f"it is longer than {_LONGEST_TEXT:,} characters; use JSON lines or text"
            )
    return held


def _of_parquet(path: Path) -> Iterator[str]:
    with open_parquet(path, path) as file:
        for table in iterate_batches(file, path, None, _READ_BATCH):
            for row in table.to_pylist():
                yield from _strings(row)


def _of_json(path: Path) -> Iterator[str]:
    """Yield the strings of one JSON value, or of one a line."""
    lines = _held(_lines(path))
    try:
        return _strings(json.loads("\n".join(lines)))
    except json.JSONDecodeError:
        return _of_json_lines(lines)


def _of_json_lines(lines: Iterable[str]) -> Iterator[str]:
    return (text for line in lines if line.strip() for text in _strings(json.loads(line)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if str(key).casefold() not in _NOTES:
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _segments(text: str) -> Iterator[str]:
    """Yield the text of segments, or of all elements where there are none of the usual names."""
    found = [inner for _, inner in _SEGMENT.findall(text)] or re.split(r"<[^>]*>", text)
    for inner in found:
        yield html.unescape(_TAG.sub("", inner))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file of text; unlike training text, all of it must be valid.

    Raises:
        ValueError: If a line is not UTF-8, or longer than any text.
    """
    with _opened(path) as stream:
        mark = stream.read(2)
        if mark in (b"\xff\xfe", b"\xfe\xff"):
            data = mark + stream.read(_LONGEST_TEXT)
            if len(data) > _LONGEST_TEXT:
                raise ValueError(f"it is UTF-16 of more than {_LONGEST_TEXT:,} bytes; use UTF-8")
            yield from data.decode("utf-16").replace("\r\n", "\n").split("\n")
            return
        number = 0
        while line := mark + stream.readline(_LONGEST_LINE):
            number, mark = number + 1, b""
            if len(line) >= _LONGEST_LINE:
                raise ValueError(f"line {number} is longer than {_LONGEST_LINE:,} bytes")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"line {number} is not UTF-8: {error}") from None
            if "\0" in text:
                raise ValueError(f"line {number} holds zero bytes; it is no text")
            yield text.removesuffix("\n").removesuffix("\r").removeprefix("\ufeff")


def _opened(path: Path) -> Any:
    return bz2.open(path, "rb") if path.suffix.casefold() == ".bz2" else open_binary(path)
