"""Commands of `tongues data`."""

from pathlib import Path

import click

from corpus.bitext.convert import FORMATS as CONVERT_FORMATS
from corpus.bitext.convert import ConvertConfig
from corpus.bitext.split import SplitConfig
from corpus.command import (
    LANGUAGE,
    PATH,
    JobOptions,
    config_options,
    job_options,
    json_option,
    print_counts,
    print_json,
)
from corpus.console import format_table
from corpus.constructed.generate import ConstructedConfig
from corpus.errors import UserError
from corpus.fetch.download import DownloadConfig
from corpus.languages import Direction, parse_language
from corpus.scatter import ScatterConfig


@click.group()
def group() -> None:
    """Constructed languages, test data, public data sets and models."""


@group.command()
@click.option("--output", type=PATH, required=True, help="Directory for the data set.")
@config_options(ConstructedConfig)
def constructed(output: Path, config: ConstructedConfig) -> None:
    """Write ten constructed languages: crawl shards, gold, bitext, dev and devtest."""
    from corpus.constructed.generate import generate

    summary = generate(config, output)
    print_counts("constructed", dict(summary.counts))
    click.echo(output)


@group.command("scatter")
@click.option("--text", type=PATH, required=True, help="Line-aligned <language>.txt files.")
@click.option(
    "--other", type=PATH, required=True, help="Unaligned <language>.txt files to surround it."
)
@click.option("--output", type=PATH, required=True, help="Directory for crawl/ and gold/.")
@config_options(ScatterConfig)
def scatter_command(text: Path, other: Path, output: Path, config: ScatterConfig) -> None:
    """Hide aligned text in crawl shards, to measure mining on real text."""
    from corpus.scatter import scatter

    summary = scatter(text, other, output, config)
    print_counts("scattered", dict(summary.counts))
    click.echo(output)


@group.command("convert")
@click.argument("inputs", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH, required=True, help="Directory for <source>-<target> files.")
@click.option("--source", default="", help="Language of the sources, if the input does not tell.")
@click.option("--target", default="", help="Language of the targets, if the input does not tell.")
@click.option(
    "--format",
    "suffix",
    type=click.Choice(CONVERT_FORMATS),
    default=CONVERT_FORMATS[0],
    show_default=True,
    help="What is written.",
)
@job_options
@config_options(ConvertConfig)
def convert_command(
    inputs: tuple[Path, ...],
    output: Path,
    source: str,
    target: str,
    suffix: str,
    job: JobOptions,
    config: ConvertConfig,
) -> None:
    """Convert bitext as others keep it: files or directories INPUTS of any format."""
    from corpus.bitext.convert import convert_bitext

    if bool(source) != bool(target):
        raise UserError("--source and --target are given together")
    direction = (
        Direction(parse_language(source).code, parse_language(target).code) if source else None
    )
    converted = convert_bitext(
        inputs, output, config, direction=direction, suffix=suffix, executor=job.executor
    )
    if job.as_json:
        print_json(
            {
                str(one.direction): {"files": list(map(str, one.files)), **one.counts}
                for one in converted
            }
        )
        return
    rows = [
        [str(one.direction), *(one.counts[name] for name in ("pairs", "kept", "dropped.empty")),
         ", ".join(path.name for path in one.files)]
        for one in converted
    ]  # fmt: skip
    click.echo(format_table(["direction", "pairs", "kept", "empty", "from"], rows), err=True)
    click.echo(output)


@group.command("split")
@click.argument("inputs", nargs=-1, required=True, type=PATH)
@click.option("--source", type=LANGUAGE, required=True, help="Source of what is written.")
@click.option("--target", type=LANGUAGE, required=True, help="Target: its text is written, too.")
@click.option("--output", type=PATH, required=True, help="Gets train/, held_out/ and text/.")
@json_option
@config_options(SplitConfig)
def split_command(
    inputs: tuple[Path, ...],
    source: str,
    target: str,
    output: Path,
    as_json: bool,
    config: SplitConfig,
) -> None:
    """Split known pairs INPUTS of two languages, in either order, into training and held-out."""
    from corpus.bitext.split import split_bitext

    summary = split_bitext(inputs, Direction(source, target), output, config)
    print_counts("split", dict(summary.counts), as_json)


@group.command("fetch")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--from",
    "source",
    default=None,
    metavar="URL_OR_PATH",
    help="Copy of the file, or directory or URL that has it, to use instead of the publisher.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@config_options(DownloadConfig)
def fetch_command(
    names: tuple[str, ...], source: str | None, as_json: bool, config: DownloadConfig
) -> None:
    """Download NAMES (flores200, spm200, laser2 ...) to the cache directory and verify them."""
    from corpus.fetch.fetch import fetch_all

    fetched = fetch_all(names, config, source)
    if as_json:
        print_json({one.name: str(one.path) for one in fetched})
        return
    for one in fetched:
        if one.was_there:
            click.echo(f"{one.name} is already there", err=True)
        click.echo(one.path)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def list_command(as_json: bool) -> None:
    """List what `tongues data fetch` can download, and what the cache directory already has."""
    from corpus.fetch.catalog import LASER3_PREFIX
    from corpus.fetch.fetch import list_resources

    entries = list_resources()
    if as_json:
        print_json({one.name: {**one._asdict(), "path": str(one.path)} for one in entries})
        return
    students = [one.name for one in entries if one.name.startswith(LASER3_PREFIX)]
    rows = [
        [one.name, one.about, one.size, "yes" if one.is_there else "no", one.license]
        for one in entries
        if one.is_there or one.name not in students
    ]
    click.echo(format_table(["name", "what", "bytes", "fetched", "license"], rows))
    languages = " ".join(name.removeprefix(LASER3_PREFIX) for name in students)
    click.echo(f"and {LASER3_PREFIX}<language>, LASER3 sentence encoders: {languages}")
