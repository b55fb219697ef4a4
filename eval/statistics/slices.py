"""Scores of parts of a test set: of a domain, a topic, a document, or of short and long lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError, UserError
from corpus.languages import Direction, parse_direction
from corpus.test_sets.files import TestFiles
from eval.metrics.measures import Statistics
from eval.metrics.metrics import find_metric
from eval.statistics.significance import can_resample, interval, resample_scores
from eval.tables import read_rows, write_table

FILE = "slices.tsv"
SLICES = "slices"
LENGTH = "length"
"""A column that every test set has: thirds of its lines by length."""

COLUMNS = ("system", "direction", "metric", "slice", "part", "value", "low", "high", "n")
NOTHING = "(none)"
"""Part of lines that the column says nothing of."""

_MOST_INTERVALS = 30
"""More parts than this are documents: they get scores without intervals."""

SLICES_SCHEMA = pa.schema(
    [
        ("system", pa.string()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("slice", pa.string()),
        ("part", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int32()),
    ]
)


class Slice(NamedTuple):
    """A row of `slices.tsv`: the score of the lines of one part."""

    system: str
    direction: Direction
    metric: str
    slice: str
    part: str
    value: float
    low: float | None
    high: float | None
    n: int


def slice_parts(
    tests: TestFiles, direction: Direction, sources: Sequence[str], names: Sequence[str]
) -> dict[str, list[str]]:
    """Return the part that each line belongs to, [N], by the name of the slice.

    Args:
        tests: The test set, with its columns.
        direction: Which of it.
        sources: Its sources, for the parts by length.
        names: Of the slices: columns of the set, or `length`.

    Raises:
        UserError: If the set has no such column; the message names those it has.
    """
    columns = tests.read_columns(direction)
    columns.setdefault(LENGTH, _thirds(sources))
    for name in names:
        if name not in columns:
            raise UserError(
                f"{tests.path} says nothing of `{name}` in {direction}; --slice takes"
                f" {', '.join(sorted(columns))}"
            )
    return {name: [value or NOTHING for value in columns[name]] for name in names}


def _thirds(sources: Sequence[str]) -> list[str]:
    lengths = [len(line) for line in sources]
    ordered = sorted(lengths)
    first, second = (ordered[len(ordered) * k // 3] if ordered else 0 for k in (1, 2))
    names = (
        f"short (under {first} characters)",
        f"medium ({first} to {second - 1})",
        f"long (from {second})",
    )
    return [names[(length >= first) + (length >= second)] for length in lengths]


def score_parts(
    metric: str, statistics: Statistics, parts: Sequence[str], resampling: tuple[int, int, float]
) -> list[tuple[str, float, float | None, float | None, int]]:
    """Return the score of each part, its interval and its number of lines, in order of the parts.

    Args:
        metric: Its name.
        statistics: Of one system in one direction, [N, S].
        parts: The part of each line, [N].
        resampling: Number of resamples, seed and confidence; without any there is no interval.
    """
    known = find_metric(metric)
    places: dict[str, list[int]] = defaultdict(list)
    for place, part in enumerate(parts):
        places[part].append(place)
    resamples, seed, confidence = resampling
    found = []
    for part, own in sorted(places.items()):
        rows = statistics[np.array(own)]
        low = high = None
        if resamples and len(places) <= _MOST_INTERVALS and can_resample(rows):
            low, high = interval(resample_scores(rows, known.score, resamples, seed), confidence)
        found.append((part, float(known.score(rows.sum(axis=0))), low, high, len(own)))
    return found


def read_parts(path: Path, target: str) -> list[Slice]:
    """Read the slices of one target language."""
    rows = pq.ParquetFile(path).read().to_pylist()
    return [
        Slice(direction=Direction(row["source"], target), **{k: row[k] for k in _OTHERS})
        for row in rows
    ]


_OTHERS = tuple(name for name in SLICES_SCHEMA.names if name != "source")


def write_slices(output: Path, slices: Iterable[Slice]) -> Path:
    """Write `slices.tsv`."""
    write_table(output / FILE, COLUMNS, ((one[0], str(one[1]), *one[2:]) for one in sorted(slices)))
    return output / FILE


def read_slices(output: Path) -> list[Slice]:
    """Read `slices.tsv`; nothing where there is none.

    Raises:
        DataError: If it is damaged.
    """
    if not (output / FILE).is_file():
        return []
    found = []
    for number, row in read_rows(output / FILE, COLUMNS):
        try:
            low, high = (float(row[name]) if row[name] else None for name in ("low", "high"))
            found.append(
                Slice(
                    row["system"],
                    parse_direction(row["direction"]),
                    row["metric"],
                    row["slice"],
                    row["part"],
                    float(row["value"]),
                    low,
                    high,
                    int(row["n"]),
                )
            )
        except (UserError, ValueError) as error:
            raise DataError(f"{output / FILE}:{number}: {error}") from None
    return found


class PartRow(NamedTuple):
    """A part of a slice with the scores of all systems, means over the directions that have it."""

    part: str
    n: int
    """Lines, of all directions."""
    directions: int
    values: dict[str, float]
    """By system."""


def order_systems(slices: Sequence[Slice], systems: Sequence[str]) -> list[str]:
    """Return the systems that have slices: those named in their order, then the others."""
    there = dict.fromkeys(one.system for one in slices)
    return [
        *(one for one in systems if one in there),
        *(one for one in there if one not in systems),
    ]


def summarize_slices(
    slices: Sequence[Slice], systems: Sequence[str]
) -> Mapping[tuple[str, str], list[PartRow]]:
    """Return the parts of each slice and metric, the lowest score of the first system first.

    Slices of few parts, as domains, come before those of many, as documents.
    """
    grouped: dict[tuple[str, str], dict[str, list[Slice]]] = {}
    for one in slices:
        grouped.setdefault((one.slice, one.metric), {}).setdefault(one.part, []).append(one)
    found = {}
    for key, parts in sorted(grouped.items(), key=lambda entry: len(entry[1])):
        rows = []
        for part, own in parts.items():
            values = {
                system: float(np.mean([one.value for one in own if one.system == system]))
                for system in systems
                if any(one.system == system for one in own)
            }
            lines = {one.direction: one.n for one in own}
            rows.append(PartRow(part, sum(lines.values()), len(lines), values))
        higher = find_metric(key[1]).higher_is_better
        first = systems[0] if systems else ""
        rows.sort(key=lambda row: (row.values.get(first, 0.0) * (1 if higher else -1), row.part))
        found[key] = rows
    return found
