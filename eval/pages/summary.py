"""The scores of one system beside its baseline, as reports show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corpus.languages import Direction
from eval.hypotheses import COPY
from eval.metrics.metrics import without_references
from eval.statistics.buckets import direction_level
from eval.statistics.results import Row

BASELINE_METRIC = "chrf++"
"""Metric that decides whether a direction is above its baseline."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one system and of the copy baseline."""

    rows: Sequence[Row]
    levels: Mapping[str, str]

    @property
    def directions(self) -> list[Direction]:
        """All scored directions, sorted."""
        return sorted({row.direction for row in self.rows})

    @property
    def metrics(self) -> list[str]:
        """All metrics, sorted."""
        return sorted({row.metric for row in self.rows})

    @property
    def signatures(self) -> list[str]:
        """Metric and signature of all scores, each once, less the hash of the references."""
        return sorted({f"{r.metric}: {without_references(r.signature)}" for r in self.rows})

    def values(self, metric: str) -> dict[Direction, float]:
        """Return the system's score in each direction that has one."""
        return {r.direction: r.value for r in self.rows if r.metric == metric and r.system != COPY}

    def copies(self, metric: str) -> dict[Direction, float]:
        """Return the baseline's score in each direction that has one."""
        return {r.direction: r.value for r in self.rows if r.metric == metric and r.system == COPY}

    @property
    def above_baseline(self) -> tuple[int, int]:
        """How many directions beat the baseline, and in how many both have a score."""
        values, copies = self.values(BASELINE_METRIC), self.copies(BASELINE_METRIC)
        both = [direction for direction in values if direction in copies]
        return sum(values[direction] > copies[direction] for direction in both), len(both)

    def mean_of(self, metric: str, directions: Sequence[Direction]) -> float | None:
        """Return the mean over the scored ones of some directions; None if there is none."""
        values = self.values(metric)
        there = [values[direction] for direction in directions if direction in values]
        return sum(there) / len(there) if there else None

    def mean(self, metric: str, level: str | None) -> float | None:
        """Return the mean over the directions of a resource level; None means all."""
        chosen = [
            direction
            for direction in self.directions
            if level is None or direction_level(direction, self.levels) == level
        ]
        return self.mean_of(metric, chosen)


def summarize(rows: Sequence[Row], levels: Mapping[str, str]) -> ScoreTable:
    """Choose the rows of the first system, by name, and of the copy baseline."""
    systems = sorted({row.system for row in rows if row.system != COPY})
    chosen = [row for row in rows if row.system in (*systems[:1], COPY)]
    return ScoreTable(chosen, levels)
