"""Commands of the data that models are trained on."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, config_options, executor_option, print_counts, print_json
from corpus.executors import Executor
from nmt.config import TrainConfig


@click.command()
@click.option("--output", type=PATH, required=True, help="Directory of the tokens.")
@executor_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options(TrainConfig)
def tokenize(output: Path, executor: Executor, as_json: bool, config: TrainConfig) -> None:
    """Tokenize the bitext and text of a training beforehand, for `data.directory`."""
    from nmt.bitext import run_tokenize

    counts = dict(run_tokenize(config, output, executor).counts)
    if as_json:
        print_json(counts)
    else:
        print_counts("tokens", counts)


DATA_COMMANDS = (tokenize,)
