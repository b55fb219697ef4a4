"""Statistics by content: a file per target language, from which scores come without any text.

A row holds the counts of one hypothesis file, found by three digests: what was counted (the
measure's key), the references, the hypotheses. A second row without hypotheses holds the lengths of
the references. Rows stay until the file is deleted; nothing else is lost with it.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import check_encoding, lines_of_file
from corpus.records import read_as_written, write_table
from eval.metrics.counts import Counts
from eval.metrics.measures import Measure, pack_counts, unpack_counts
from eval.metrics.metrics import digest_lines

STATISTICS_SCHEMA = pa.schema(
    [
        ("measure", pa.string()),
        ("references", pa.string()),
        ("hypotheses", pa.string()),
        ("lines", pa.int32()),
        ("packed", pa.binary()),
    ]
)
"""Counts of a file; see `eval.metrics.measures.pack_counts`."""

_SYSTEMS_AT_ONCE = 16
_LENGTHS = ""
"""In place of hypotheses: the lengths of the references."""


class Text(NamedTuple):
    """The lines of a file and their digest."""

    lines: Sequence[str]
    digest: str
    invalid_lines: int
    """Lines that were not UTF-8 and hold U+FFFD now."""


class References(NamedTuple):
    """One reference or several of each line."""

    texts: tuple[Text, ...]
    digest: str
    """Of the one text, or of the digests of several."""

    @property
    def lines(self) -> Sequence[str]:
        """The lines of the first."""
        return self.texts[0].lines


def read_references(paths: Sequence[Path]) -> References:
    """Read the files of one reference or several, line-aligned.

    Raises:
        UserError: If a file does not exist.
        DataError: If they differ in length, or one is damaged.
    """
    texts = tuple(read_text(path) for path in paths)
    for path, text in zip(paths, texts, strict=True):
        if len(text.lines) != len(texts[0].lines):
            raise DataError(
                f"{path} has {len(text.lines):,} lines and {paths[0]} has"
                f" {len(texts[0].lines):,}; references are line-aligned"
            )
    digests = [text.digest for text in texts]
    return References(texts, digests[0] if len(digests) == 1 else digest_lines(digests))


def read_text(path: Path) -> Text:
    r"""Read the lines of a file, plain, `.gz` or `.zst`; they end at `\n` only.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is compressed and damaged.
    """
    with lines_of_file(path) as reader:
        if path.suffix not in (".gz", ".zst"):
            data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
            check_encoding(data, path)
            # What Lines does, at once: the usual file has no `\r` and is valid.
            if b"\r" not in data and (lines := _split(data)) is not None:
                return Text(lines, digest_lines(lines), 0)
        lines = reader.read_all()
    return Text(lines, digest_lines(lines), reader.invalid_lines)


def _split(data: bytes) -> list[str] | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text.removesuffix("\n").split("\n") if text else []


class StatisticsFile:
    """The statistics of one target language."""

    def __init__(self, path: Path) -> None:
        """Read the file where there is one.

        Raises:
            DataError: If it is damaged.
        """
        self.path = path
        self._rows: dict[tuple[str, str, str], tuple[int, bytes]] = {}
        self._is_changed = not path.exists()
        if path.exists():
            table = read_as_written(path, STATISTICS_SCHEMA.names)
            columns = [table.column(name).to_pylist() for name in STATISTICS_SCHEMA.names]
            for measure, references, hypotheses, lines, packed in zip(*columns, strict=True):
                self._rows[measure, references, hypotheses] = (lines, packed)

    def count(
        self, measure: Measure, references: References, hypotheses: Sequence[Text]
    ) -> tuple[Counts, int]:
        """Return the counts of each file of hypotheses, and how many had to be counted."""
        wanted = {text.digest: text for text in hypotheses}
        lacking = [
            text
            for digest, text in wanted.items()
            if (measure.key, references.digest, digest) not in self._rows
        ]
        for start in range(0, len(lacking), _SYSTEMS_AT_ONCE):
            self._count(measure, references, lacking[start : start + _SYSTEMS_AT_ONCE])
        rows = [self._find(measure, references.digest, text.digest) for text in hypotheses]
        lengths = self._find_lengths(measure, references.digest)
        shape = (0, len(references.lines), sum(measure.chains))
        stacked = np.stack(rows) if rows else np.zeros(shape, np.int32)
        return Counts(stacked, lengths), len(lacking)

    def save(self) -> None:
        """Write the file if anything was added; equal content gives equal bytes."""
        if not self._is_changed:
            return
        keys = sorted(self._rows)
        columns: list[list[object]] = [[key[i] for key in keys] for i in range(3)]
        columns += [[self._rows[key][i] for key in keys] for i in range(2)]
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(columns, STATISTICS_SCHEMA, strict=True)
        ]
        write_table(self.path, pa.Table.from_arrays(arrays, schema=STATISTICS_SCHEMA))
        self._is_changed = False

    def _count(self, measure: Measure, references: References, texts: Sequence[Text]) -> None:
        streams = [text.lines for text in references.texts]
        found = measure.count(streams, [text.lines for text in texts])
        lines = len(references.lines)
        key = (measure.key, references.digest)
        lengths = pack_counts(found.references, (1,) * found.references.shape[1])
        self._rows[(*key, _LENGTHS)] = (lines, lengths)
        for text, counts in zip(texts, found.hypotheses, strict=True):
            self._rows[(*key, text.digest)] = (lines, pack_counts(counts, measure.chains))
        self._is_changed = True

    def _find(self, measure: Measure, references: str, hypotheses: str) -> NDArray[np.int32]:
        lines, packed = self._rows[measure.key, references, hypotheses]
        return unpack_counts(packed, lines, measure.chains)

    def _find_lengths(self, measure: Measure, references: str) -> NDArray[np.int32]:
        if (measure.key, references, _LENGTHS) not in self._rows:
            return np.zeros((0, 1), np.int32)
        lines, packed = self._rows[measure.key, references, _LENGTHS]
        return unpack_counts(packed, lines, (1,) * measure.reference_columns)
