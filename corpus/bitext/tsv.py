r"""TSV: a pair a line, with or without a header.

Lines end at `\n` and cells at a tab. A file with its header, or all of its first lines, in
quotation marks is read as the `csv` module wrote it.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from corpus.bitext.places import Place
from corpus.bitext.tables import (
    BATCH_CHARACTERS,
    FIRST_LINES,
    number_array,
    text_array,
    unique_names,
)
from corpus.bitext_columns import (
    SCORE,
    SIDES,
    are_numbers,
    check_first_lines,
    is_number,
    looks_like_header,
    named_columns,
    numbered_columns,
)
from corpus.errors import DataError
from corpus.files import write_lines
from corpus.languages import Direction

BYTE_ORDER_MARK = "\ufeff"
_FEW_LINES = 3
_QUOTED = re.compile('"(?:[^"]|"")*"')
_MOST_ZEROS = 0.2
"""Share of zero characters above which a file is UTF-16, or no text."""

_NLLB_COLUMNS = (
    *SIDES, SCORE, "source_lid_score", "target_lid_score", "source_collection", "source_document",
    "target_collection", "target_document",
)  # fmt: skip
"""Columns of NLLB's mined bitext, which has no header: the text, the LASER score, two scores of
language identification, and of each side the crawl and the URL. The pairs of WMT22's African task
have the first five. By their loaders, https://huggingface.co/datasets/allenai/nllb and
https://huggingface.co/datasets/allenai/wmt22_african."""
_NLLB_WIDTHS = (5, 9)
_NLLB_NUMBERS = slice(2, 5)


class TsvFormat:
    """The pairs of a TSV: see `corpus.bitext_columns` for how its columns are recognized.

    In `schema` all columns but `score` are text.

    Raises:
        DataError: If a line lacks a column, or source and target columns are unclear; the message
            names the line.
    """

    def __init__(
        self, place: Place, rows: int, columns: Mapping[str, str], direction: Direction | None
    ) -> None:
        self._path = place
        self._rows = rows
        self._given = columns
        self._direction = direction
        self._places: dict[str, int] = {}
        self._width = 0
        self._has_header = self._is_quoted = False
        self.schema = self._tsv_schema()

    def _tsv_schema(self) -> pa.Schema:
        lines = self._first_lines()
        cells = [line.split("\t") for line in lines]
        if not cells:
            self._places, self._width = {name: i for i, name in enumerate(SIDES)}, len(SIDES)
            return self._schema_of_tsv()
        rest_is_quoted = len(cells) >= _FEW_LINES and _are_quoted(cells[1:])
        self._is_quoted = rest_is_quoted or (
            _are_quoted(cells[:1]) and (bool(self._given) or looks_like_header(cells[0]))
        )
        if self._is_quoted:
            cells = [row for _, row in self._split(enumerate(lines, 1), is_cut=True)]
        first = cells[0]
        names = None
        if not are_numbers(self._given):
            names = named_columns(self._path, first, self._given, self._direction)
            if names is not None and _repeats(cells, names):  # `en` and `fr` before every pair
                names = None
        elif looks_like_header(first):
            names = numbered_columns(self._path, self._given, len(first))
        self._has_header = names is not None
        if names is not None:
            self._places = unique_names(first, names)
        elif self._given:
            self._places = numbered_columns(self._path, self._given, len(first))
        elif _is_nllb(cells):
            self._places = {name: i for i, name in enumerate(_NLLB_COLUMNS[: len(first)])}
        else:
            check_first_lines(self._path, cells)
            self._places = {name: place for place, name in enumerate(SIDES)}
        self._width = 1 + max(self._places[name] for name in SIDES)
        return self._schema_of_tsv()

    def _schema_of_tsv(self) -> pa.Schema:
        return pa.schema(
            (name, pa.float32() if name == SCORE else pa.string()) for name in self._places
        )

    def _first_lines(self) -> list[str]:
        """Return the first lines, from which the columns are recognized.

        Raises:
            DataError: If they are no text.
        """
        first = list(itertools.islice(self._path.lines(), FIRST_LINES))
        text = "".join(first)
        if text.startswith("\ufffd\ufffd") or text.count("\0") > _MOST_ZEROS * len(text):
            raise DataError(
                f"{self._path} is no text in UTF-8. UTF-16 is converted with `iconv -f UTF-16 -t"
                " UTF-8`; Parquet is recognized by the suffix .parquet."
            )
        return [line.removeprefix(BYTE_ORDER_MARK) for line in first[:1]] + first[1:]

    def _numbered_lines(self) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(self._path.lines(), 1):
            yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line

    def _split(
        self, lines: Iterator[tuple[int, str]], *, is_cut: bool = False
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row with the number of its last line.

        Args:
            lines: Numbered.
            is_cut: Whether the lines may end inside a row.
        """
        if not self._is_quoted:
            for number, line in lines:
                yield number, line.split("\t")
            return
        reader = csv.reader((f"{line}\n" for _, line in lines), delimiter="\t", strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            if not is_cut:
                raise DataError(
                    f"{self._path}:{reader.line_num}: its cells stand in quotation marks, but here"
                    f" they do not close: {error}"
                ) from None

    def _numbered_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each pair with the number of the line it ends on."""
        rows = self._split(self._numbered_lines())
        if self._has_header:
            next(rows, None)
        for number, row in rows:
            if len(row) < self._width:
                raise DataError(
                    f"{self._path}:{number}: {len(row)} columns where a pair needs {self._width}"
                )
            yield number, row

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order."""
        batch: list[tuple[int, list[str]]] = []
        room = BATCH_CHARACTERS
        for row in self._numbered_rows():
            batch.append(row)
            room -= sum(map(len, row[1]))
            if room < 0 or len(batch) == self._rows:
                yield self._as_table(batch)
                batch, room = [], BATCH_CHARACTERS
        if batch:
            yield self._as_table(batch)

    def _as_table(self, rows: list[tuple[int, list[str]]]) -> pa.Table:
        columns = []
        for field in self.schema:
            place = self._places[field.name]
            cells = [row[place] if place < len(row) else "" for _, row in rows]
            if field.name == SCORE:
                numbers = [number for number, _ in rows]
                columns.append(number_array(cells, self._path, numbers, SCORE))
            else:
                columns.append(text_array(cells))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def count(self) -> int:
        """Return the number of pairs."""
        return sum(1 for _ in self._numbered_rows())

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first lines unchanged."""
        numbers = [number for number, _ in itertools.islice(self._numbered_rows(), pairs)]
        last = numbers[-1] if numbers else int(self._has_header)
        write_lines(folder / f"{direction}.tsv", itertools.islice(self._path.lines(), last))
        return len(numbers)


def _is_nllb(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a TSV without a header has NLLB's columns."""
    return (
        all(len(row) == len(rows[0]) and all(map(is_number, row[_NLLB_NUMBERS])) for row in rows)
        and len(rows[0]) in _NLLB_WIDTHS
    )


def _repeats(rows: Sequence[Sequence[str]], names: Mapping[str, int]) -> bool:
    """Whether the names of both sides would also be the content of the next row."""
    places = [names[side] for side in SIDES]
    return len(rows) > 1 and all(
        place < len(rows[1]) and rows[1][place] == rows[0][place] for place in places
    )


def _are_quoted(rows: Sequence[Sequence[str]]) -> bool:
    """Whether every cell stands in quotation marks, and those inside it are doubled.

    A line of dialogue, `"No." "Why?"`, begins and ends with marks that belong to the text.
    """
    cells = [cell for row in rows for cell in row if cell]
    return bool(cells) and all(map(_QUOTED.fullmatch, cells))
