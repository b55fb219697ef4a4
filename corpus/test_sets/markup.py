"""WMT's XML, and the SGML of WMT until 2020, of IWSLT and of NIST.

XML as https://github.com/wmt-conference/wmt-format-tools writes it (`schema/wmt-schema.rnc`): a
document holds a source, translations by several translators, and systems' outputs. It is read with
expat, as a stream; a document type declaration, and with it every entity of one's own, is refused.
What is taken are the segments that sacrebleu 2.6 takes (`dataset/wmt_xml.py`): documents of test
suites are left out, and segments that nobody translated.

SGML is not parsed as such: WMT's and IWSLT's files hold bare ampersands. Like sacrebleu
(`dataset/fake_sgml.py`) we look for `<seg id="1">…</seg>`; unlike it we resolve `&amp;` and such.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from corpus.errors import DataError, UserError
from corpus.files import open_binary
from corpus.test_sets.test_set import DOCUMENT, DOMAIN, Segments, Side

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
MAX_SEGMENT_CHARACTERS = 1 << 20
_MAX_DEPTH = 64
_ORIGIN = "origlang"
_NO_NAME = "ref"

_SGML = re.compile(
    r"<(?:doc|talk)\b([^>]*)>|<seg\b([^>]*)>(.*?)</seg\s*>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[^>]*>")
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


class _WmtXml:
    """Handlers of expat that gather the segments of documents."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source_languages: dict[str, None] = {}
        self.target_languages: dict[str, None] = {}
        self.translators: dict[str, None] = {}
        self.documents: list[tuple[dict[str, str], dict[int, str], dict[str, dict[int, str]]]] = []
        self._depth = 0
        self._is_wanted = False
        self._block: dict[int, str] | None = None
        self._segment: int | None = None
        self._text: list[str] = []
        self._length = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add

    def _fail(self, problem: str) -> DataError:
        return DataError(f"{self.path}:{self.parser.CurrentLineNumber}: {problem}")

    def _refuse(self, *declaration: Any) -> None:
        raise self._fail(
            "a document type declaration, which test sets of WMT do not have and which is not"
            " read: entities can fill the memory; remove it"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._fail(f"elements are nested more than {_MAX_DEPTH} deep")
        if name == "doc":
            self._is_wanted = "testsuite" not in attributes
            self.documents.append((attributes, {}, {}))
        elif name in ("src", "ref", "hyp"):
            self._block = self._open_block(name, attributes)
        elif name == "seg" and self._block is not None:
            try:
                self._segment = int(attributes["id"])
            except (KeyError, ValueError):
                raise self._fail("a segment whose `id` is not a number") from None
            if self._segment in self._block:
                raise self._fail(f"segment {self._segment} is there twice")
            self._text, self._length = [], 0

    def _open_block(self, name: str, attributes: dict[str, str]) -> dict[int, str] | None:
        if not self.documents:
            raise self._fail(f"`{name}` outside a document")
        if not self._is_wanted or name == "hyp":
            return None
        language = attributes.get("lang", "")
        if name == "src":
            self.source_languages[language] = None
            return self.documents[-1][1]
        self.target_languages[language] = None
        translator = attributes.get("translator", "") or _NO_NAME
        self.translators[translator] = None
        return self.documents[-1][2].setdefault(translator, {})

    def _add(self, text: str) -> None:
        if self._segment is None:
            return
        self._length += len(text)
        if self._length > MAX_SEGMENT_CHARACTERS:
            raise self._fail(f"a segment longer than {MAX_SEGMENT_CHARACTERS:,} characters")
        self._text.append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name == "seg" and self._segment is not None and self._block is not None:
            self._block[self._segment] = clean("".join(self._text))
            self._segment = None
        elif name in ("src", "ref", "hyp"):
            self._block = None
        elif name == "doc" and not self._is_wanted:
            self.documents.pop()


def clean(text: str) -> str:
    """Return text on one line, with single spaces, as sacrebleu cleans marked-up sets."""
    return re.sub(r"\s+", " ", text.strip())


def _parse(path: Path) -> _WmtXml:
    found = _WmtXml(path)
    try:
        with open_binary(path) as stream:
            size = 0
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes unpacked")
                found.parser.Parse(chunk, False)
            found.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DataError(f"{path} is not XML: {error}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return found


def xml_languages(path: Path) -> tuple[str, str]:
    """Return the codes of source and target of a WMT XML file, as it has them.

    Raises:
        DataError: If it is not XML, or has several of one side or none.
    """
    return _languages(_parse(path))


def _languages(found: _WmtXml) -> tuple[str, str]:
    sides = []
    for name, languages in (
        ("source", found.source_languages),
        ("target", found.target_languages),
    ):
        if len(languages) != 1:
            listed = ", ".join(languages) or "none"
            raise DataError(
                f"{found.path} must have one {name} language; it has {listed}. Is it a file of"
                " WMT's with source and reference (`src` and `ref`)?"
            )
        sides.append(next(iter(languages)))
    return sides[0], sides[1]


def read_wmt_xml(path: Path, translators: Sequence[str] = ()) -> Segments:
    """Read one direction of WMT's XML.

    Args:
        path: The file, plain or compressed.
        translators: Which references to take, by translator; all if empty.

    Raises:
        UserError: If a translator is none of the file's.
        DataError: If it is not such a file, declares entities or is damaged.
    """
    found = _parse(path)
    _languages(found)
    names = list(found.translators)
    for name in translators:
        if name not in names:
            raise UserError(f"{path} has no reference by `{name}`; it has {', '.join(names)}")
    names = list(translators) or names
    source: list[str] = []
    references: list[list[str]] = [[] for _ in names]
    columns: dict[str, list[str]] = {DOCUMENT: [], DOMAIN: [], _ORIGIN: []}
    without = 0
    for attributes, own, translated in found.documents:
        for number in sorted(own):
            texts = [translated.get(name, {}).get(number, "") for name in names]
            if not any(texts):
                without += 1
                continue
            source.append(own[number])
            for lines, text in zip(references, texts, strict=True):
                lines.append(text)
            columns[DOCUMENT].append(attributes.get("id", ""))
            columns[DOMAIN].append(attributes.get("domain", ""))
            columns[_ORIGIN].append(attributes.get(_ORIGIN, ""))
    if without:
        logger.warning(
            "%s: %d segments without a reference are left out; hypotheses have no lines for them",
            path,
            without,
        )
    return Segments(source, references, columns, tuple(names))


def read_sgml(path: Path) -> Side:
    """Read one language of SGML: `<doc docid=… genre=… origlang=…>` and `<seg id=…>`.

    Raises:
        DataError: If the file cannot be read, is not UTF-8, or holds no segment.
    """
    try:
        with open_binary(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes unpacked")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}") from None
    lines: list[str] = []
    columns: dict[str, list[str]] = {DOCUMENT: [], DOMAIN: [], _ORIGIN: []}
    document: dict[str, str] = {}
    for match in _SGML.finditer(text):
        if match[3] is None:
            document = _attributes(match[1])
            continue
        lines.append(clean(html.unescape(_TAG.sub("", match[3]))))
        columns[DOCUMENT].append(document.get("docid", document.get("id", "")))
        columns[DOMAIN].append(document.get("genre", ""))
        columns[_ORIGIN].append(document.get(_ORIGIN, ""))
    if not lines:
        raise DataError(f"{path} holds no segment `<seg id=…>`")
    return Side([str(number) for number in range(1, len(lines) + 1)], [lines], columns)


def _attributes(text: str) -> dict[str, str]:
    return {
        match[1].casefold(): html.unescape(match[2] if match[2] is not None else match[3])
        for match in _ATTRIBUTE.finditer(text)
    }
