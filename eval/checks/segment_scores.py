"""Scores of segments that other models gave: COMET, BLASER, sequence log-probabilities.

A JSONL file begins with an object that says what the scores are and for which languages their model
was made: `{"metric": "comet-22", "model": "wmt22-comet-da", "languages": ["eng_Latn", …]}`, or
`"languages": "all"` for scores that need none, such as a system's own log-probabilities. Then one
object for each segment: `{"system": "a", "direction": "eng_Latn-fra_Latn", "line": 1,
"score": 0.83}`. Directions with a language that the model does not cover have no mean.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import Lines, open_binary, read_json, write_json
from corpus.jobs.run import Outcome, Task, run_job
from corpus.languages import Direction, check_language, parse_direction
from eval.checks.batches import Batch, read_text
from eval.tables import mean, write_table

ALL_LANGUAGES = "all"
COLUMNS = ("system", "direction", "metric", "value", "n", "signature")
"""Those of scores.tsv, so that these means can be compared with human scores too."""


@dataclass(frozen=True)
class Header:
    """What a file of segment scores says of itself."""

    metric: str
    model: str
    languages: frozenset[str] | None
    """Languages the model covers; None for all."""

    def covers(self, direction: Direction) -> bool:
        """Whether both languages of a direction are covered."""
        return self.languages is None or self.languages.issuperset(direction)


class SegmentMean(NamedTuple):
    """The mean of a direction's segment scores; None where its languages are not covered."""

    system: str
    direction: Direction
    metric: str
    value: float | None
    n: int
    """Segments that have a score."""
    n_missing: int
    is_covered: bool
    signature: str


def measure_segment_scores(
    files: Sequence[Path], batches: Sequence[Batch], output: Path
) -> dict[str, Any]:
    """Average segment scores over each direction; write segment_scores.tsv and its JSON.

    Returns:
        What `summarize_segment_scores` returns.

    Raises:
        UserError: If two files are of one metric, or a file does not exist.
        JobError: If a line is no score, is of an unknown direction or segment, or comes twice; the
            message names file and line.
    """
    references = sorted({batch.references for batch in batches})
    directions = sorted(f"{batch.system} {pair}" for batch in batches for pair in batch.directions)
    task = Task(name="all", inputs=(*files, *references), arguments={"directions": directions})
    work = functools.partial(_work, files=files, batches=batches, output=output)
    run_job(name="segment-scores", tasks=[task], work=work, output=output)
    summary: dict[str, Any] = read_json(output / "segment_scores.json")
    return summary


def _work(task: Task, *, files: Sequence[Path], batches: Sequence[Batch], output: Path) -> Outcome:
    means: list[SegmentMean] = []
    metrics: dict[str, Path] = {}
    for file in files:
        header, scores = _read(file, batches)
        if header.metric in metrics:
            raise UserError(f"{metrics[header.metric]} and {file} are both of `{header.metric}`")
        metrics[header.metric] = file
        means += _average(header, scores, batches)
    measured = [row for row in means if row.value is not None]
    table = [(r.system, r.direction, r.metric, r.value, r.n, r.signature) for r in measured]
    outputs = (output / "segment_scores.tsv", output / "segment_scores.json")
    write_table(outputs[0], COLUMNS, table)
    write_json(outputs[1], summarize_segment_scores(means))
    return Outcome(counts={"segments": sum(row.n for row in means)}, outputs=outputs)


def summarize_segment_scores(means: Sequence[SegmentMean]) -> dict[str, Any]:
    """Return means over covered directions by metric and system, and what is not covered."""
    summary: dict[str, Any] = {}
    for metric, system in sorted({(row.metric, row.system) for row in means}):
        own = [row for row in means if (row.metric, row.system) == (metric, system)]
        summary.setdefault(metric, {})[system] = {
            **mean([row.value for row in own if row.is_covered]),
            "incomplete": [str(row.direction) for row in own if row.is_covered and row.n_missing],
            "not_covered": [str(row.direction) for row in own if not row.is_covered],
        }
    return summary


_Scores = dict[tuple[str, Direction], dict[int, float]]


def _read(file: Path, batches: Sequence[Batch]) -> tuple[Header, _Scores]:
    sizes = {
        (batch.system, direction): len(read_text(batch.references))
        for batch in batches
        for direction in batch.directions
    }
    objects = _objects(file)
    header = _header(file, next(objects, (1, {}))[1])
    scores: _Scores = {}
    for number, found in objects:
        where = f"{file}:{number}"
        try:
            direction = parse_direction(found["direction"])
            key, line, score = (found["system"], direction), found["line"], float(found["score"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: a segment needs `system`, `direction`, `line` and a number as `score`;"
                f" {type(error).__name__}: {error}"
            ) from None
        except UserError as error:
            raise DataError(f"{where}: {error}") from None
        if key not in sizes:
            raise DataError(f"{where}: system `{key[0]}` has no hypotheses for {direction}")
        if not isinstance(line, int) or isinstance(line, bool) or not 1 <= line <= sizes[key]:
            raise DataError(f"{where}: line {line!r} of {sizes[key]:,}; lines count from 1")
        if not math.isfinite(score):
            raise DataError(f"{where}: the score is {score}")
        if line in scores.setdefault(key, {}):
            raise DataError(f"{where}: line {line} of {key[0]} {direction} has a score already")
        scores[key][line] = score
    return header, scores


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_binary(file) as stream:
        for number, line in enumerate(Lines(stream), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise DataError(f"{file}:{number}: not JSON: {error}") from None
            if not isinstance(found, dict):
                raise DataError(f"{file}:{number}: not a JSON object: {line[:80]}")
            yield number, found


def _header(file: Path, found: dict[str, Any]) -> Header:
    metric, model, languages = (found.get(key) for key in ("metric", "model", "languages"))
    is_list = isinstance(languages, list) and all(isinstance(code, str) for code in languages)
    if not isinstance(metric, str) or not (is_list or languages == ALL_LANGUAGES):
        raise DataError(
            f'{file}:1: the first line says what the scores are: {{"metric": …, "model": …,'
            f' "languages": [codes that the model covers] or "{ALL_LANGUAGES}"}}. Scores of'
            " languages a model was not made for mean nothing, so they must be told apart."
        )
    if languages == ALL_LANGUAGES:
        return Header(metric, str(model or ""), None)
    return Header(
        metric, str(model or ""), frozenset(check_language(code).code for code in languages or ())
    )


def _average(header: Header, scores: _Scores, batches: Sequence[Batch]) -> list[SegmentMean]:
    means = []
    for batch in batches:
        size = len(read_text(batch.references))
        for direction in batch.directions:
            own = scores.get((batch.system, direction), {})
            is_covered = header.covers(direction)
            value = math.fsum(own.values()) / len(own) if own and is_covered else None
            means.append(
                SegmentMean(
                    batch.system,
                    direction,
                    header.metric,
                    value,
                    len(own),
                    size - len(own),
                    is_covered,
                    f"mean of segments|model:{header.model}",
                )
            )
    return means
