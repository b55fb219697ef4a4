"""`tongues eval check`: what overlap metrics miss, for all hypotheses of some systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.files import make_directory
from corpus.protocols import LanguageIdentifier
from eval.checks.batches import find_batches
from eval.checks.config import CheckConfig
from eval.checks.content import RULES, measure_content, summarize_content
from eval.checks.hallucination import SIGNS, measure_hallucination, summarize_hallucination
from eval.checks.off_target import measure_off_target, summarize_off_target
from eval.checks.segment_scores import measure_segment_scores
from eval.checks.toxicity import measure_toxicity, summarize_toxicity
from eval.statistics.cells import TEST_SET


class CheckInputs(NamedTuple):
    """What the checks other than hallucination and content need; each is optional."""

    lid: Path | None = None
    """Model directory of a language identifier."""
    load: Callable[[Path], LanguageIdentifier] | None = None
    """Loads it."""
    toxicity: Path | None = None
    """Word lists."""
    segment_scores: Sequence[Path] = ()
    """JSONL files, or COMET's JSON."""


def check_systems(
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    output: Path,
    inputs: CheckInputs,
    config: CheckConfig,
) -> dict[str, Any]:
    """Run the checks whose inputs are given; return their summaries by name.

    Each check has tables of its own in `output`, which may be the directory of the scores, and can
    be added later.

    Raises:
        UserError: If a directory, a language, a model or a password is missing.
        JobError: If hypotheses and references of some shards differ in length.
    """
    make_directory(output)
    batches = find_batches(hypotheses, test_set, split, output / TEST_SET, config.references)
    summary: dict[str, Any] = {
        "hallucination": summarize_hallucination(
            measure_hallucination(batches, output, config.hallucination, config.workers)
        ),
        "content": summarize_content(
            measure_content(batches, output, config.content, config.workers)
        ),
    }
    if inputs.lid is not None and inputs.load is not None:
        summary["off_target"] = summarize_off_target(
            measure_off_target(
                batches, inputs.lid, inputs.load, output, config.off_target, config.workers
            )
        )
    if inputs.toxicity is not None:
        summary["toxicity"] = summarize_toxicity(
            measure_toxicity(batches, inputs.toxicity, output, config.toxicity, config.workers)
        )
    if inputs.segment_scores:
        summary["segment_scores"] = measure_segment_scores(
            inputs.segment_scores, batches, output, config.segment_scores
        )
    return summary


_FIGURES = {
    "hallucination": ("suspect_rate", "reference_rate", *(f"{sign}_rate" for sign in SIGNS)),
    "content": (
        "suspect_rate",
        "reference_rate",
        *(f"{rule}_{kind}" for rule in RULES for kind in ("rate", "reference_rate")),
    ),
    "off_target": ("off_target_rate", "outside_group_rate", "reference_rate", "off_script_rate"),
    "toxicity": ("toxic_rate", "added_rate"),
}


def summary_rows(summary: dict[str, Any]) -> list[list[object]]:
    """Return the summaries as rows of system, check, figure, mean, n and missing."""
    rows: list[list[object]] = []
    for check, figures in _FIGURES.items():
        for system, means in summary.get(check, {}).items():
            rows += [[system, check, figure, *means[figure].values()] for figure in figures]
    for metric, systems in summary.get("segment_scores", {}).items():
        for system, means in systems.items():
            missing: object = means["n_missing"] + len(means["not_covered"])
            if means["lines_missing"]:
                missing = f"{missing} and {means['lines_missing']:,} lines"
            rows.append([system, "segment_scores", metric, means["mean"], means["n"], missing])
    return rows
