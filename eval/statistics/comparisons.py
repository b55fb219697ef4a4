"""The results of a comparison, and its tables: by direction, by bucket, beside quoted numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from eval.metrics.metrics import find_metric
from eval.statistics.averages import mixed_tokenizers
from eval.statistics.buckets import is_main
from eval.statistics.significance import TIE, interval, minimum_detectable
from eval.tables import write_table

COLUMNS = (
    "direction", "first", "second", "difference", "p_value", "significant", "n", "baseline",
    "system", "metric", "low", "high", "minimum_detectable", "signature",
)  # fmt: skip
QUOTED_COLUMNS = ("system", "direction", "metric", "measured", "quoted", "difference", "status")
BUCKET_COLUMNS = (
    "system", "bucket", "n", "wins", "ties", "losses", "mean_difference", "low", "high",
    "minimum_detectable",
)  # fmt: skip


class Comparison(NamedTuple):
    """A system beside the first one in one direction.

    `second` and what follows from it is None where the first stands alone, beside quoted numbers.
    """

    direction: Direction
    first: float
    second: float | None
    p_value: float | None
    significant: bool
    """After control of the false discovery rate over all directions and systems."""
    n: int
    baseline: str
    system: str | None
    metric: str
    low: float | None
    """Lower end of the interval of the difference."""
    high: float | None
    minimum_detectable: float | None
    """Difference that is found four times out of five; see `eval.statistics.significance`."""
    signature: str

    @property
    def difference(self) -> float | None:
        """How much more the second has."""
        return None if self.second is None else self.second - self.first

    @property
    def outcome(self) -> int:
        """1 if the second is better beyond chance, -1 if it is worse, 0 otherwise."""
        if not self.significant or self.difference is None or abs(self.difference) <= TIE:
            return 0
        is_better = (self.difference > 0) == find_metric(self.metric).higher_is_better
        return 1 if is_better else -1


class Quoted(NamedTuple):
    """A published number beside a measured one: no test can be made of it."""

    system: str
    direction: Direction
    metric: str
    measured: float
    quoted: float


def summarize_buckets(
    comparisons: Sequence[Comparison],
    differences: Mapping[tuple[str, Direction], NDArray[np.float32]],
    buckets: Mapping[str, frozenset[Direction]],
    alpha: float,
    confidence: float,
) -> list[dict[str, Any]]:
    """Count wins, ties and losses of each system in each bucket, with the mean difference.

    Its interval and minimum detectable difference come from resamples of the same lines in all
    directions, so directions are not taken for independent of each other.
    """
    systems = sorted({one.system for one in comparisons if one.system is not None})
    summaries = []
    for system in systems:
        own = {one.direction: one for one in comparisons if one.system == system}
        for bucket, members in buckets.items():
            found = [own[direction] for direction in sorted(members) if direction in own]
            if not found:
                continue
            outcomes = [one.outcome for one in found]
            rows = [differences[system, one.direction] for one in found]
            low = high = detectable = None
            if all(map(len, rows)):  # of a single line there are no resamples
                resampled = np.array(rows, np.float64).sum(axis=0) / len(rows)
                low, high = interval(resampled, confidence)
                detectable = minimum_detectable(resampled, alpha)
            summaries.append(
                {
                    "system": system,
                    "bucket": bucket,
                    "n": len(found),
                    "wins": outcomes.count(1),
                    "ties": outcomes.count(0),
                    "losses": outcomes.count(-1),
                    "mean_difference": float(np.mean([one.difference or 0.0 for one in found])),
                    "low": low,
                    "high": high,
                    "minimum_detectable": detectable,
                    "tokenizers": mixed_tokenizers(one.signature for one in found),
                }
            )
    return summaries


def main_buckets(summaries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the buckets to show: not by script or column, and none with the figures of another."""
    seen: list[dict[str, Any]] = []
    kept = []
    for row in summaries:
        figures = {name: value for name, value in row.items() if name != "bucket"}
        if is_main(row["bucket"]) and figures not in seen:
            seen.append(figures)
            kept.append(row)
    return kept


def write_comparison(
    output: Path,
    comparisons: Sequence[Comparison],
    quoted: Sequence[Quoted],
    summaries: Sequence[Mapping[str, Any]],
) -> None:
    """Write comparison.tsv, buckets.tsv, and quoted.tsv if there are published numbers."""
    rows: list[list[Any]] = [[getattr(one, name) for name in COLUMNS] for one in comparisons]
    write_table(output / "comparison.tsv", COLUMNS, rows)
    columns = list(BUCKET_COLUMNS)
    if any(row["tokenizers"] for row in summaries):
        columns.append("tokenizers")
    rows = [[row[name] for name in columns] for row in summaries]
    write_table(output / "buckets.tsv", columns, rows)
    if quoted:
        rows = [[*one, one.quoted - one.measured, "quoted, not measured"] for one in quoted]
        write_table(output / "quoted.tsv", QUOTED_COLUMNS, rows)
