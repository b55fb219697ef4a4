"""Commands of the data that models are trained on."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, JobOptions, config_options, priced_job_options
from nmt.training.config import TrainConfig


@click.command()
@click.option("--output", type=PATH, required=True, help="Directory of the tokens.")
@priced_job_options
@config_options(TrainConfig)
def tokenize(output: Path, job: JobOptions, config: TrainConfig) -> None:
    """Tokenize the bitext and text of a training beforehand, for `data.directory`."""
    from nmt.data.price import price_tokenize
    from nmt.data.tokenize import run_tokenize

    if job.dry_run:
        job.print_price(price_tokenize(config, output))
        return
    job.print_counts("tokens", run_tokenize(config, output, job.executor).counts)


DATA_COMMANDS = (tokenize,)
