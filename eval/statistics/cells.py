"""Scores of one target language: every system and source, from its statistics file.

A shard is a target language, so that references are counted once and a grid of 40,602 directions
makes two files per language instead of one per cell.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import digest_file, read_lines
from corpus.flores import read_split
from corpus.jobs import Outcome, Task
from corpus.languages import Direction
from corpus.records import read_as_written, write_table
from corpus.test_sets.files import TestFiles
from corpus.test_sets.find import FLORES_200
from eval.config import ScoreConfig
from eval.hypotheses import Oddities, Systems, check_lengths, find_oddities
from eval.metrics.measures import Statistics
from eval.metrics.metrics import (
    MetricModels,
    check_models,
    digest_lines,
    find_measure,
    find_metric,
    sign,
)
from eval.metrics.sentencepiece_models import find_spm
from eval.statistics.significance import can_resample, interval, resample_scores
from eval.statistics.slices import SLICES, SLICES_SCHEMA, score_parts, slice_parts
from eval.statistics.store import (
    References,
    StatisticsFile,
    Text,
    read_references,
    read_text,
)

CELLS = "cells"
STATISTICS = "statistics"
SEGMENTS = "segments"
TEST_SET = "test_set"
"""Directories in the output."""

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

    tests: TestFiles
    output: Path
    store: Path
    metrics: tuple[str, ...]
    models: MetricModels
    resamples: int = 0
    seed: int = 0
    confidence: float = 0.95
    segments: bool = False
    slices: tuple[str, ...] = ()
    """Columns of the test set whose parts are scored on their own."""

    def cells(self, target: str) -> Path:
        """Return the file of a target language's scores."""
        return self.output / CELLS / f"{target}.parquet"

    def slices_file(self, target: str) -> Path:
        """Return the file of a target language's scores by part."""
        return self.output / SLICES / f"{target}.parquet"

    def statistics(self, target: str) -> Path:
        """Return the file of a target language's statistics."""
        return self.store / f"{target}.parquet"


def make_grid(tests: TestFiles, output: Path, metrics: Sequence[str], config: ScoreConfig) -> Grid:
    """Return where everything is and how it is scored.

    Raises:
        UserError: If the SentencePiece model is missing, or BLEU's tokenizer is.
        DataError: If the file is not a SentencePiece model.
    """
    spm = find_spm(config.spm) if any(find_metric(name).needs_spm for name in metrics) else None
    grid = Grid(
        tests=tests,
        output=output,
        store=config.store or output / STATISTICS,
        metrics=tuple(metrics),
        models=MetricModels(spm=spm, bleu_tokenizer=config.bleu_tokenizer),
        resamples=config.resamples,
        seed=config.seed,
        confidence=config.confidence,
        segments=config.segments,
        slices=config.slices,
    )
    check_models(metrics, grid.models)
    return grid


def check_texts(systems: Systems, grid: Grid) -> None:
    """Check that there is a text for every language, line-aligned and not empty.

    Raises:
        UserError: If one is missing.
        DataError: If they differ in length or have no lines.
    """
    tests = grid.tests
    directions = sorted({pair for files in systems.values() for pair in files})
    if tests.kind == FLORES_200 and tests.directory == tests.path / tests.split:
        languages = sorted({code for pair in directions for code in pair})
        texts = read_split(tests.path, tests.split, languages)
        is_empty = not next(iter(texts.values()))
    else:
        is_empty = any(not read_text(tests.source_file(pair)).lines for pair in directions)
    if is_empty:
        raise DataError(
            f"{tests.path}{f'/{tests.split}' if tests.split else ''} has no lines; there is"
            " nothing to score"
        )


def check_hypotheses(tasks: Sequence[Task], grid: Grid) -> None:
    """Check the lengths of all hypotheses of the tasks that are to be done.

    Raises:
        DataError: If one has no lines, or not as many as its references.
    """
    lines: dict[Path, int] = {}
    pairs = []
    for task in tasks:
        for (_, source), path in zip(task.arguments["cells"], task.inputs, strict=False):
            references = grid.tests.reference_files(Direction(source, task.name))[0]
            if references not in lines:
                lines[references] = len(read_lines(references))
            pairs.append((path, references))
    check_lengths(pairs, lines, grid.tests.size)


def target_tasks(systems: Systems, grid: Grid) -> list[Task]:
    """Return a task per target language, sorted; it names its systems, sources and settings."""
    digests: dict[Path, str] = {}
    spm = () if grid.models.spm is None else (grid.models.spm,)
    grouped: dict[str, list[tuple[str, Direction, Path]]] = {}
    for system, files in sorted(systems.items()):
        for direction, path in sorted(files.items()):
            grouped.setdefault(direction.target, []).append((system, direction, path))
            source = grid.tests.source_file(direction)
            if source not in digests:
                digests[source] = digest_file(source)
    tasks = []
    for target, cells in sorted(grouped.items()):
        references = {
            path: None
            for _, direction, _ in cells
            for path in grid.tests.reference_files(direction)
        }
        tasks.append(
            Task(
                name=target,
                inputs=(*(path for _, _, path in cells), *references, *spm),
                arguments={
                    "cells": [[system, direction.source] for system, direction, _ in cells],
                    "sources": [
                        digests[grid.tests.source_file(direction)] for _, direction, _ in cells
                    ],
                    "metrics": list(grid.metrics),
                    "bleu_tokenizer": grid.models.tokenizer(target),
                    "resamples": [grid.resamples, grid.seed, grid.confidence],
                    "segments": grid.segments,
                    **_slice_arguments(grid),
                },
            )
        )
    return tasks


def _slice_arguments(grid: Grid) -> dict[str, Any]:
    """Return what parts depend on; nothing without any, so that receipts stay as they were."""
    if not grid.slices:
        return {}
    tests = grid.tests
    told = [tests.columns] if tests.by_language else sorted(tests.directory.glob("*columns.tsv"))
    digests = [digest_file(path) for path in told if path is not None and path.is_file()]
    return {"slices": list(grid.slices), "columns": digests}


class TargetTexts(NamedTuple):
    """The texts of a task: of each cell its hypotheses and, by file, its references."""

    names: list[tuple[str, str]]
    """System and source of each cell."""
    hypotheses: list[Text]
    groups: list[tuple[References, list[int]]]
    """References, and the places of the cells that have them."""


def read_target(task: Task, grid: Grid) -> TargetTexts:
    """Read the hypotheses and references of a target language; references once each.

    Raises:
        DataError: If hypotheses and references differ in length.
    """
    names: list[tuple[str, str]] = [(system, source) for system, source in task.arguments["cells"]]
    places: dict[tuple[Path, ...], list[int]] = {}
    for place, (_, source) in enumerate(names):
        files = grid.tests.reference_files(Direction(source, task.name))
        places.setdefault(files, []).append(place)
    texts = [read_hypotheses(path, grid) for path in task.inputs[: len(names)]]
    groups = []
    for files, own in places.items():
        references = read_references(files)
        for place in own:
            if len(texts[place].lines) != len(references.lines):
                raise DataError(
                    f"{task.inputs[place]} has {len(texts[place].lines):,} lines and {files[0]} has"
                    f" {len(references.lines):,}"
                )
        groups.append((references, own))
    return TargetTexts(names, texts, groups)


def read_hypotheses(path: Path, grid: Grid) -> Text:
    """Read hypotheses; of those of a whole set only the lines that are scored."""
    text = read_text(path)
    lines = grid.tests.keep(text.lines)
    return text if lines is text.lines else Text(lines, digest_lines(lines), text.invalid_lines)


def score_target(task: Task, *, grid: Grid) -> Outcome:
    """Score all cells of a target language; texts in its statistics file are not counted again."""
    names, texts, groups = read_target(task, grid)
    directions = {source: Direction(source, task.name) for _, source in names}
    sources = {
        source: read_text(grid.tests.source_file(direction)).lines
        for source, direction in directions.items()
    }
    statistics, counted = load_target_statistics(grid, task.name, texts, groups)
    cells: list[list[dict[str, Any]]] = [[] for _ in names]
    for references, places in groups:
        signatures = {
            metric: sign(metric, grid.models, task.name, references.digest, len(references.texts))
            for metric in grid.metrics
        }
        for place in places:
            system, source = names[place]
            text = texts[place]
            odd = find_oddities(text.lines, sources[source], references.lines, text.invalid_lines)
            cells[place] = [
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
                for metric in grid.metrics
            ]
    rows = [row for found in cells for row in found]
    write_table(grid.cells(task.name), pa.Table.from_pylist(rows, CELLS_SCHEMA))
    outputs = [grid.cells(task.name), grid.statistics(task.name)]
    if grid.segments:
        outputs.append(_write_segments(grid, task.name, names, statistics))
    else:  # those of an earlier run may be of other hypotheses
        _segments_file(grid, task.name).unlink(missing_ok=True)
    if grid.slices:
        outputs.append(_write_slices(grid, task.name, names, sources, statistics))
    else:
        grid.slices_file(task.name).unlink(missing_ok=True)
    lines = sum(len(text.lines) for text in texts)
    counts = {"cells": len(names), "counted": counted, "lines": lines}
    return Outcome(counts=counts, outputs=tuple(outputs))


def load_target_statistics(
    grid: Grid,
    target: str,
    texts: Sequence[Text],
    groups: Sequence[tuple[References, Sequence[int]]],
) -> tuple[dict[str, list[Statistics]], int]:
    """Return each metric's statistics of each text, [texts] of [N, S]; count what is not stored.

    Returns:
        The statistics by metric, and how many files had to be counted.
    """
    empty: Statistics = np.empty((0, 0), np.int64)
    by_metric = {metric: [empty] * len(texts) for metric in grid.metrics}
    counted = 0
    for references, places in groups:
        own = [texts[place] for place in places]
        found, lacked = load_statistics(grid, target, references, own)
        counted += lacked
        for metric, rows in found.items():
            for place, row in zip(places, rows, strict=True):
                by_metric[metric][place] = row
    return by_metric, counted


def load_statistics(
    grid: Grid, target: str, references: References, texts: Sequence[Text]
) -> tuple[dict[str, Statistics], int]:
    """Return each metric's statistics of texts with the same references, [texts, N, S].

    Returns:
        The statistics by metric, and how many files had to be counted.
    """
    file = StatisticsFile(grid.statistics(target))
    number = len(references.texts)
    expanded: dict[str, Statistics] = {}
    counted = 0
    for metric in grid.metrics:
        measure = find_measure(metric, grid.models, target, number)
        if measure.key not in expanded:
            counts, lacked = file.count(measure, references, texts)
            expanded[measure.key] = measure.expand(counts.hypotheses, counts.references)
            counted = max(counted, lacked)
    file.save()
    by_metric = {}
    for metric in grid.metrics:
        rows = expanded[find_measure(metric, grid.models, target, number).key]
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
    grid: Grid,
    target: str,
    names: Sequence[tuple[str, str]],
    statistics: Mapping[str, Sequence[Statistics]],
) -> Path:
    """Write the score of every sentence: a row per system, source and line."""
    lines = [len(rows) for rows in next(iter(statistics.values()))]
    columns: dict[str, Any] = {
        "system": pa.array(np.repeat([system for system, _ in names], lines)),
        "source": pa.array(np.repeat([source for _, source in names], lines)),
        "line": pa.array(np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in lines])),
    }
    for metric, texts in statistics.items():
        score = find_metric(metric).score_sentences
        columns[metric] = pa.array(np.concatenate([score(rows) for rows in texts]))
    path = _segments_file(grid, target)
    write_table(path, pa.table(columns))
    return path


def _write_slices(
    grid: Grid,
    target: str,
    names: Sequence[tuple[str, str]],
    sources: Mapping[str, Sequence[str]],
    statistics: Mapping[str, Sequence[Statistics]],
) -> Path:
    """Write the scores of the parts of the test set: a row per system, source, metric and part."""
    rows = []
    parts = {
        source: slice_parts(grid.tests, Direction(source, target), lines, grid.slices)
        for source, lines in sources.items()
    }
    resampling = (grid.resamples, grid.seed, grid.confidence)
    for place, (system, source) in enumerate(names):
        for metric in grid.metrics:
            for name, own in parts[source].items():
                scored = score_parts(metric, statistics[metric][place], own, resampling)
                rows += [(system, source, metric, name, *one) for one in scored]
    columns = zip(*rows, strict=True) if rows else ([] for _ in SLICES_SCHEMA.names)
    arrays = [
        pa.array(list(column), field.type)
        for column, field in zip(columns, SLICES_SCHEMA, strict=True)
    ]
    path = grid.slices_file(target)
    write_table(path, pa.Table.from_arrays(arrays, schema=SLICES_SCHEMA))
    return path


@functools.cache
def _plain_columns() -> list[str]:
    return [name for name in CELLS_SCHEMA.names if name != "resamples"]


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a cells file, without the resamples."""
    rows: list[dict[str, Any]] = read_as_written(path, _plain_columns()).to_pylist()
    return rows


def read_resamples(path: Path) -> NDArray[np.float32]:
    """Read the resampled scores of a cells file's rows, [rows, resamples]."""
    column = read_as_written(path, ["resamples"]).column(0)
    rows = len(column)
    # `values` and not `flatten`, which imports pyarrow.compute: a third of a second.
    flat: NDArray[np.float32] = column.combine_chunks().values.to_numpy()
    return flat.reshape(rows, -1) if rows else np.empty((0, 0), np.float32)
