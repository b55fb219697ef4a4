"""Scores of segments that other models gave: COMET, BLASER, sequence log-probabilities.

A JSONL file begins with an object that says what the scores are and for which languages their model
was made: `{"metric": "comet-22", "model": "wmt22-comet-da", "languages": ["eng_Latn", …]}`, or
`"languages": "all"` for scores that need none, such as a system's own log-probabilities. Then one
object for each segment: `{"system": "a", "direction": "eng_Latn-fra_Latn", "line": 1,
"score": 0.83}`. Directions with a language that the model does not cover have no mean.

`comet-score --to_json` writes one object of `{file: [{"COMET": 0.83, …}, …]}`; the file names are
those of the hypotheses, `SYSTEM/<source>-<target>.txt`, and the config says what the model covers.
"""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corpus.config import plain_config
from corpus.errors import DataError, UserError
from corpus.files import lines_of_file, open_lines, read_json, write_json
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction, find_language, parse_direction, parse_language
from eval.checks.batches import Batch, mean, read_text
from eval.checks.config import SegmentScoresConfig
from eval.tables import write_table

logger = logging.getLogger(__name__)

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
        known = self.languages
        return known is None or all(find_language(code, known) for code in direction)


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
    files: Sequence[Path],
    batches: Sequence[Batch],
    output: Path,
    config: SegmentScoresConfig = SegmentScoresConfig(),  # noqa: B008 - it is frozen
) -> dict[str, Any]:
    """Average segment scores over each direction; write segment_scores.tsv and its JSON.

    Returns:
        What `summarize_segment_scores` returns.

    Raises:
        UserError: If two files are of one metric, or a file does not exist.
        JobError: If a line is not a score, has an unknown direction or segment, or comes twice; the
            message names file and line.
    """
    references = sorted({batch.references for batch in batches})
    directions = sorted(f"{batch.system} {pair}" for batch in batches for pair in batch.directions)
    arguments: dict[str, Any] = {"directions": directions}
    if config != SegmentScoresConfig():
        arguments["config"] = plain_config(config)
    task = Task(name="all", inputs=(*files, *references), arguments=arguments)
    work = functools.partial(_work, files=files, batches=batches, output=output, config=config)
    run_job(name="segment-scores", tasks=[task], work=work, output=output)
    summary: dict[str, Any] = read_json(output / "segment_scores.json")
    for metric, systems in summary.items():
        for system, found in systems.items():
            if found["lines_missing"]:
                logger.warning(
                    "%s of %s: %d lines have no score; means of %s are over the other lines",
                    metric,
                    system,
                    found["lines_missing"],
                    ", ".join(found["incomplete"]),
                )
    return summary


def _work(
    task: Task,
    *,
    files: Sequence[Path],
    batches: Sequence[Batch],
    output: Path,
    config: SegmentScoresConfig,
) -> Outcome:
    means: list[SegmentMean] = []
    metrics: dict[str, Path] = {}
    for file in files:
        header, scores = _read(file, batches, config)
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
            "lines_missing": sum(row.n_missing for row in own if row.is_covered),
            "not_covered": [str(row.direction) for row in own if not row.is_covered],
        }
    return summary


_Scores = dict[tuple[str, Direction], dict[int, float]]


def _read(
    file: Path, batches: Sequence[Batch], config: SegmentScoresConfig
) -> tuple[Header, _Scores]:
    sizes = {
        (batch.system, direction): len(read_text(batch.references))
        for batch in batches
        for direction in batch.directions
    }
    comet = _read_comet(file)
    if comet is None:
        objects = _objects(file)
        header = _header(file, next(objects, (1, {}))[1])
    else:
        header, objects = _comet_header(file, config), _comet_objects(file, comet)
    scores: _Scores = {}
    for place, found in objects:
        where = f"{file}:{place}"
        try:
            direction = parse_direction(str(found["direction"]))
            key, line, score = (str(found["system"]), direction), found["line"], found["score"]
            score = float(score)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
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


def _read_comet(file: Path) -> dict[str, list[Any]] | None:
    """Return what `comet-score --to_json` wrote; None where a file is something else."""
    if file.suffix in (".gz", ".zst"):
        return None
    first = next(open_lines(file), "").strip()
    if first not in ("{", "["):  # COMET indents its JSON, and JSONL has an object a line
        return None
    found = read_json(file)
    if not isinstance(found, dict) or not all(isinstance(rows, list) for rows in found.values()):
        raise DataError(
            f"{file} is neither JSONL, an object a line, nor what `comet-score --to_json` writes,"
            " an object of lists by file name"
        )
    return found


def _comet_header(file: Path, config: SegmentScoresConfig) -> Header:
    if not config.languages:
        raise UserError(
            f"{file} is JSON of comet-score, which does not say what its model covers: add --config"
            " segment_scores.model=NAME and --config segment_scores.languages='[eng_Latn, …]' (or"
            f" {ALL_LANGUAGES}). Scores of languages a model was not made for mean nothing."
        )
    if config.languages == (ALL_LANGUAGES,):
        return Header(config.metric, config.model, None)
    covered = frozenset(parse_language(code).code for code in config.languages)
    return Header(config.metric, config.model, covered)


def _comet_objects(file: Path, found: dict[str, list[Any]]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for name, rows in found.items():
        path = Path(name)
        for line, row in enumerate(rows, 1):
            if not isinstance(row, dict) or "COMET" not in row:
                raise DataError(f"{file}: entry {line} of `{name}` has no `COMET`")
            yield (
                f"{name}:{line}",
                {
                    "system": path.absolute().parent.name,
                    "direction": path.stem,
                    "line": line,
                    "score": row["COMET"],
                },
            )


def _objects(file: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with lines_of_file(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
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
    try:
        covered = frozenset(parse_language(code).code for code in languages or ())
    except UserError as error:
        raise DataError(f"{file}:1: {error}") from None
    return Header(metric, str(model or ""), covered)


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
