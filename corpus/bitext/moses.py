"""Moses pairs: two files of lines, of which those of one number are a pair.

OPUS adds files with as many lines: `.scores`, and `.ids` with the documents of both sides before
the numbers of their sentences, separated by tabs.
"""

from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path

import pyarrow as pa

from corpus.bitext.places import Place
from corpus.bitext.tables import BATCH_CHARACTERS, number_array, text_array
from corpus.bitext_columns import SCORE, SIDES
from corpus.errors import DataError
from corpus.files import write_lines
from corpus.languages import Direction

_DOCUMENTS = ("source_document", "target_document")


class MosesFormat:
    """The pairs of two line-aligned files.

    Raises:
        DataError: While reading, if the numbers of lines differ; the message has both.
    """

    def __init__(
        self,
        source: Place,
        target: Place,
        rows: int,
        *,
        scores: Place | None = None,
        ids: Place | None = None,
    ) -> None:
        self._places = [source, target, *(place for place in (scores, ids) if place is not None)]
        self._rows = rows
        self._scores, self._ids = scores, ids
        fields = [(name, pa.string()) for name in SIDES]
        fields += [(SCORE, pa.float32())] if scores is not None else []
        fields += [(name, pa.string()) for name in _DOCUMENTS] if ids is not None else []
        self.schema = pa.schema(fields)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order."""
        first = 1
        rows: list[tuple[str, ...]] = []
        room = BATCH_CHARACTERS
        for row in self._lines():
            rows.append(row)
            room -= len(row[0]) + len(row[1])
            if room < 0 or len(rows) == self._rows:
                yield self._table(rows, first)
                first, rows, room = first + len(rows), [], BATCH_CHARACTERS
        if rows:
            yield self._table(rows, first)

    def count(self) -> int:
        """Return the number of pairs."""
        return sum(1 for _ in self._lines())

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first pairs as a Moses pair."""
        rows = list(islice(self._lines(), pairs))
        for side, language in enumerate(direction):
            write_lines(folder / f"{direction}.{language}", (row[side] for row in rows))
        return len(rows)

    def _lines(self) -> Iterator[tuple[str, ...]]:
        streams = [place.lines() for place in self._places]
        for number, row in enumerate(zip_longest(*streams)):
            if None in row:
                counts = [
                    number + (line is not None) + sum(1 for _ in stream)
                    for line, stream in zip(row, streams, strict=True)
                ]
                raise self._unequal(counts)
            yield row

    def _unequal(self, counts: list[int]) -> DataError:
        there = ", ".join(
            f"{place} has {count:,} lines"
            for place, count in zip(self._places, counts, strict=True)
        )
        return DataError(
            f"{there}: lines of one number are a pair, so that the numbers of lines must be equal."
            " A file may be truncated, or of another version."
        )

    def _table(self, rows: list[tuple[str, ...]], first: int) -> pa.Table:
        lines = list(zip(*rows, strict=True))
        columns = [text_array(lines[0]), text_array(lines[1])]
        if self._scores is not None:
            cells = [line.strip() for line in lines[2]]
            columns.append(
                number_array(cells, self._scores, range(first, first + len(rows)), SCORE)
            )
        if self._ids is not None:
            ids = [line.split("\t", 2) for line in lines[-1]]
            columns += [text_array([one[side] if side < len(one) else "" for one in ids])
                        for side in (0, 1)]  # fmt: skip
        return pa.Table.from_arrays(columns, schema=self.schema)
