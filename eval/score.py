"""Scoring of systems against a FLORES split: a shard per system, direction and metric."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.config import dump_config
from corpus.errors import DataError
from corpus.files import read_json, read_lines, write_json, write_lines, write_text
from corpus.flores import read_split
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction, parse_direction
from eval.averages import Average, average, read_levels
from eval.config import ScoreConfig
from eval.hypotheses import COPY, count_oddities, find_systems, read_hypotheses
from eval.metrics import MetricModels, Scorer
from eval.score_page import render_scores
from eval.spm import find_spm

logger = logging.getLogger(__name__)

COLUMNS = ("system", "direction", "metric", "value", "n", "signature")
PERFECT = 100.0
_KEPT_SCORERS = 4


@dataclass(frozen=True)
class Row:
    """A line of `scores.tsv`."""

    system: str
    direction: Direction
    metric: str
    value: float
    n: int
    signature: str


@dataclass(frozen=True)
class Scores:
    """Everything that scoring found."""

    rows: Sequence[Row]
    averages: Sequence[Average]
    missing: Mapping[str, Sequence[Direction]]
    """Directions that each system lacks while another system has them."""
    warnings: Sequence[str]


@dataclass(frozen=True)
class _Cell:
    """One file of hypotheses with the files it is read against."""

    system: str
    direction: Direction
    hypotheses: Path
    references: Path


def score_systems(
    hypotheses: Sequence[Path],
    flores: Path,
    split: str,
    output: Path,
    metrics: Sequence[str],
    config: ScoreConfig,
) -> Scores:
    """Score every direction of every system; write scores.tsv, scores.json and report.html.

    All files are looked at before the first is scored.

    Raises:
        UserError: If a directory, a language or the SentencePiece model is missing.
        DataError: If hypotheses and references differ in length.
    """
    systems = find_systems(hypotheses)
    if COPY in config.baselines:
        every = sorted({direction for files in systems.values() for direction in files})
        systems[COPY] = {
            direction: flores / split / f"{direction.source}.{split}" for direction in every
        }
    spm = find_spm(config.spm) if "spbleu" in metrics else None
    levels = read_levels(config.languages) if config.languages is not None else {}
    warnings = _check_files(systems, flores, split)
    cells = [
        _Cell(system, direction, path, flores / split / f"{direction.target}.{split}")
        for system, files in systems.items()
        for direction, path in files.items()
    ]
    rows = _score_cells(cells, metrics, output, config, spm)
    expected = {direction for files in systems.values() for direction in files}
    expected |= {parse_direction(direction) for direction in config.directions}
    values = {(row.system, row.metric, row.direction): row.value for row in rows}
    missing = {system: sorted(expected - set(files)) for system, files in sorted(systems.items())}
    warnings += [_warn_perfect(row) for row in rows if row.value >= PERFECT]
    warnings += [
        f"{system}: {len(lacking)} of {len(expected)} directions are missing"
        for system, lacking in missing.items()
        if lacking
    ]
    scores = Scores(rows, average(values, expected, levels), missing, warnings)
    _write(output, scores)
    # Which shards there are may change from run to run; the config beside them is the last one.
    write_text(output / "config.yaml", dump_config(config))
    for warning in warnings:
        logger.warning("%s", warning)
    return scores


def read_scores(path: Path) -> list[Row]:
    """Read a `scores.tsv`.

    Raises:
        DataError: If its header or a row is not as written here.
    """
    lines = read_lines(path)
    if not lines or lines[0].split("\t") != list(COLUMNS):
        raise DataError(f"{path} is not a table of scores: its header is not {' '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            system, direction, metric, value, n, signature = line.split("\t")
            rows.append(
                Row(system, parse_direction(direction), metric, float(value), int(n), signature)
            )
        except ValueError:
            raise DataError(f"{path}:{number}: not a row of scores: {line[:80]}") from None
    return rows


def _check_files(
    systems: Mapping[str, Mapping[Direction, Path]], flores: Path, split: str
) -> list[str]:
    """Read every file once; return warnings about what is odd in them."""
    languages = sorted({code for files in systems.values() for pair in files for code in pair})
    texts = read_split(flores, split, languages)
    if not next(iter(texts.values())):
        raise DataError(f"{flores}/{split} has no lines; there is nothing to score against")
    warnings = []
    for system, files in systems.items():
        if system == COPY:
            continue
        for direction, path in files.items():
            name = f"{flores / split / direction.target}.{split}"
            lines = read_hypotheses(path, texts[direction.target], name)
            odd = count_oddities(lines, texts[direction.source], texts[direction.target])
            for what in ("empty", "equal_to_source"):
                if odd[what]:
                    words = what.replace("_", " ").replace("source", "the source")
                    # By system, not by path: results say the same wherever the run lies.
                    share = f"{odd[what]} of {odd['lines']} lines are {words}"
                    warnings.append(f"{system}/{path.name}: {share}")
    return warnings


def _warn_perfect(row: Row) -> str:
    return (
        f"{row.system} scores {row.value:g} {row.metric} in {row.direction}: are these the"
        " references themselves?"
    )


def _score_cells(
    cells: Sequence[_Cell],
    metrics: Sequence[str],
    output: Path,
    config: ScoreConfig,
    spm: Path | None,
) -> list[Row]:
    tasks = []
    by_name: dict[str, tuple[_Cell, str, Path]] = {}
    for metric in metrics:
        # By target, so that references are counted once and then kept.
        for cell in sorted(cells, key=lambda cell: cell.direction.target):
            name = f"{cell.system}/{cell.direction}.{metric}"
            inputs: tuple[Path, ...] = (cell.hypotheses, cell.references)
            if metric == "spbleu" and spm is not None:
                inputs = (*inputs, spm)
            by_name[name] = (cell, metric, output / "directions" / f"{name}.json")
            tasks.append(Task(name=name, inputs=inputs, arguments={"metric": metric}))
    work = functools.partial(
        _score_cell,
        by_name=by_name,
        models=MetricModels(spm=spm, bleu_tokenizer=config.bleu_tokenizer),
    )
    run_job(
        name="score",
        tasks=tasks,
        work=work,
        output=output,
        config=config,
        workers=config.workers,
    )
    return [
        Row(cell.system, cell.direction, metric, **_read_cell(path))
        for cell, metric, path in by_name.values()
    ]


def _read_cell(path: Path) -> dict[str, Any]:
    cell: dict[str, Any] = read_json(path)
    return cell


def _score_cell(
    task: Task, *, by_name: Mapping[str, tuple[_Cell, str, Path]], models: MetricModels
) -> Outcome:
    cell, metric, path = by_name[task.name]
    hypotheses = read_lines(cell.hypotheses)
    value, signature = _scorer(metric, cell.references, models).score(hypotheses)
    write_json(path, {"value": value, "n": len(hypotheses), "signature": signature})
    return Outcome(counts={"lines": len(hypotheses)}, outputs=(path,))


@functools.lru_cache(maxsize=_KEPT_SCORERS)
def _scorer(metric: str, references: Path, models: MetricModels) -> Scorer:
    return Scorer(metric, read_lines(references), models)


def _write(output: Path, scores: Scores) -> None:
    rows = sorted(scores.rows, key=lambda row: (row.system, row.direction, row.metric))
    table = (
        # repr keeps every bit of the value.
        f"{row.system}\t{row.direction}\t{row.metric}\t{row.value!r}\t{row.n}\t{row.signature}"
        for row in rows
    )
    write_lines(output / "scores.tsv", ["\t".join(COLUMNS), *table])
    write_json(
        output / "scores.json",
        {
            "scores": [{**row.__dict__, "direction": str(row.direction)} for row in rows],
            "averages": [entry._asdict() for entry in scores.averages],
            "missing": {
                system: [str(direction) for direction in lacking]
                for system, lacking in scores.missing.items()
            },
            "warnings": list(scores.warnings),
        },
    )
    write_text(output / "report.html", render_scores(scores))
