"""Commands of `tongues data`."""

from pathlib import Path

import click

from corpus.command import PATH, config_options, print_counts
from corpus.constructed.generate import ConstructedConfig
from corpus.scatter import ScatterConfig


@click.group()
def group() -> None:
    """Built-in constructed languages and test data."""


@group.command()
@click.option("--output", type=PATH, required=True, help="Directory for the data set.")
@config_options(ConstructedConfig)
def constructed(output: Path, config: ConstructedConfig) -> None:
    """Write ten constructed languages: crawl shards, gold, seed bitext, dev and devtest."""
    from corpus.constructed.generate import generate

    summary = generate(config, output)
    print_counts("constructed", dict(summary.counts))
    click.echo(output)


@group.command("scatter")
@click.option("--text", type=PATH, required=True, help="Line-aligned <language>.txt files.")
@click.option("--other", type=PATH, required=True, help="Unaligned <language>.txt files around it.")
@click.option("--output", type=PATH, required=True, help="Directory for crawl/ and gold/.")
@config_options(ScatterConfig)
def scatter_command(text: Path, other: Path, output: Path, config: ScatterConfig) -> None:
    """Scatter aligned text in crawl shards, so that mining can be measured on real text."""
    from corpus.scatter import scatter

    summary = scatter(text, other, output, config)
    print_counts("scattered", dict(summary.counts))
    click.echo(output)
