"""Scoring of systems against a FLORES split: a shard per target language, then the tables."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from corpus.config import dump_config
from corpus.errors import DataError, UserError
from corpus.files import make_directory, write_text
from corpus.flores import read_split
from corpus.jobs.renewal import drop_stale, run_renewing_job
from corpus.jobs.run import Task
from corpus.languages import parse_direction
from eval.config import ScoreConfig
from eval.hypotheses import COPY, Systems, check_lengths, find_systems
from eval.metrics.metrics import MetricModels, find_measure
from eval.metrics.sentencepiece_models import find_spm
from eval.pages.page_data import check_files
from eval.score_tables import make_tables
from eval.statistics.cells import STATISTICS, Grid, score_target, target_tasks
from eval.statistics.results import Row as Row
from eval.statistics.results import Scores, read_result
from eval.statistics.results import read_scores as read_scores
from eval.statistics.sacrebleu_check import check_with_sacrebleu

logger = logging.getLogger(__name__)

_LOGGED_WARNINGS = 20


def score_systems(
    hypotheses: Sequence[Path],
    flores: Path,
    split: str,
    output: Path,
    metrics: Sequence[str],
    config: ScoreConfig,
    manifest: Path | None = None,
    check: int = 0,
) -> Scores:
    """Score every direction of every system; write tables and report.html.

    All files are looked at before the first is scored; what did not change since the last run is
    not scored again.

    Args:
        hypotheses: Directories, a system each.
        flores: Directory in FLORES-200's layout.
        split: Of the references.
        output: Directory of the tables.
        metrics: Names that `parse_metrics` gave.
        config: How to score.
        manifest: Table of further systems.
        check: How many random cells to score with sacrebleu as well.

    Raises:
        UserError: If a directory, a language or the SentencePiece model is missing.
        DataError: If hypotheses and references differ in length.
        TonguesError: If sacrebleu scores a cell otherwise.
    """
    systems = find_systems(hypotheses, manifest)
    every = sorted({direction for files in systems.values() for direction in files})
    grid = make_grid(flores, split, output, metrics, config)
    if COPY in config.baselines:
        systems[COPY] = {direction: grid.text(direction.source) for direction in every}
    make_directory(output)
    check_texts(systems, grid)
    tasks = target_tasks(systems, grid)
    todo = drop_stale("score", tasks, output)
    check_hypotheses(todo, grid)
    run_renewing_job(
        name="score",
        tasks=tasks,
        work=functools.partial(score_target, grid=grid),
        output=output,
        workers=config.workers,
    )
    scores = _write_tables(tasks, systems, grid, config)
    # Which cells there are may change from run to run; the config beside them is the last one.
    write_text(output / "config.yaml", dump_config(config))
    for warning in scores.warnings[:_LOGGED_WARNINGS]:
        logger.warning("%s", warning)
    more = len(scores.warnings) - _LOGGED_WARNINGS
    if more > 0:
        logger.warning("and %d more warnings, in %s", more, output / "scores.json")
    if check:
        done = check_with_sacrebleu(scores, systems, grid, check, config.seed)
        logger.info(
            "%d cells scored with sacrebleu too, %d segments: all equal", done.cells, done.segments
        )
    return scores


def make_grid(
    flores: Path, split: str, output: Path, metrics: Sequence[str], config: ScoreConfig
) -> Grid:
    """Return where everything is and how it is scored.

    Raises:
        UserError: If the SentencePiece model is missing, or sacrebleu lacks the tokenizer.
        DataError: If the file is no SentencePiece model.
    """
    spm = find_spm(config.spm) if "spbleu" in metrics else None
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
    for metric in metrics:  # a tokenizer that is not there is found out before anything is written
        find_measure(metric, grid.models)
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


def _write_tables(
    tasks: Sequence[Task], systems: Systems, grid: Grid, config: ScoreConfig
) -> Scores:
    """Make the tables anew if anything they come from changed; return what they hold."""
    files = [file for file in (config.languages, config.supervised) if file is not None]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} does not exist")
    checks = check_files(grid.output)
    task = Task(
        name="scores",
        inputs=(*(grid.cells(task.name) for task in tasks), *files, *checks),
        arguments={
            "targets": [task.name for task in tasks],
            "directions": [str(parse_direction(text)) for text in config.directions],
            "files": [str(config.languages), str(config.supervised)],
            "checks": [path.name for path in checks],
            "page": [config.page_directions, config.page_lines],
            "counts": config.counts,
            "pivot": config.pivot,
        },
    )
    work = functools.partial(make_tables, systems=systems, grid=grid, config=config)
    run_renewing_job(name="tables", tasks=[task], work=work, output=grid.output)
    return read_result(grid.output)
