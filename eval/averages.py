"""Averages over directions, by resource level; each with how many it holds and how many it lacks.

A direction's level is that of its poorer language. Very low is inside low and counted in both, as
NLLB does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError
from corpus.files import read_lines
from corpus.languages import Direction

VERY_LOW, LOW, HIGH = "very_low", "low", "high"
LEVELS = (VERY_LOW, LOW, HIGH)
"""Resource levels from poor to rich."""

ALL = "all"

_PIVOT = "pivot"
"""The language that all bitext shares; it has the most, so its level is high."""


class Average(NamedTuple):
    """A plain mean over the directions of a bucket."""

    system: str
    metric: str
    bucket: str
    mean: float | None
    n: int
    n_missing: int


def read_levels(path: Path) -> dict[str, str]:
    """Read the resource level of each language from a TSV with a header.

    Raises:
        DataError: If a column is missing, a row is short, or a level is none of `LEVELS`.
    """
    rows = [line.split("\t") for line in read_lines(path) if line]
    header = rows[0] if rows else []
    if "language" not in header or "resource" not in header:
        raise DataError(
            f"{path} needs the columns `language` and `resource`; its header is"
            f" `{' '.join(header)}`"
        )
    language, resource = header.index("language"), header.index("resource")
    levels = {}
    for number, row in enumerate(rows[1:], 2):
        level = row[resource].lower().replace(" ", "_") if len(row) == len(header) else ""
        level = HIGH if level == _PIVOT else level
        if level not in LEVELS:
            raise DataError(
                f"{path}:{number}: resource is `{level}`; it must be one of {', '.join(LEVELS)}"
            )
        levels[row[language]] = level
    return levels


def direction_level(direction: Direction, levels: Mapping[str, str]) -> str | None:
    """Return the level of a direction's poorer language; None if one of them has no level."""
    both = [levels.get(language) for language in direction]
    known = [LEVELS.index(level) for level in both if level is not None]
    return LEVELS[min(known)] if len(known) == len(both) else None


def average(
    values: Mapping[tuple[str, str, Direction], float],
    expected: Iterable[Direction],
    levels: Mapping[str, str],
) -> list[Average]:
    """Average the values of (system, metric, direction) over each bucket of directions.

    Args:
        values: Scores; what a system lacks is absent.
        expected: All directions that a complete system has.
        levels: Resource level of each language; empty gives the one bucket `all`.
    """
    directions = sorted(set(expected))
    averages = []
    for system, metric in sorted({(system, metric) for system, metric, _ in values}):
        for bucket, belongs in _buckets(levels).items():
            wanted = [direction for direction in directions if belongs(direction)]
            there = [
                values[system, metric, direction]
                for direction in wanted
                if (system, metric, direction) in values
            ]
            mean = sum(there) / len(there) if there else None
            lacking = len(wanted) - len(there)
            if wanted:
                averages.append(Average(system, metric, bucket, mean, len(there), lacking))
    return averages


def _buckets(levels: Mapping[str, str]) -> dict[str, Callable[[Direction], bool]]:
    buckets: dict[str, Callable[[Direction], bool]] = {ALL: lambda direction: True}
    members: dict[str, Sequence[str]] = {HIGH: (HIGH,), LOW: (LOW, VERY_LOW), VERY_LOW: (VERY_LOW,)}
    if levels:
        for name, inside in members.items():
            buckets[name] = lambda direction, inside=inside: (  # type: ignore[misc]
                direction_level(direction, levels) in inside
            )
    return buckets
