"""`tongues eval report`: a page about a whole run, or about scores that lie in a directory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from corpus.config import load_config
from corpus.errors import DataError, UserError
from corpus.files import write_text
from corpus.languages import Direction
from corpus.report.html import check_page_name
from eval.config import ScoreConfig
from eval.hypotheses import COPY
from eval.metrics.metrics import METRICS
from eval.pages.grid_data import grid_data
from eval.pages.page_data import (
    finding_files,
    language_intervals,
    page_languages,
    read_findings,
)
from eval.pages.run_files import RunFiles, read_run
from eval.pages.run_page import render_run
from eval.pages.score_page import render_scores
from eval.pages.summary import summarize
from eval.statistics.buckets import HIGH, direction_level, find_buckets, find_table
from eval.statistics.cells import CELLS
from eval.statistics.results import Row, Scores, average_rows, read_result, read_scores
from eval.statistics.slices import read_slices
from eval.statistics.system_table import SystemScore, compare_in_table, list_systems, read_systems

logger = logging.getLogger(__name__)

SCORES = "scores.tsv"
SAMPLES = 8
"""Sample translations on the page."""

MISSING = "missing"


def has_scores(directory: Path) -> bool:
    """Whether a directory is one of scores, of whatever command of `eval`, and not a whole run."""
    return has_own_scores(directory) or bool(finding_files(directory))


def has_own_scores(directory: Path) -> bool:
    """Whether there is what `tongues eval score` writes, beside what other commands do."""
    return any((directory / name).is_file() for name in ("scores.json", SCORES))


def write_report(run: Path, output: Path) -> list[list[str]]:
    """Write the page of a run; return the rows of its summary table.

    Raises:
        UserError: If `run` is not a directory, or `output` is one.
        DataError: If a file of the run is damaged.
    """
    _check(run, output)
    files = read_run(run, SAMPLES)
    write_text(output, render_run(files))
    return closing_rows(files)


def write_score_report(directory: Path, output: Path) -> tuple[Scores, list[SystemScore]]:
    """Write the page of scores that are there; return them, and several systems' side by side.

    What other commands wrote beside them is on the page as well.

    The page is that of `tongues eval score` without example lines, which need the texts. Of a bare
    `scores.tsv`, whoever wrote it, there are no intervals and no tests. Where there are learned
    scores, checks or contrast sets alone, the page has them alone.

    Raises:
        UserError: If `directory` is not a directory, or `output` is one.
        DataError: If a file is damaged, or the scores are of unknown metrics.
    """
    _check(directory, output)
    config = _read_config(directory)
    if has_own_scores(directory):
        scores = _read_scores(directory, config)
    else:
        scores = Scores([], [], {}, [])
    table = read_systems(directory) or _side_by_side(scores.rows)
    names = [*(one.metric for one in table), *(row.metric for row in scores.rows)]
    metrics = list(dict.fromkeys(names))
    findings = read_findings(directory)
    systems = (
        list_systems(table)
        or sorted({row.system for row in scores.rows})
        or findings.list_systems()
    )
    directions = {row.direction for row in scores.rows}
    cells = {
        target: directory / CELLS / f"{target}.parquet"
        for target in sorted({direction.target for direction in directions})
    }
    known = find_table(config)
    data = grid_data(
        {
            (row.system, row.metric, row.direction): row.value
            for row in sorted(scores.rows, key=lambda row: metrics.index(row.metric))
        },
        systems,
        page_languages(directions, known),
        language_intervals(
            {target: path for target, path in cells.items() if path.is_file()}, config.confidence
        ),
        None,
        known.published_with,
    )
    write_text(output, render_scores(scores, data, findings, table, read_slices(directory)))
    return scores, table


def _check(directory: Path, output: Path) -> None:
    if not directory.is_dir():
        raise UserError(
            f"{directory} is not a directory; give the output directory of a pipeline run or of"
            " `tongues eval score`"
        )
    if output.is_dir():
        raise UserError(f"{output} is a directory; --output is the HTML file to write")
    check_page_name(output)


def _read_config(directory: Path) -> ScoreConfig:
    """Return the config beside the scores, less files that are not there any more."""
    path = directory / "config.yaml"
    config = load_config(ScoreConfig, path) if path.is_file() else ScoreConfig()
    gone = [
        file
        for file in (config.languages, config.supervised)
        if file is not None and not file.is_file()
    ]
    for file in gone:
        logger.warning("%s names %s, which does not exist: left out", path, file)
    return dataclasses.replace(
        config,
        languages=None if config.languages in gone else config.languages,
        supervised=None if config.supervised in gone else config.supervised,
    )


def _read_scores(directory: Path, config: ScoreConfig) -> Scores:
    if (directory / "scores.json").is_file():
        scores = read_result(directory)
    else:
        rows = read_scores(directory / SCORES)
        every = {row.direction for row in rows}
        missing = {
            system: sorted(every - {row.direction for row in rows if row.system == system})
            for system in sorted({row.system for row in rows})
        }
        _check_metrics({row.metric for row in rows}, directory / SCORES)
        scores = Scores(rows, average_rows(rows, find_buckets(every, config)), missing, [])
    if not scores.rows:
        raise DataError(f"{directory} has no scores: its table has a header and nothing else")
    return scores


def _check_metrics(metrics: Collection[str], path: Path) -> None:
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise DataError(
            f"{path} has scores of `{unknown[0]}`, which is not a metric of this command. Known:"
            f" {', '.join(METRICS)}. Delete its rows."
        )


def _side_by_side(rows: Sequence[Row]) -> list[SystemScore]:
    systems = sorted({row.system for row in rows}, key=lambda name: (name == COPY, name))
    if len(set(systems) - {COPY}) < 2:
        return []
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return compare_in_table(rows, metrics, systems, systems[0], {}, alpha=1.0)


def closing_rows(files: RunFiles) -> list[list[str]]:
    """Return the summary table: what each stage took, then quality."""
    return [*_stage_rows(files), *_quality_rows(files), *_score_rows(files), *_mean_rows(files)]


def _quality_rows(files: RunFiles) -> list[list[str]]:
    lid, xsim, mining = files.identification, files.similarity, files.mining
    rows = [
        [
            "language identification, macro-F1",
            f"{len(lid['languages'])} languages" if lid else "",
            f"{lid['macro_f1']:.4f}" if lid else MISSING,
            f"mean false-positive rate {lid['macro_fpr']:.5f}" if lid else "",
        ],
        [
            "xsim error",
            f"mean of {len(xsim['pairs'])} pairs" if xsim else "",
            f"{xsim['mean_error']:.4f}" if xsim else MISSING,
            "",
        ],
    ]
    if mining is None:
        rows.append(["mining F1", "", MISSING, ""])
    else:
        rows += [
            [
                "mining F1",
                pair,
                f"{scores['f1']:.4f}",
                f"precision {scores['precision']:.3f}, recall {scores['recall']:.3f}",
            ]
            for pair, scores in mining["pairs"].items()
        ]
    if not files.experts:
        rows.append(["expert usage", "", MISSING, ""])
    for layer, usage in files.experts.items():
        used = " ".join(f"{share:.2f}" for share in usage.load)
        beside = f"entropy {usage.entropy:.3f} of {usage.max_entropy:.3f}"
        rows.append(["expert usage", layer, used, beside])
    return rows


def _score_rows(files: RunFiles) -> list[list[str]]:
    scores = summarize(files.scores, files.levels)
    values, copies = scores.values("chrf++"), scores.copies("chrf++")
    rows = []
    for direction in scores.directions:
        copied = copies.get(direction)
        rows.append(
            [
                "chrF++",
                f"{direction} ({_level(direction, files)})",
                _one_decimal(values.get(direction)),
                "" if copied is None else f"copy {copied:.1f}",
            ]
        )
    return rows


def _level(direction: Direction, files: RunFiles) -> str:
    return (direction_level(direction, files.levels) or "no level").replace("_", " ")


def _mean_rows(files: RunFiles) -> list[list[str]]:
    scores = summarize(files.scores, files.levels)
    rows = []
    for metric, word in (("chrf++", "chrF++"), ("spbleu", "spBLEU")):
        rows.append([word, "mean, high-resource", _one_decimal(scores.mean(metric, HIGH)), ""])
        rows.append([word, "mean, all directions", _one_decimal(scores.mean(metric, None)), ""])
    better, compared = scores.above_baseline
    value = f"{better} of {compared}" if compared else MISSING
    rows.append(["directions above copying", "", value, ""])
    return rows


def _stage_rows(files: RunFiles) -> list[list[str]]:
    if not files.stages:
        return [["wall time", "", MISSING, ""]]
    rows = [
        [
            "wall time",
            f"{stage.place}: {stage.name}",
            f"{stage.seconds:.1f} s",
            f"peak memory {stage.peak_memory_mb:,.0f} MB",
        ]
        for stage in files.stages
    ]
    total = sum(stage.seconds for stage in files.stages)
    rows.append(["wall time", "all stages", f"{total:.1f} s", ""])
    return rows


def _one_decimal(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"
