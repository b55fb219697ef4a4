"""Scores checked against sacrebleu itself: a random sample, every integer and the score."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from corpus.errors import TonguesError
from corpus.languages import Direction
from eval.hypotheses import Systems
from eval.metrics.metrics import build_peer, find_metric
from eval.statistics.cells import Grid, load_statistics, read_hypotheses
from eval.statistics.results import Scores
from eval.statistics.store import read_references

TOLERANCE = 1e-9


class Checked(NamedTuple):
    """How much was scored again."""

    cells: int
    segments: int


def check_with_sacrebleu(
    scores: Scores, systems: Systems, grid: Grid, number: int, seed: int
) -> Checked:
    """Score a random sample of cells with sacrebleu as well, from their text.

    Args:
        scores: What was found.
        systems: The files of hypotheses, the copy baseline's among them.
        grid: As they were scored.
        number: Cells to draw; each is a system, a direction and a metric.
        seed: Of the sample.

    Raises:
        TonguesError: If any integer differs, or a score by more than 1e-9.
    """
    rows = sorted(scores.rows, key=lambda row: (row.system, row.direction, row.metric))
    sample = random.Random(seed).sample(rows, min(number, len(rows)))
    segments = 0
    problems = []
    for row in sample:
        path = systems[row.system][row.direction]
        problem, lines = _check(row.metric, row.value, row.direction, path, grid)
        segments += lines
        if problem:
            problems.append(f"{path}, {row.metric}: {problem}")
    if problems:
        listed = "\n".join(problems)
        raise TonguesError(
            f"sacrebleu scores {len(problems)} of {len(sample)} cells otherwise:\n{listed}\nThis is"
            " a bug here or another sacrebleu than was tested with; please report it."
        )
    return Checked(len(sample), segments)


def _check(
    metric: str, value: float, direction: Direction, path: Path, grid: Grid
) -> tuple[str, int]:
    references = read_references(grid.tests.reference_files(direction))
    hypotheses = read_hypotheses(path, grid)
    found = load_statistics(grid, direction.target, references, [hypotheses])[0][metric][0]
    peer = build_peer(metric, grid.models, direction.target)
    streams = [list(text.lines) for text in references.texts]
    wanted = peer._extract_corpus_statistics(list(hypotheses.lines), streams)
    scale = len(streams) if find_metric(metric).averages_length else 1
    for number, (ours, theirs) in enumerate(zip(found.tolist(), wanted, strict=True), 1):
        if ours != [scale * one for one in theirs]:
            return f"line {number} has the statistics {list(theirs)} and here {ours}", number
    score = peer._aggregate_and_compute(wanted).score
    if abs(score - value) > TOLERANCE:
        return f"{score!r} and here {value!r}", len(wanted)
    return "", len(wanted)
