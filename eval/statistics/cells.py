"""Scores of one target language: every system and source, from its statistics file.

A shard is a target language, so that references are counted once and a grid of 40,602 directions
makes two files per language instead of one per cell.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import digest_file
from corpus.flores import read_split
from corpus.jobs import Outcome, Task
from corpus.records import write_table
from eval.config import ScoreConfig
from eval.hypotheses import Oddities, Systems, check_lengths, find_oddities
from eval.metrics.measures import Statistics
from eval.metrics.metrics import MetricModels, check_models, find_measure, find_metric, sign
from eval.metrics.sentencepiece_models import find_spm
from eval.statistics.significance import can_resample, interval, resample_scores
from eval.statistics.store import StatisticsFile, Text, read_text

CELLS = "cells"
STATISTICS = "statistics"
SEGMENTS = "segments"

_ODDITIES = [(name, pa.int32()) for name in Oddities._fields]
CELLS_SCHEMA = pa.schema(
    [
        ("system", pa.string()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("sentence_mean", pa.float64()),
        ("n", pa.int32()),
        ("signature", pa.string()),
        ("hypotheses", pa.string()),
        *_ODDITIES,
        ("resamples", pa.list_(pa.float32())),
    ]
)
"""A row per system, source and metric; `resamples` are the scores that the interval comes from."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the texts of a test set are, and how cells are scored; picklable."""

    flores: Path
    split: str
    output: Path
    store: Path
    metrics: tuple[str, ...]
    models: MetricModels
    resamples: int = 0
    seed: int = 0
    confidence: float = 0.95
    segments: bool = False

    def text(self, language: str) -> Path:
        """Return the file of a language in the split."""
        return self.flores / self.split / f"{language}.{self.split}"

    def cells(self, target: str) -> Path:
        """Return the file of a target language's scores."""
        return self.output / CELLS / f"{target}.parquet"

    def statistics(self, target: str) -> Path:
        """Return the file of a target language's statistics."""
        return self.store / f"{target}.parquet"


def make_grid(
    flores: Path, split: str, output: Path, metrics: Sequence[str], config: ScoreConfig
) -> Grid:
    """Return where everything is and how it is scored.

    Raises:
        UserError: If the SentencePiece model is missing, or BLEU's tokenizer is.
        DataError: If the file is no SentencePiece model.
    """
    spm = find_spm(config.spm) if any(find_metric(name).needs_spm for name in metrics) else None
    grid = Grid(
        flores=flores,
        split=split,
        output=output,
        store=config.store or output / STATISTICS,
        metrics=tuple(metrics),
        models=MetricModels(spm=spm, bleu_tokenizer=config.bleu_tokenizer),
        resamples=config.resamples,
        seed=config.seed,
        confidence=config.confidence,
        segments=config.segments,
    )
    check_models(metrics, grid.models)
    return grid


def check_texts(systems: Systems, grid: Grid) -> None:
    """Check that the split has a file for every language, line-aligned and not empty.

    Raises:
        UserError: If one is missing.
        DataError: If they differ in length or have no lines.
    """
    languages = sorted({code for files in systems.values() for pair in files for code in pair})
    texts = read_split(grid.flores, grid.split, languages)
    if not next(iter(texts.values())):
        raise DataError(f"{grid.flores}/{grid.split} has no lines; there is nothing to score")


def check_hypotheses(tasks: Sequence[Task], grid: Grid) -> None:
    """Check the lengths of all hypotheses of the tasks that are to be done.

    Raises:
        DataError: If one has no lines, or not as many as its references.
    """
    lines: dict[Path, int] = {}
    pairs = []
    for task in tasks:
        references = grid.text(task.name)
        lines[references] = len(read_split(grid.flores, grid.split, [task.name])[task.name])
        pairs += [(path, references) for path in task.inputs[: len(task.arguments["cells"])]]
    check_lengths(pairs, lines)


def target_tasks(systems: Systems, grid: Grid) -> list[Task]:
    """Return a task per target language, sorted; it names its systems, sources and settings."""
    languages = sorted({code for files in systems.values() for pair in files for code in pair})
    digests = {code: digest_file(grid.text(code)) for code in languages}
    spm = () if grid.models.spm is None else (grid.models.spm,)
    grouped: dict[str, list[tuple[str, str, Path]]] = {}
    for system, files in sorted(systems.items()):
        for direction, path in sorted(files.items()):
            grouped.setdefault(direction.target, []).append((system, direction.source, path))
    return [
        Task(
            name=target,
            inputs=(*(path for _, _, path in cells), grid.text(target), *spm),
            arguments={
                "cells": [[system, source] for system, source, _ in cells],
                "sources": [digests[source] for _, source, _ in cells],
                "metrics": list(grid.metrics),
                "bleu_tokenizer": grid.models.tokenizer(target),
                "resamples": [grid.resamples, grid.seed, grid.confidence],
                "segments": grid.segments,
            },
        )
        for target, cells in sorted(grouped.items())
    ]


def score_target(task: Task, *, grid: Grid) -> Outcome:
    """Score all cells of a target language; texts in its statistics file are not counted again."""
    names: list[tuple[str, str]] = [(system, source) for system, source in task.arguments["cells"]]
    references = read_text(grid.text(task.name))
    texts = [read_text(path) for path in task.inputs[: len(names)]]
    for text, path in zip(texts, task.inputs, strict=False):
        if len(text.lines) != len(references.lines):
            raise DataError(
                f"{path} has {len(text.lines):,} lines and {grid.text(task.name)} has"
                f" {len(references.lines):,}"
            )
    sources = {source: read_text(grid.text(source)).lines for _, source in set(names)}
    oddities = [
        find_oddities(text.lines, sources[source], references.lines, text.invalid_lines)
        for text, (_, source) in zip(texts, names, strict=True)
    ]
    statistics, counted = load_statistics(grid, task.name, references, texts)
    signatures = {
        metric: sign(metric, grid.models, task.name, references.digest) for metric in grid.metrics
    }
    cells = [
        {
            "system": system,
            "source": source,
            "metric": metric,
            "signature": signatures[metric],
            "hypotheses": text.digest,
            "n": len(text.lines),
            **_score(metric, statistics[metric][place], grid),
            **odd._asdict(),
        }
        for place, ((system, source), text, odd) in enumerate(
            zip(names, texts, oddities, strict=True)
        )
        for metric in grid.metrics
    ]
    write_table(grid.cells(task.name), pa.Table.from_pylist(cells, CELLS_SCHEMA))
    outputs = [grid.cells(task.name), grid.statistics(task.name)]
    if grid.segments:
        outputs.append(_write_segments(grid, task.name, names, statistics))
    else:  # those of an earlier run may be of other hypotheses
        _segments_file(grid, task.name).unlink(missing_ok=True)
    lines = sum(len(text.lines) for text in texts)
    counts = {"cells": len(names), "counted": counted, "lines": lines}
    return Outcome(counts=counts, outputs=tuple(outputs))


def load_statistics(
    grid: Grid, target: str, references: Text, texts: Sequence[Text]
) -> tuple[dict[str, Statistics], int]:
    """Return each metric's statistics of each text, [texts, N, S]; count what is not stored.

    Returns:
        The statistics by metric, and how many files had to be counted.
    """
    file = StatisticsFile(grid.statistics(target))
    expanded: dict[str, Statistics] = {}
    counted = 0
    for metric in grid.metrics:
        measure = find_measure(metric, grid.models, target)
        if measure.key not in expanded:
            counts, lacked = file.count(measure, references, texts)
            expanded[measure.key] = measure.expand(counts.hypotheses, counts.references)
            counted = max(counted, lacked)
    file.save()
    by_metric = {}
    for metric in grid.metrics:
        rows = expanded[find_measure(metric, grid.models, target).key]
        by_metric[metric] = rows[..., : find_metric(metric).columns]
    return by_metric, counted


def _score(metric: str, statistics: Statistics, grid: Grid) -> dict[str, Any]:
    known = find_metric(metric)
    scores: NDArray[np.float32] = np.empty(0, np.float32)
    low = high = None
    if grid.resamples and can_resample(statistics):
        resampled = resample_scores(statistics, known.score, grid.resamples, grid.seed)
        low, high = interval(resampled, grid.confidence)
        scores = resampled.astype(np.float32)
    return {
        "value": float(known.score(statistics.sum(axis=0))),
        "low": low,
        "high": high,
        "sentence_mean": float(known.score_sentences(statistics).mean()),
        "resamples": scores,
    }


def _segments_file(grid: Grid, target: str) -> Path:
    return grid.output / SEGMENTS / f"{target}.parquet"


def _write_segments(
    grid: Grid, target: str, names: Sequence[tuple[str, str]], statistics: Mapping[str, Statistics]
) -> Path:
    """Write the score of every sentence: a row per system, source and line."""
    lines = next(iter(statistics.values())).shape[1]
    columns: dict[str, Any] = {
        "system": pa.array(np.repeat([system for system, _ in names], lines)),
        "source": pa.array(np.repeat([source for _, source in names], lines)),
        "line": pa.array(np.tile(np.arange(1, lines + 1, dtype=np.int32), len(names))),
    }
    for metric, rows in statistics.items():
        columns[metric] = pa.array(find_metric(metric).score_sentences(rows).ravel())
    path = _segments_file(grid, target)
    write_table(path, pa.table(columns))
    return path


@functools.cache
def _plain_columns() -> list[str]:
    return [name for name in CELLS_SCHEMA.names if name != "resamples"]


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a cells file, without the resamples."""
    rows: list[dict[str, Any]] = pq.read_table(path, columns=_plain_columns()).to_pylist()
    return rows


def read_resamples(path: Path) -> NDArray[np.float32]:
    """Read the resampled scores of a cells file's rows, [rows, resamples]."""
    column = pq.read_table(path, columns=["resamples"]).column(0)
    rows = len(column)
    flat: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(rows, -1) if rows else np.empty((0, 0), np.float32)
