"""The command that distills a teacher into bitext."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, config_options, print_counts
from corpus.executors import EXECUTORS, find_executor
from corpus.languages import parse_directions
from nmt.decoding.config import TranslateConfig


@click.command()
@click.option("--teacher", type=PATH, required=True, help="Model directory of the teacher.")
@click.option("--bitext", type=PATH, required=True, help="Directory of bitext; sources are taken.")
@click.option("--directions", default="", help="A-B,C-D; all that the teacher knows without it.")
@click.option("--output", type=PATH, required=True, help="Directory of the new bitext.")
@click.option(
    "--executor", type=click.Choice(EXECUTORS), default="local", show_default=True,
    help="Where directions are worked on: here, a Ray cluster, ranks of a Slurm array.",
)  # fmt: skip
@config_options(TranslateConfig)
def distill(
    teacher: Path,
    bitext: Path,
    directions: str,
    output: Path,
    executor: str,
    config: TranslateConfig,
) -> None:
    """Write a teacher's translations of a bitext's sources as bitext for a student."""
    from nmt.distillation_job import distill_bitext

    summary = distill_bitext(
        teacher, bitext, parse_directions(directions), output, config, find_executor(executor)
    )
    print_counts("bitext", dict(summary.counts))
