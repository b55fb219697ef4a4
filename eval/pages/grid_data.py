"""The data of the page of scores for its script: the grid of scores, packed, and example lines.

A score takes two bytes. 41,412 directions in one metric are 83 kB, and 110 kB as base64.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction

Values = Mapping[tuple[str, str, Direction], float]
"""Scores by system, metric and direction."""

Interval = tuple[float, float]

MISSING = -32768
"""Stands in the packed scores for a missing direction."""

_SCALES = (100, 10, 1)
"""Scores are multiplied by the largest of these under which they fit two bytes."""

_MOST = 32767
DECIMALS = 1


@dataclass(frozen=True, kw_only=True)
class GridLanguage:
    """A row and a column of the grid."""

    code: str
    name: str
    script: str
    family: str
    """Empty where it is not known."""
    level: str
    """Resource level: high, low, very_low, or empty."""
    lines: int
    """Training sentences; 0 where they are not known."""


@dataclass(frozen=True, kw_only=True)
class SegmentLine:
    """A line of the test set with what the systems made of it."""

    line: int
    """Its number, from 1."""
    source: str
    reference: str
    hypotheses: Sequence[str | None]
    """Of each system; None where it has no file."""
    scores: Sequence[float | None]
    """Sentence scores of each system."""


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Example lines by direction."""

    metric: str
    """What the lines are scored with."""
    directions: Mapping[Direction, Sequence[SegmentLine]]


def grid_data(
    values: Values,
    systems: Sequence[str],
    languages: Sequence[GridLanguage],
    intervals: Mapping[tuple[str, str], Mapping[str, Mapping[str, Interval]]],
    segments: Segments | None,
    counts: str = "",
) -> dict[str, Any]:
    """Return the JSON that `grid.js` reads.

    Args:
        values: All scores.
        systems: The systems, in the order of the page.
        languages: Every language of a direction in `values`.
        intervals: By system and metric: `source` and `target`, each with the interval of a
            language's mean as that side.
        segments: Example lines; None for a page without.
        counts: What the counts of training sentences were published with; empty for a person's own.
    """
    metrics = list(dict.fromkeys(metric for _, metric, _ in values))
    place = {language.code: number for number, language in enumerate(languages)}
    directions = sorted(
        {direction for _, _, direction in values}, key=lambda one: _cell(one, place)
    )
    cells = [_cell(direction, place) for direction in directions]
    is_whole = len(directions) == len(languages) * (len(languages) - 1)
    scales = [_scale(values, metric) for metric in metrics]
    return {
        "languages": [asdict(language) for language in languages],
        "systems": list(systems),
        "metrics": metrics,
        "scales": scales,
        "decimals": DECIMALS,
        "counts": counts,
        "cells": None if is_whole else _packed(np.array(cells, "<u2")),
        "scores": [
            [
                _pack([values.get((system, metric, one)) for one in directions], scale)
                for metric, scale in zip(metrics, scales, strict=True)
            ]
            for system in systems
        ],
        "intervals": [
            [intervals.get((system, metric), {}) for metric in metrics] for system in systems
        ],
        "segment_metric": segments.metric if segments else "",
        "segments": {
            str(direction): [asdict(line) for line in lines]
            for direction, lines in (segments.directions if segments else {}).items()
        },
    }


def _cell(direction: Direction, place: Mapping[str, int]) -> int:
    return place[direction.source] * len(place) + place[direction.target]


def _scale(values: Values, metric: str) -> int:
    most = max((abs(value) for (_, own, _), value in values.items() if own == metric), default=0)
    return next((scale for scale in _SCALES if most * scale <= _MOST), 1)


def _pack(scores: Sequence[float | None], scale: int) -> str | None:
    """Return scores in two bytes each; None where a system has none of them."""
    if all(score is None for score in scores):
        return None
    numbers = [MISSING if score is None else _rounded(score * scale) for score in scores]
    return _packed(np.array(numbers, "<i2"))


def _rounded(value: float) -> int:
    return max(-_MOST, min(_MOST, round(value)))


def _packed(numbers: NDArray[Any]) -> str:
    return base64.b64encode(numbers.tobytes()).decode("ascii")
