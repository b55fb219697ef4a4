"""Commands of scoring."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, config_options
from corpus.console import format_table
from eval.config import ScoreConfig


@click.group()
def group() -> None:
    """Scoring: spBLEU, chrF++, comparisons, reports."""


@group.command()
@click.option(
    "--hypotheses", type=PATH, required=True, multiple=True,
    help="Directory of <source>-<target>.txt; may be repeated, a system each.",
)  # fmt: skip
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="devtest", show_default=True, help="Split that was translated.")
@click.option("--output", type=PATH, required=True, help="Directory of scores and report.")
@click.option(
    "--metrics", default="spbleu,chrf++", show_default=True, help="spbleu, chrf++, chrf, bleu."
)
@config_options(ScoreConfig)
def score(
    hypotheses: tuple[Path, ...],
    flores: Path,
    split: str,
    output: Path,
    metrics: str,
    config: ScoreConfig,
) -> None:
    """Score hypotheses against a FLORES split."""
    from eval.metrics import parse_metrics
    from eval.score import score_systems

    names = parse_metrics(metrics)
    scores = score_systems(hypotheses, flores, split, output, names, config)
    header = ["system", "metric", "bucket", "mean", "n", "missing"]
    click.echo(format_table(header, [list(entry) for entry in scores.averages]))
    click.echo(f"{output / 'scores.tsv'}, {output / 'report.html'}", err=True)


@group.command()
@click.option("--run", type=PATH, required=True, help="Directory of a whole pipeline run.")
@click.option("--output", type=PATH, required=True, help="HTML file to write.")
def report(run: Path, output: Path) -> None:
    """Write one page about a whole run, and print its closing table."""
    from eval.report import write_report

    write_report(run, output)
