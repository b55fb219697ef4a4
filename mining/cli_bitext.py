"""Commands of bitext that was mined: filter, metadata and back, measure, report."""

from pathlib import Path

import click

from corpus.command import PATH, JobOptions, config_options, job_options, print_json
from corpus.console import format_table
from mining.bitext.config import FilterConfig, RebuildConfig


@click.command("filter")
@click.option("--bitext", type=PATH, required=True, help="Bitext, named <source>-<target>.")
@click.option("--output", type=PATH, required=True, help="Bitext that is kept.")
@click.option(
    "--evaluation-sets", type=PATH, multiple=True,
    help="Sets whose sentences must not stay: layout of FLORES-200, or text; may be repeated.",
)  # fmt: skip
@click.option("--lid", type=PATH, default=None, help="Language identifier to ask of both sides.")
@click.option(
    "--toxicity", type=PATH, default=None, help="Word lists: <language>.txt in a directory."
)
@click.option("--rejects", type=PATH, default=None, help="Where the rejects go, with reasons.")
@job_options
@config_options(FilterConfig)
@click.pass_context
def filter_bitext(
    context: click.Context, bitext: Path, output: Path, evaluation_sets: tuple[Path, ...],
    lid: Path | None, toxicity: Path | None, rejects: Path | None, config: FilterConfig,
    job: JobOptions,
) -> None:  # fmt: skip
    """Keep the pairs that pass all filters; count the others by reason."""
    from mining.bitext.filter import FilterInputs, run_filter

    inputs = FilterInputs(evaluation_sets=evaluation_sets, lid=lid, toxicity=toxicity)
    load = context.obj["load_identifier"]
    summary = run_filter(
        bitext, output, inputs, config,
        rejects=rejects, load_identifier=load, executor=job.executor,
    )  # fmt: skip
    job.print_counts(f"filter {bitext.name}", summary.counts)


@click.command()
@click.option("--bitext", type=PATH, required=True, help="Bitext, named <source>-<target>.")
@click.option("--sentences", type=PATH, required=True, help="Directory of `mining sentences`.")
@click.option("--output", type=PATH, required=True, help="Metadata, .meta, .meta.gz or .meta.zst.")
@job_options
def metadata(bitext: Path, sentences: Path, output: Path, job: JobOptions) -> None:
    """Write where the sentences of a bitext stood, without text, as NLLB's metadata does.

    One shard: an executor says where it is worked on.
    """
    from mining.bitext.metadata import run_metadata

    summary = run_metadata(bitext, sentences, output, job.executor)
    job.print_counts(f"metadata {bitext.name}", summary.counts)


@click.command()
@click.argument("shards", nargs=-1)
@click.option("--metadata", type=PATH, required=True, help="Of `mining metadata`, or NLLB's.")
@click.option("--sentences", type=PATH, default=None, help="Directory of `mining sentences`.")
@click.option("--output", type=PATH, required=True, help="Bitext, .parquet or .tsv[.zst].")
@job_options
@config_options(RebuildConfig)
def rebuild(
    shards: tuple[str, ...], metadata: Path, sentences: Path | None, output: Path,
    config: RebuildConfig, job: JobOptions,
) -> None:  # fmt: skip
    """Find the text of bitext metadata again, in crawl SHARDS, files or URLs, or in sentences."""
    from corpus.remote import find_files
    from mining.bitext.rebuild import run_rebuild

    files = find_files(shards)
    summary = run_rebuild(metadata, files, output, sentences, config, job.executor)
    job.print_counts(f"rebuild {metadata.name}", summary.counts)


@click.command()
@click.option("--bitext", type=PATH, required=True, help="Directory of mined bitext.")
@click.option("--gold", type=PATH, required=True, help="Directory of the pairs known to be there.")
@click.option("--sentences", type=PATH, default=None, help="Adds the recall they allow at best.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def evaluate(bitext: Path, gold: Path, sentences: Path | None, as_json: bool) -> None:
    """Compare mined pairs with pairs known to be in the shards."""
    from mining.bitext.evaluate import evaluate_mining

    result = evaluate_mining(bitext, gold, sentences)
    if as_json:
        print_json(result.as_json())
        return
    header = ["direction", *next(iter(result.pairs.values()))]
    click.echo(format_table(header, [[key, *row.values()] for key, row in result.pairs.items()]))


@click.command()
@click.option("--bitext", type=PATH, required=True, help="Directory of the pairs kept.")
@click.option("--mined", type=PATH, default=None, help="Directory of `mining mine`.")
@click.option("--sentences", type=PATH, default=None, help="Directory of `mining sentences`.")
@click.option("--embeddings", type=PATH, default=None, help="Directory of `mining embed`.")
@click.option("--output", type=PATH, required=True, help="The page, .html.")
def report(
    bitext: Path, mined: Path | None, sentences: Path | None, embeddings: Path | None, output: Path
) -> None:
    """Write a page: counts from step to step, scores and precision, samples, domains."""
    from mining.bitext.report import write_report

    write_report(output, bitext=bitext, mined=mined, sentences=sentences, embeddings=embeddings)
    click.echo(str(output), err=True)


BITEXT_COMMANDS: tuple[click.Command, ...] = (filter_bitext, metadata, rebuild, evaluate, report)
