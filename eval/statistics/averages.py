"""Averages over the directions of a bucket, with how many are scored and how many missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from eval.metrics.metrics import signed_tokenizer
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
    tokenizers: str | None = None
    """The tokenizers, where the scores were computed with several and the mean mixes them."""


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
        self,
        system: str,
        metric: str,
        directions: list[Direction],
        scores: NDArray[np.floating[Any]],
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


def mixed_tokenizers(signatures: Iterable[str]) -> str | None:
    """Return the tokenizers that signatures name; None where all name the same, or none."""
    names = sorted({signed_tokenizer(signature) for signature in signatures})
    return ", ".join(names) if len(names) > 1 else None


def average(
    values: Mapping[Key, float],
    buckets: Mapping[str, frozenset[Direction]],
    resampled: ResampledMeans | None = None,
    confidence: float = 0.95,
    signatures: Mapping[Key, str] | None = None,
) -> list[Average]:
    """Average the values of (system, metric, direction) over each bucket of directions.

    Args:
        values: Scores; missing directions are absent.
        buckets: The directions that a complete system has in each bucket.
        resampled: The same means in every resample, for intervals.
        confidence: Of the intervals.
        signatures: Of the scores, to mark means over different tokenizers.
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
            mixed = mixed_tokenizers(
                (signatures or {}).get((system, metric, direction), "")
                for direction in wanted
                if direction in own
            )
            averages.append(
                Average(system, metric, bucket, mean, len(there), lacking, low, high, mixed)
            )
    return averages


def distinct_buckets(averages: Sequence[Average]) -> list[str]:
    """Return the buckets in order, less those whose figures are all those of one before."""
    figures: dict[str, list[Average]] = {}
    for one in averages:
        figures.setdefault(one.bucket, []).append(one._replace(bucket=""))
    seen: list[list[Average]] = []
    kept = []
    for bucket, own in figures.items():
        if own not in seen:
            seen.append(own)
            kept.append(bucket)
    return kept


def write_averages(path: Path, averages: Iterable[Average]) -> None:
    """Write averages as TSV; the column `tokenizers` is there only if a mean mixes several."""
    rows = list(averages)
    columns = Average._fields if any(one.tokenizers for one in rows) else Average._fields[:-1]
    write_table(path, columns, [one[: len(columns)] for one in rows])
