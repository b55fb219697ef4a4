"""The command that distills a teacher into bitext."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, config_options, executor_option, print_counts
from corpus.jobs import Executor
from corpus.languages import parse_directions
from nmt.translation.decoding.config import TranslateConfig


@click.command()
@click.option("--teacher", type=PATH, required=True, help="Model directory of the teacher.")
@click.option("--bitext", type=PATH, required=True, help="Directory of bitext; sources are taken.")
@click.option("--directions", default="", help="A-B,C-D; all that the teacher knows without it.")
@click.option("--output", type=PATH, required=True, help="Directory of the new bitext.")
@executor_option
@config_options(TranslateConfig)
def distill(
    teacher: Path,
    bitext: Path,
    directions: str,
    output: Path,
    executor: Executor,
    config: TranslateConfig,
) -> None:
    """Write a teacher's translations of a bitext's sources as bitext for a student."""
    from nmt.translation.distill import distill_bitext

    summary = distill_bitext(
        teacher, bitext, parse_directions(directions), output, config, executor
    )
    print_counts("bitext", dict(summary.counts))
