"""Averages over the directions of a bucket, each with how many it holds and how many it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from eval.statistics.significance import interval
from eval.tables import write_table

Key = tuple[str, str, Direction]
"""System, metric, direction."""


class Average(NamedTuple):
    """A plain mean over the directions of a bucket."""

    system: str
    metric: str
    bucket: str
    mean: float | None
    n: int
    n_missing: int
    low: float | None = None
    """Lower end of the interval; None where nothing was resampled."""
    high: float | None = None


class ResampledMeans:
    """Means over buckets in every resample of the lines, gathered file by file.

    FLORES is multi-parallel: resample i has the same lines in every direction, so the mean over
    directions in resample i is what the whole test would have given with those lines.
    """

    def __init__(self, buckets: Mapping[str, frozenset[Direction]]) -> None:
        """Start with nothing."""
        self._buckets = buckets
        self._sums: dict[tuple[str, str], NDArray[np.float64]] = {}

    def add(
        self, system: str, metric: str, directions: list[Direction], scores: NDArray[np.float32]
    ) -> None:
        """Add the resampled scores of some directions, [directions, resamples]."""
        inside = np.array(
            [[pair in members for pair in directions] for members in self._buckets.values()],
            np.float64,
        )
        added = inside @ scores.astype(np.float64)
        self._sums[system, metric] = self._sums.get((system, metric), 0.0) + added

    def interval(
        self, system: str, metric: str, bucket: str, n: int, confidence: float
    ) -> tuple[float, float] | None:
        """Return the interval of a mean over `n` directions; None where nothing was added."""
        sums = self._sums.get((system, metric))
        if sums is None or not sums.shape[1]:
            return None
        return interval(sums[list(self._buckets).index(bucket)] / n, confidence)


def average(
    values: Mapping[Key, float],
    buckets: Mapping[str, frozenset[Direction]],
    resampled: ResampledMeans | None = None,
    confidence: float = 0.95,
) -> list[Average]:
    """Average the values of (system, metric, direction) over each bucket of directions.

    Args:
        values: Scores; what a system lacks is absent.
        buckets: The directions that a complete system has in each bucket.
        resampled: The same means in every resample, for intervals.
        confidence: Of the intervals.
    """
    grouped: dict[tuple[str, str], dict[Direction, float]] = {}
    for (system, metric, direction), value in values.items():
        grouped.setdefault((system, metric), {})[direction] = value
    averages = []
    for (system, metric), own in sorted(grouped.items()):
        for bucket, wanted in buckets.items():
            there = [own[direction] for direction in sorted(wanted) if direction in own]
            mean = sum(there) / len(there) if there else None
            ends = None
            if resampled is not None and there:
                ends = resampled.interval(system, metric, bucket, len(there), confidence)
            low, high = ends or (None, None)
            lacking = len(wanted) - len(there)
            averages.append(Average(system, metric, bucket, mean, len(there), lacking, low, high))
    return averages


def write_averages(path: Path, averages: Iterable[Average]) -> None:
    """Write averages as TSV with a header; an empty cell is a value there is not."""
    write_table(path, Average._fields, averages)
