"""`tongues eval report`: a page about a whole run, and a summary table on standard output."""

from __future__ import annotations

from pathlib import Path

from corpus.console import format_table
from corpus.errors import UserError
from corpus.files import write_text
from corpus.languages import Direction
from eval.pages.run_files import RunFiles, read_run
from eval.pages.run_page import render_run
from eval.pages.summary import summarize
from eval.statistics.buckets import HIGH, direction_level

SAMPLES = 8
"""Sample translations on the page."""

MISSING = "missing"


def write_report(run: Path, output: Path) -> None:
    """Write the page of a run and print its summary table.

    Raises:
        UserError: If `run` is not a directory, or `output` is one.
        DataError: If a file of the run is damaged.
    """
    if not run.is_dir():
        raise UserError(f"{run} is not a directory; give the output directory of a pipeline run")
    if output.is_dir():
        raise UserError(f"{output} is a directory; --output is the HTML file to write")
    files = read_run(run, SAMPLES)
    write_text(output, render_run(files))
    print(format_table(["figure", "of", "value", "beside it"], closing_rows(files)))
    print(f"\nreport: {output}")


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
