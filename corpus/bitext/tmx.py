"""TMX (Translation Memory eXchange 1.1 to 1.4, https://www.gala-global.org/tmx-14b) as a stream.

Read with expat, the standard library's parser: entities may not be declared, nothing outside the
file is read, and tags, nesting and segments have bounds, so that memory is bounded. A unit may
have variants in many languages; every variant in the source language makes a pair with every one
in the target language. Of a segment, native codes (`bpt`, `ept`, `it`, `ph`, `ut`) are left out and
what `hi` holds stays; white space with a line break in it becomes a space. The names of properties
are those of ParaCrawl's files: `score-…` and `source-document`.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import pyarrow as pa

from corpus.bitext.names import is_named
from corpus.bitext.places import Place
from corpus.bitext.tables import BATCH_CHARACTERS, FIRST_LINES, number_array, text_array
from corpus.bitext_columns import SCORE, SIDES
from corpus.errors import DataError
from corpus.files import MAX_LINE_BYTES, write_lines
from corpus.languages import Direction, language_choices

_CHUNK_BYTES = 1 << 16
_LONGEST_TAG = 1 << 20
"""Bytes of a tag, comment or declaration, which the parser holds whole."""
_DEEPEST = 64
_MOST_VARIANTS = 256
_SHOWN_LANGUAGES = 8
_NATIVE_CODES = frozenset({"bpt", "ept", "it", "ph", "ut", "x", "bx", "ex"})
_LINE_BREAK = re.compile(r"[ \t\r]*\n\s*")
_DOCUMENTS = ("source_document", "target_document")


class Variant(NamedTuple):
    """The text of a unit in one language."""

    language: str
    """As it stands."""

    text: str
    document: str


class Unit(NamedTuple):
    """A `tu` element."""

    line: int
    """Where it ends."""

    variants: tuple[Variant, ...]
    score: str


class TmxFormat:
    """The pairs of a TMX file in one direction.

    Attributes:
        left_out: Units that lack one of the two languages, once it was read.

    Raises:
        DataError: If it is damaged, or its markup has another meaning than text; with the line.
    """

    def __init__(self, place: Place, rows: int, direction: Direction) -> None:
        self._place = place
        self._rows = rows
        self._direction = direction
        self._sides: dict[str, int] = {}
        self.left_out: Counter[str] = Counter()
        first = list(islice(units(place), FIRST_LINES))
        variants = [variant for unit in first for variant in unit.variants]
        self._columns = [SCORE] if any(unit.score for unit in first) else []
        self._columns += SIDES
        self._columns += _DOCUMENTS if any(variant.document for variant in variants) else ()
        self.schema = pa.schema(
            (name, pa.float32() if name == SCORE else pa.string()) for name in self._columns
        )

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order."""
        rows: list[tuple[int, str, Variant, Variant]] = []
        room = BATCH_CHARACTERS
        for row in self._pairs():
            rows.append(row)
            room -= len(row[2].text) + len(row[3].text)
            if room < 0 or len(rows) == self._rows:
                yield self._table(rows)
                rows, room = [], BATCH_CHARACTERS
        if rows:
            yield self._table(rows)

    def count(self) -> int:
        """Return the number of pairs."""
        return sum(1 for _ in self._pairs())

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first pairs as a Moses pair."""
        rows = list(islice(self._pairs(), pairs))
        for side, language in enumerate(direction):
            texts = (row[2:][side].text.replace("\n", " ") for row in rows)
            write_lines(folder / f"{direction}.{language}", texts)
        return len(rows)

    def _pairs(self) -> Iterator[tuple[int, str, Variant, Variant]]:
        self.left_out.clear()
        met = [False] * 3
        for unit in units(self._place):
            sides: tuple[list[Variant], ...] = ([], [], [])
            for variant in unit.variants:
                side = self._sides.get(variant.language)
                side = self._side_of(variant, unit.line) if side is None else side
                sides[side].append(variant)
                met[side] = True
            if not sides[0] or not sides[1]:
                self.left_out["units_without_both_languages"] += 1
            for source in sides[0]:
                for target in sides[1]:
                    yield unit.line, unit.score, source, target
        missing = [code for code, there in zip(self._direction, met, strict=False) if not there]
        if missing and any(met):
            raise DataError(
                f"{self._place}: none of its units has {missing[0]}; their languages are"
                f" {', '.join(list(self._sides)[:_SHOWN_LANGUAGES])}"
            )

    def _side_of(self, variant: Variant, line: int) -> int:
        fitting = [
            side for side, one in enumerate(self._direction) if is_named(one, variant.language)
        ]
        if len(fitting) == 2:
            raise DataError(
                f"{self._place}:{line}: the language `{variant.language}` may be either side of"
                f" {self._direction}"
            )
        side = self._sides[variant.language] = fitting[0] if fitting else 2
        return side

    def _table(self, rows: list[tuple[int, str, Variant, Variant]]) -> pa.Table:
        numbers, scores, sources, targets = zip(*rows, strict=True)
        made = {
            "source": text_array([one.text for one in sources]),
            "target": text_array([one.text for one in targets]),
        }
        if SCORE in self._columns:
            made[SCORE] = number_array(scores, self._place, numbers, SCORE)
        for name, side in zip(_DOCUMENTS, (sources, targets), strict=True):
            made[name] = text_array([one.document for one in side])
        return pa.Table.from_arrays([made[name] for name in self._columns], schema=self.schema)


def directions_of_tmx(place: Place) -> list[Direction]:
    """Return the directions of a TMX file's first units, out of its source language.

    Where its header names none, each two languages once, sorted; languages whose code may mean
    several are left out.

    Raises:
        DataError: If it is damaged.
    """
    reader = _Parser(place)
    named = [
        choices[0]
        for code in {
            variant.language: None
            for unit in islice(reader.units(), FIRST_LINES)
            for variant in unit.variants
        }
        if len(choices := language_choices(code)) == 1
    ]
    found = sorted(set(named))
    source = language_choices(reader.source_language)
    if len(source) == 1:
        return [Direction(one, target) for one in source for target in found if target != one]
    return [
        Direction(one, other) for number, one in enumerate(found) for other in found[number + 1 :]
    ]


def units(place: Place) -> Iterator[Unit]:
    """Yield the units of a TMX file.

    Raises:
        DataError: If it is damaged; the message names the line.
    """
    return _Parser(place).units()


class _Parser:
    """Collects the units of one pass over a file.

    Attributes:
        source_language: Of the header, as it stands, once that was read.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.source_language = ""
        self._units: list[Unit] = []
        self._variants: list[Variant] = []
        self._score = ""
        self._language = self._document = ""
        self._level = 0
        self._text: list[str] | None = None
        self._room = self._depth = 0
        self._hidden = 0
        self._property = ""
        self._segment: str | None = None

    def units(self) -> Iterator[Unit]:
        """Yield the units."""
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._refuse_entity
        parser.SkippedEntityHandler = self._refuse_skipped
        fed = 0
        with self._place.open() as stream:
            while True:
                chunk = stream.read(_CHUNK_BYTES)
                if not fed:
                    _check_start(self._place, chunk)
                fed += len(chunk)
                self._parse(chunk)
                if fed - max(0, parser.CurrentByteIndex) > _LONGEST_TAG + _CHUNK_BYTES:
                    raise self._error(f"a tag or comment has more than {_LONGEST_TAG:,} bytes")
                yield from self._units
                self._units.clear()
                if not chunk:
                    return

    def _parse(self, chunk: bytes) -> None:
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            reason = expat.errors.messages[error.code]
            hint = " It is truncated." if not chunk else ""
            raise DataError(
                f"{self._place}:{error.lineno}: not well-formed XML: {reason}, at character"
                f" {error.offset + 1}.{hint}"
            ) from None
        except (LookupError, ValueError) as error:  # an encoding that Python does not have
            raise self._error(f"it cannot be decoded: {error}") from None

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self._place}:{self._parser.CurrentLineNumber}: {problem}")

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise self._error(
            f"it declares the entity `{name}`; entities are not expanded, since they can stand for"
            " gigabytes or other files. Remove the declaration."
        )

    def _refuse_skipped(self, name: str, *_: object) -> None:
        raise self._error(f"the entity `&{name};` is not declared in the file; write its text")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._level += 1
        if self._level > _DEEPEST:
            raise self._error(f"elements stand in each other more than {_DEEPEST} deep")
        if self._text is not None:
            if self._hidden or name in _NATIVE_CODES:
                self._hidden += 1
        elif name == "seg":
            self._begin_text()
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
            self._document, self._segment = "", None
            if not self._language:
                raise self._error("a `tuv` has no `xml:lang`")
        elif name == "prop":
            self._property = attributes.get("type", "").casefold().removeprefix("x-")
            self._begin_text()
        elif name == "tu":
            self._variants, self._score = [], ""
        elif name == "header":
            self.source_language = attributes.get("srclang", "")
        elif self._level == 1 and name != "tmx":
            raise self._error(f"the first element is `{name}`, not `tmx`")

    def _begin_text(self) -> None:
        self._text, self._room, self._depth = [], MAX_LINE_BYTES, self._level
        # Only here: blanks between elements are half of all events.
        self._parser.CharacterDataHandler = self._characters

    def _end(self, name: str) -> None:
        self._level -= 1
        if self._hidden:
            self._hidden -= 1
        elif self._text is not None and self._level >= self._depth:
            return  # an inline element, whose text stays
        elif name == "seg":
            text = "".join(self._text or ())
            if "\n" in text:
                text = _LINE_BREAK.sub(" ", text)
            self._segment, self._text = text.strip(), None
            self._parser.CharacterDataHandler = None
        elif name == "tuv":
            if self._segment is not None:
                self._variants.append(Variant(self._language, self._segment, self._document))
                if len(self._variants) > _MOST_VARIANTS:
                    raise self._error(f"a unit has more than {_MOST_VARIANTS} variants")
        elif name == "tu":
            line = self._parser.CurrentLineNumber
            self._units.append(Unit(line, tuple(self._variants), self._score))
        elif name == "prop":
            self._take_property("".join(self._text or ()).strip())
            self._text = None
            self._parser.CharacterDataHandler = None

    def _take_property(self, text: str) -> None:
        if self._property.startswith("score"):
            self._score = self._score or text
        elif self._property == "source-document":
            self._document = self._document or text

    def _characters(self, text: str) -> None:
        if self._text is not None and not self._hidden:
            self._text.append(text)
            self._room -= len(text)
            if self._room < 0:
                raise self._error(f"a segment has more than {MAX_LINE_BYTES:,} characters")


def _check_start(place: Place, chunk: bytes) -> None:
    """Refuse what is not XML with a better message than the parser's."""
    start = chunk.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<", b"<")):
        return
    raise DataError(f"{place}:1: not XML; it begins with {chunk[:20]!r}")
