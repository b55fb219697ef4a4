"""Correlation of people's scores of segments with those of metrics.

Pearson's r and Spearman's rho are over all segments of a direction, of all systems together.
Kendall's tau-b compares systems on one line and is averaged over lines (grouped by item, as in
Freitag et al. 2023), so that easy and hard lines do not count as agreement. Intervals are from
bootstrap samples of lines, each with all its systems; ranks are those of the whole.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from corpus.errors import DataError, UserError
from corpus.files import open_lines
from corpus.languages import Direction, parse_direction
from corpus.parquet import open_parquet
from eval.human.agreement import percentile_interval
from eval.human.correlation import Correlation, Floats, kendall, mean_ranks
from eval.human.judgments import Judgment, Scale

Segment = tuple[str, Direction, int]
"""System, direction and line, from 1."""

PEARSON, SPEARMAN, KENDALL = "pearson", "spearman", "kendall by line"
_COLUMNS = ("system", "source", "line")


class SegmentCorrelation(NamedTuple):
    """A coefficient of a direction."""

    direction: Direction
    metric: str
    coefficient: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Segments with both scores."""
    n_missing: int
    """Segments that people scored and the metric did not."""


def human_segments(
    judgments: Sequence[Judgment], scale: Scale, line_of: Callable[[Judgment], int]
) -> dict[Segment, float]:
    """Return the value of each segment over its annotators.

    Args:
        judgments: Those of systems.
        scale: Says how the scores of several annotators become one.
        line_of: Returns the line of a judgment's item, from 1.
    """
    scores: dict[Segment, list[float]] = defaultdict(list)
    for one in judgments:
        scores[one.system, one.direction, line_of(one)].append(one.score)
    return {segment: scale.item_value(values) for segment, values in scores.items()}


def number_in_item(item: str, first: int) -> int:
    """Return the line of an item that published tables number, as `doc:17` or `17`.

    Args:
        item: Its name.
        first: Number of the test set's first line.

    Raises:
        DataError: If the name does not end in a number.
    """
    text = item.rpartition(":")[2]
    if not text.isdecimal():
        raise DataError(
            f"item `{item}` is no number of a line of the test set, which the correlation of"
            " segments needs; leave out --segments, or give --sample for pages of `eval sample`"
        )
    return int(text) - first + 1


def read_segment_scores(paths: Sequence[Path]) -> dict[str, dict[Segment, float]]:
    """Return scores of segments by metric.

    Args:
        paths: Parquet files of `eval score` with `segments=true`, or JSON lines such as
            `segments.jsonl` of `eval learned`.

    Raises:
        DataError: If a file is neither, or two hold a score of one segment.
    """
    found: dict[str, dict[Segment, float]] = {}
    for path in paths:
        read = _read_parquet if path.suffix == ".parquet" else _read_json_lines
        for metric, scores in read(path).items():
            own = found.setdefault(metric, {})
            both = own.keys() & scores.keys()
            if both:
                system, direction, line = min(both)
                raise DataError(
                    f"{path}: line {line} of {system} {direction} has a {metric} score already in"
                    " another of the files"
                )
            own |= scores
    return found


def _read_parquet(path: Path) -> dict[str, dict[Segment, float]]:
    with open_parquet(path, path) as file:
        table = file.read(use_threads=False)
    metrics = [name for name in table.column_names if name not in _COLUMNS]
    if not set(_COLUMNS) <= set(table.column_names) or not all(
        pa.types.is_floating(table.schema.field(name).type) for name in metrics
    ):
        raise DataError(
            f"{path} is not what `eval score --config segments=true` writes; it has the columns"
            f" {', '.join(table.column_names)}"
        )
    try:
        keys = [
            (system, parse_direction(f"{source}-{path.stem}"), line)
            for system, source, line in zip(
                *(table.column(name).to_pylist() for name in _COLUMNS), strict=True
            )
        ]
    except UserError as error:
        raise DataError(f"{path} is named after its target language: {error}") from None
    return {name: dict(zip(keys, table.column(name).to_pylist(), strict=True)) for name in metrics}


def _read_json_lines(path: Path) -> dict[str, dict[Segment, float]]:
    metric = ""
    scores: dict[Segment, float] = {}
    for number, line in enumerate(open_lines(path), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            if not metric:
                metric = str(row["metric"])
                continue
            key = (str(row["system"]), parse_direction(str(row["direction"])), int(row["line"]))
            scores[key] = float(row["score"])
        except (KeyError, TypeError, ValueError, RecursionError, UserError) as error:
            raise DataError(
                f"{path}:{number}: not scores of segments: the first line is an object with"
                f" `metric`, the others have `system`, `direction`, `line` and `score`; {error}"
            ) from None
    if not scores:
        raise DataError(f"{path} has no scores of segments")
    return {metric: scores}


def correlate_segments(
    human: Mapping[Segment, float],
    metrics: Mapping[str, Mapping[Segment, float]],
    *,
    trials: int,
    seed: int,
    confidence: float,
) -> list[SegmentCorrelation]:
    """Return the coefficients of each direction and metric.

    Args:
        human: People's value of each segment.
        metrics: Scores of segments by metric.
        trials: Bootstrap samples of lines.
        seed: Of the samples.
        confidence: Coverage of the intervals.
    """
    found = []
    for direction in sorted({key[1] for key in human}):
        wanted = [key for key in sorted(human) if key[1] == direction]
        for metric, scores in sorted(metrics.items()):
            both = [key for key in wanted if key in scores]
            if not both:
                continue
            x = np.array([scores[key] for key in both])
            y = np.array([human[key] for key in both])
            lines = np.unique([key[2] for key in both], return_inverse=True)[1]
            draws = _draws(int(lines.max()) + 1, trials, seed)
            for name, value in _coefficients(x, y, lines, draws, confidence).items():
                counts = (len(both), len(wanted) - len(both))
                found.append(SegmentCorrelation(direction, metric, name, *value, *counts))
    return found


def _draws(lines: int, trials: int, seed: int) -> Floats:
    """Return how often each line is in each sample, [trials, lines]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(lines, np.full(lines, 1 / lines), trials).astype(np.float64)


def _coefficients(
    x: Floats, y: Floats, lines: np.ndarray[Any, Any], draws: Floats, confidence: float
) -> dict[str, Correlation]:
    return {
        PEARSON: _pearson(x, y, lines, draws, confidence),
        SPEARMAN: _pearson(mean_ranks(x), mean_ranks(y), lines, draws, confidence),
        KENDALL: _kendall(x, y, lines, draws, confidence),
    }


def _pearson(
    x: Floats, y: Floats, lines: np.ndarray[Any, Any], draws: Floats, confidence: float
) -> Correlation:
    """Return r and its interval from the sums of each line."""
    x, y = x - x.mean(), y - y.mean()
    sums = np.stack([
        np.bincount(lines, weights) for weights in (np.ones_like(x), x, y, x * x, y * y, x * y)
    ])  # fmt: skip

    def value(totals: Floats) -> Floats:
        n, sx, sy, sxx, syy, sxy = totals
        scale = (n * sxx - sx * sx) * (n * syy - sy * sy)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(scale > 0, (n * sxy - sx * sy) / np.sqrt(scale), np.nan)

    return _correlation(float(value(sums.sum(axis=1))), value(sums @ draws.T), confidence)


def _kendall(
    x: Floats, y: Floats, lines: np.ndarray[Any, Any], draws: Floats, confidence: float
) -> Correlation:
    """Return the mean over lines of tau-b between systems; lines without order are left out."""
    taus = np.full(draws.shape[1], np.nan)
    order = np.argsort(lines, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(lines[order])) + 1):
        value = kendall(x[own], y[own])
        taus[lines[own[0]]] = np.nan if value is None else value
    is_there = ~np.isnan(taus)
    if not is_there.any():
        return Correlation(None, None, None)
    weights = draws[:, is_there]
    with np.errstate(invalid="ignore", divide="ignore"):
        sampled = weights @ taus[is_there] / weights.sum(axis=1)
    return _correlation(float(taus[is_there].mean()), sampled, confidence)


def _correlation(value: float, sampled: Floats, confidence: float) -> Correlation:
    if np.isnan(value):
        return Correlation(None, None, None)
    there = sampled[~np.isnan(sampled)].tolist()
    interval = percentile_interval(there, confidence) if there else None
    low, high = interval if interval is not None else (None, None)
    return Correlation(value, low, high)
