"""`tongues mining …`: crawl shards to filtered bitext."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from corpus import stores
from corpus.command import (
    LANGUAGE,
    PATH,
    PLACE,
    JobOptions,
    config_options,
    job_options,
    json_option,
    priced_job_options,
    print_counts,
    print_json,
)
from corpus.console import format_table
from corpus.errors import UserError
from corpus.fetch.byte_ranges import COMMON_CRAWL
from corpus.languages import Direction, check_language
from corpus.protocols import BUILTIN as BUILTIN_LID
from corpus.protocols import BUILTIN_USED
from corpus.remote import RemoteFile
from mining.bitext.config import (
    EvaluateConfig,
    FilterConfig,
    MetadataConfig,
    ProbabilityConfig,
    RebuildConfig,
    ScoreConfig,
)
from mining.documents.config import AlignConfig, MatchConfig
from mining.encoders import BUILTIN
from mining.encoders.config import DistillConfig, TrainEncoderConfig
from mining.encoders.embed_config import EmbedConfig, ImportLaserConfig, KnownConfig, XsimConfig
from mining.pair.config import PairConfig
from mining.run.config import RunConfig
from mining.search.config import IndexConfig, LocalConfig, MineConfig
from mining.selection.config import SelectConfig
from mining.sentences.config import SentencesConfig, TextConfig

logger = logging.getLogger(__name__)

_PREFIX_HELP = "URL or directory before the paths of a list or table."
_EXPAND_HELP = "Find hosts with one language that the index does not know, in so many rounds."

encoder_option = click.option(
    "--encoder", type=PATH, default=BUILTIN, show_default=True,
    help="Encoder directory, or `builtin`.",
)  # fmt: skip

lid_option = click.option(
    "--lid", type=PATH, default=BUILTIN_LID, show_default=True,
    help="Identifier: a model directory of `tongues lid`, or `builtin`.",
)  # fmt: skip


@click.group()
def group() -> None:
    """Crawl shards to filtered bitext."""


@group.command()
@click.argument("index", nargs=-1, required=True)
@click.option(
    "--language", "languages", type=LANGUAGE, multiple=True, help="Of a page; may be repeated."
)
@click.option(
    "--domain",
    "domains",
    multiple=True,
    help="Domain or top-level domain, with all below; repeatable.",
)
@click.option("--near", type=PATH, multiple=True, help="Known pages: a URL a line; repeatable.")
@click.option("--expand", type=click.IntRange(1, 20), default=None, help=_EXPAND_HELP)
@click.option("--prefix", default=COMMON_CRAWL, show_default=True, help=_PREFIX_HELP)
@lid_option
@click.option("--output", type=PLACE, required=True, help="Table of ranges, .parquet or .tsv.")
@job_options
@config_options(SelectConfig)
@click.pass_context
def select(
    context: click.Context,
    index: tuple[str, ...],
    languages: tuple[str, ...],
    domains: tuple[str, ...],
    near: tuple[Path, ...],
    expand: int | None,
    prefix: str,
    lid: Path,
    output: Path,
    config: SelectConfig,
    job: JobOptions,
) -> None:
    """Select pages from the columnar INDEX of a crawl, and say what reading them takes.

    INDEX: Parquet files, directories of them, or a list of them (cc-index-table.paths.gz); paths or
    URLs. Nothing else is read, but with --expand pages to identify.
    """
    from mining.selection.expand import ExpandInputs, run_expand
    from mining.selection.index import find_index
    from mining.selection.query import check_domain, read_places
    from mining.selection.select import largest_hosts, query_of, run_select
    from mining.sentences.inputs import plan_ranges

    if expand is None and lid != BUILTIN_LID:
        raise UserError("--lid is for --expand; without it no page is read")
    if expand is not None and len(languages) != 1:
        raise UserError("--expand looks for one language; give one --language")
    files = find_index(index, prefix, config.subsets)
    places = read_places(near, config.near)
    named = tuple(dict.fromkeys(map(check_domain, domains)))
    if expand is None:
        query = query_of(config, languages, named, places)
        counts = run_select(files, query, output, config, job.executor)
    else:
        _log_builtin(lid)
        inputs = ExpandInputs(named, places, prefix, lid, context.obj["load_identifier"])
        counts = run_expand(files, languages[0], inputs, expand, output, config, job.executor)
    plan = plan_ranges(output, config.expand.sentences.ranges)
    told: dict[str, float] = {**counts, **plan.cost()}
    if job.as_json:
        print_json({**told, "largest_hosts": largest_hosts(output)})
        return
    print_counts("select", told)
    rows = [[host, pages, size] for host, (pages, size) in largest_hosts(output).items()]
    click.echo(format_table(["host", "pages", "bytes"], rows), err=True)
    if not plan.pages and languages:
        logger.warning(
            "no page is said to be in %s. The index knows the 160 languages of CLD2 only: look for"
            " others with --domain or --near, and --expand.",
            ", ".join(languages),
        )


@group.command()
@click.argument("shards", nargs=-1)
@click.option(
    "--shards-from", default=None, help="List of them, path or URL, a path a line: wet.paths.gz."
)
@click.option("--ranges", type=PLACE, default=None, help="Table of `mining select`: only these.")
@click.option("--prefix", default=None, help=_PREFIX_HELP)
@click.option("--sample", type=float, default=None, help="About so many of the shards, as 0.01.")
@lid_option
@click.option("--output", type=PLACE, required=True, help="Directory of the sentences.")
@priced_job_options
@config_options(SentencesConfig)
@click.pass_context
def sentences(
    context: click.Context,
    shards: tuple[str, ...],
    shards_from: str | None,
    ranges: Path | None,
    prefix: str | None,
    sample: float | None,
    lid: Path,
    output: Path,
    config: SentencesConfig,
    job: JobOptions,
) -> None:
    """Read crawl SHARDS, files or URLs, and write their sentences by language, each once."""
    from corpus.crawl.shard_lists import read_shard_list, sample_by_name
    from corpus.remote import find_files
    from mining.sentences.inputs import Ranges, plan_ranges
    from mining.sentences.merge import KEPT, MERGE_JOB
    from mining.sentences.price import price_sentences
    from mining.sentences.sentences import count_by_language, least_sure, run_sentences

    if sum((bool(shards), shards_from is not None, ranges is not None)) != 1:
        raise UserError("give crawl SHARDS, or --shards-from, or --ranges")
    if prefix is not None and shards:
        raise UserError("--prefix is for --shards-from and --ranges; SHARDS are whole paths")
    _log_builtin(lid)
    load = context.obj["load_identifier"]
    records = None
    files: list[Path | RemoteFile] = []
    if ranges is not None:
        stores.fetch(ranges)
        records = Ranges(ranges, prefix or COMMON_CRAWL, sample)
        plan = plan_ranges(ranges, config.ranges)
        if job.dry_run:
            print_counts("ranges", plan.as_counts(), job.as_json)
            return
        logger.info("%s: %s", ranges, plan)
    else:
        files = find_files(shards) if shards_from is None else read_shard_list(shards_from, prefix)
        files = sample_by_name(files, [file.name for file in files], sample)
    if job.dry_run:
        job.print_price(price_sentences(files, lid, output, config, load))
        return
    counts = run_sentences(files, lid, output, config, load, job.executor, records)
    if job.as_json:
        print_json({**counts, "languages": count_by_language(output, MERGE_JOB)})
    else:
        job.print_counts("sentences", counts)
        by_language = count_by_language(output, MERGE_JOB)
        found = {code: least_sure(output, code) for code, row in by_language.items() if row[KEPT]}
        examples = {code: f"{score:.2f} {text[:40]}" for code, (score, text) in found.items()}
        click.echo(_format_languages(by_language, KEPT, examples), err=True)


@group.command()
@click.argument("shards", nargs=-1)
@click.option("--sentences", type=PLACE, default=None, help="Directory of `mining sentences`.")
@lid_option
@click.option("--output", type=PLACE, required=True, help="Directory of the text.")
@click.option(
    "--language", "languages", type=LANGUAGE, multiple=True, help="Only this one; may be repeated."
)
@job_options
@config_options(TextConfig)
@click.pass_context
def text(
    context: click.Context,
    shards: tuple[str, ...],
    sentences: Path | None,
    lid: Path,
    output: Path,
    languages: tuple[str, ...],
    config: TextConfig,
    job: JobOptions,
) -> None:
    """Write sentences, or those of crawl SHARDS, as plain text or JSON lines by language."""
    from corpus.remote import find_files
    from mining.sentences.sentences import count_by_language
    from mining.sentences.text import TEXT_JOB, WRITTEN, run_text, run_text_of_shards

    if bool(shards) == (sentences is not None):
        raise UserError("give either crawl SHARDS or --sentences")
    if sentences is not None and lid != BUILTIN_LID:
        raise UserError("--lid is for crawl SHARDS; --sentences are identified already")
    if sentences is not None:
        counts = run_text(sentences, output, config, languages, job.executor)
    else:
        _log_builtin(lid)
        load = context.obj["load_identifier"]
        counts = run_text_of_shards(
            find_files(shards), lid, output, config, load, languages, job.executor
        )
    by_language = count_by_language(output, TEXT_JOB, languages)
    if job.as_json:
        print_json({**counts, "languages": by_language})
        return
    print_counts("text", counts)
    click.echo(_format_languages(by_language, WRITTEN), err=True)


@group.command()
@click.option("--bitext", type=PATH, multiple=True, required=True, help="Pairs; may be repeated.")
@click.option("--output", type=PATH, required=True, help="Encoder directory.")
@json_option
@config_options(TrainEncoderConfig)
def train_encoder(
    bitext: tuple[Path, ...], output: Path, config: TrainEncoderConfig, as_json: bool
) -> None:
    """Train a sentence encoder on <source>-<target> bitext or line-aligned <language>.txt.

    One task on this machine; no executor can share it out.
    """
    from mining.encoders.train import run_train_encoder

    print_counts("train-encoder", run_train_encoder(bitext, output, config).counts, as_json)


@group.command()
@click.option("--teacher", type=PATH, required=True, help="Encoder directory, or `builtin`.")
@click.option("--bitext", type=PATH, multiple=True, required=True, help="Pairs; may be repeated.")
@click.option(
    "--language", "languages", type=LANGUAGE, multiple=True, help="Only this one; may be repeated."
)
@click.option("--output", type=PATH, required=True, help="Encoder directory of the student.")
@json_option
@config_options(DistillConfig)
def distill(
    teacher: Path,
    bitext: tuple[Path, ...],
    languages: tuple[str, ...],
    output: Path,
    config: DistillConfig,
    as_json: bool,
) -> None:
    """Add languages: train a student that embeds them where the teacher embeds translations.

    One task on this machine; no executor can share it out.
    """
    from mining.encoders.distill import run_distill

    summary = run_distill(teacher, bitext, output, config, languages)
    print_counts("distill", summary.counts, as_json)


@group.command()
@click.option("--checkpoint", type=PATH, required=True, help="laser2.pt or laser3-*.pt.")
@click.option("--sentencepiece", type=PATH, required=True, help="Its .spm file.")
@click.option("--vocabulary", type=PATH, default=None, help="Its .cvocab file; LASER3 needs it.")
@click.option("--output", type=PATH, required=True, help="Encoder directory.")
@config_options(ImportLaserConfig)
def import_laser(
    checkpoint: Path,
    sentencepiece: Path,
    vocabulary: Path | None,
    output: Path,
    config: ImportLaserConfig,
) -> None:
    """Convert a LASER2 or LASER3 checkpoint to an encoder directory, without fairseq."""
    from mining.encoders.laser import run_import_laser

    summary = run_import_laser(checkpoint, sentencepiece, vocabulary, output, config)
    print_counts("import-laser", dict(summary.counts))


@group.command()
@click.option("--encoder", type=PATH, required=True, help="Encoder directory, or `builtin`.")
@click.option("--flores", type=PATH, required=True, help="Test set in the layout of FLORES-200.")
@click.option("--split", default="devtest", show_default=True, help="Its split.")
@click.option("--output", type=PATH, default=None, help="Adds table, JSON and page in a directory.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@config_options(XsimConfig)
def xsim(
    encoder: Path,
    flores: Path,
    split: str,
    output: Path | None,
    as_json: bool,
    config: XsimConfig,
) -> None:
    """Measure xsim: the share of sentences matched with a wrong translation."""
    from mining.encoders.xsim import measure_xsim
    from mining.encoders.xsim_page import write_xsim, xsim_rows

    measured = measure_xsim(encoder, flores, split, config)
    if output is not None:
        write_xsim(output, measured, f"{encoder.name} on {split} of {flores.name}")
    if as_json:
        print_json(measured.as_json())
        return
    click.echo(format_table(*xsim_rows(measured)))


@group.command()
@click.option("--sentences", type=PLACE, required=True, help="Directory of `mining sentences`.")
@encoder_option
@click.option("--output", type=PLACE, required=True, help="Directory of the embeddings.")
@click.option(
    "--language", "languages", type=LANGUAGE, multiple=True, help="Only this one; may be repeated."
)
@priced_job_options
@config_options(EmbedConfig)
def embed(
    sentences: Path,
    encoder: Path,
    output: Path,
    languages: tuple[str, ...],
    config: EmbedConfig,
    job: JobOptions,
) -> None:
    """Embed sentences, row by row."""
    from mining.encoders.embed import run_embed
    from mining.encoders.price import price_embed

    if job.dry_run:
        job.print_price(price_embed(sentences, encoder, output, config, languages))
        return
    summary = run_embed(sentences, encoder, output, config, languages, job.executor)
    job.print_counts("embed", summary.counts)


@group.command()
@click.option("--bitext", type=PATH, multiple=True, required=True, help="Pairs; may be repeated.")
@encoder_option
@click.option("--output", type=PLACE, required=True, help="Directory of the embedded pairs.")
@job_options
@config_options(KnownConfig)
def embed_known(
    bitext: tuple[Path, ...], encoder: Path, output: Path, config: KnownConfig, job: JobOptions
) -> None:
    """Embed pairs known to be translations, for `mine --known` to calibrate with."""
    from mining.encoders.embed_known import run_embed_known

    summary = run_embed_known(bitext, encoder, output, config, job.executor)
    job.print_counts("embed-known", summary.counts)


@group.command()
@click.argument("source_text", type=PATH)
@click.argument("target_text", type=PATH)
@click.option("--source", required=True, help="Language of the first file, as deu_Latn.")
@click.option("--target", required=True, help="Language of the second file.")
@click.option("--output", type=PATH, required=True, help="Bitext, .tsv or .parquet; or directory.")
@encoder_option
@click.option("--known", type=PATH, default=None, help="Pairs of these languages: calibrates.")
@click.option(
    "--precision",
    type=click.FloatRange(0, 1),
    default=None,
    help="Expected share of right pairs, instead of the best expected F1.",
)
@click.option(
    "--evaluation-sets",
    type=PATH,
    multiple=True,
    help="Sets whose sentences must not be among the pairs; may be repeated.",
)
@json_option
@config_options(PairConfig)
def pair(
    source_text: Path,
    target_text: Path,
    source: str,
    target: str,
    output: Path,
    encoder: Path,
    known: Path | None,
    precision: float | None,
    evaluation_sets: tuple[Path, ...],
    config: PairConfig,
    as_json: bool,
) -> None:
    """Find the translations in two text files: SOURCE_TEXT and TARGET_TEXT, a sentence a line.

    Writes the pairs with their scores and line numbers, a page about them, and what to expect.
    """
    from mining.pair.pair import PairInputs, describe_pairs, expected_of, run_pair

    inputs = PairInputs(
        files=(source_text, target_text),
        direction=Direction(source, target),
        encoder=encoder,
        known=known,
        evaluation_sets=evaluation_sets,
    )
    if precision is not None:
        config = replace(config, mine=replace(config.mine, target_precision=precision))
    path, summary = run_pair(inputs, output, config)
    if as_json:
        print_json({**summary.counts, **expected_of(path)})
        return
    click.echo(describe_pairs(path, summary.counts), err=True)


@group.command()
@click.option("--output", type=PLACE, required=True, help="Directory of everything that is made.")
@job_options
@config_options(RunConfig, is_recipe=True)
@click.pass_context
def run(context: click.Context, output: Path, config: RunConfig, job: JobOptions) -> None:
    """Mine crawl shards as a RECIPE says: from shards to filtered bitext of all language pairs.

    Every step is skipped when it is done; killed anywhere, the same command resumes.
    """
    from mining.run.run import run_mining

    result = run_mining(output, config, context.obj["load_identifier"], job.executor)
    if job.as_json:
        print_json(result.as_json())
        return
    if result.pairs:
        header = ["pair", *next(iter(result.pairs.values()))]
        rows = [[pair, *found.values()] for pair, found in result.pairs.items()]
        click.echo(format_table(header, rows), err=True)
        click.echo(f"page: {stores.shown(output / 'report.html')}", err=True)
    click.echo(f"core hours up to mining: {result.core_hours:.3f}", err=True)
    if result.stopped_in is not None:
        click.echo(
            f"the budget of {config.budget_core_hours} core hours is spent: not begun in"
            f" `{result.stopped_in}`: {', '.join(result.left)}. Run again with a larger"
            " `budget_core_hours` to continue.",
            err=True,
        )


@group.command()
@click.option("--sentences", type=PLACE, required=True, help="Directory of `mining sentences`.")
@click.option("--embeddings", type=PLACE, required=True, help="Directory of `mining embed`.")
@click.option("--source", type=LANGUAGE, required=True, help="Source language.")
@click.option("--target", type=LANGUAGE, required=True, help="Target language.")
@click.option("--output", type=PLACE, required=True, help="Bitext, .parquet or .tsv[.zst].")
@click.option("--known", type=PLACE, default=None, help="Directory of `embed-known`: calibrates.")
@priced_job_options
@config_options(MineConfig)
def mine(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    output: Path,
    known: Path | None,
    config: MineConfig,
    job: JobOptions,
) -> None:
    """Find the sentences of two languages that are translations of each other."""
    from mining.search.mine import run_mine
    from mining.search.price import price_mine

    if job.dry_run:
        job.print_price(price_mine(sentences, embeddings, source, target, output, config, known))
        return
    summary = run_mine(sentences, embeddings, source, target, output, config, known, job.executor)
    job.print_counts(f"mine {source}-{target}", summary.counts)


@group.command()
@click.option("--sentences", type=PATH, required=True, help="Directory of `mining sentences`.")
@click.option("--embeddings", type=PATH, required=True, help="Directory of `mining embed`.")
@click.option("--source", type=LANGUAGE, required=True, help="Source language.")
@click.option("--target", type=LANGUAGE, required=True, help="Target language.")
@click.option(
    "--documents", type=PATH, required=True, help="TSV: source document, target document (URL, id)."
)
@click.option("--output", type=PATH, required=True, help="Bitext, .parquet or .tsv[.zst].")
@job_options
@config_options(LocalConfig)
def mine_local(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    documents: Path,
    output: Path,
    config: LocalConfig,
    job: JobOptions,
) -> None:
    """Find translations inside pairs of documents that belong together.

    One shard, however many documents: `--executor` sets where it runs.
    """
    from mining.search.mine_local import run_mine_local

    places = (sentences, embeddings, source, target, documents, output)
    summary = run_mine_local(*places, config, job.executor)
    job.print_counts(f"mine-local {source}-{target}", summary.counts)


@group.command()
@click.option("--sentences", type=PATH, required=True, help="Directory of `mining sentences`.")
@click.option("--embeddings", type=PATH, default=None, help="Directory of `mining embed`.")
@click.option("--source", type=LANGUAGE, required=True, help="Source language.")
@click.option("--target", type=LANGUAGE, required=True, help="Target language.")
@click.option("--output", type=PATH, required=True, help="The list of pairs, .tsv.")
@job_options
@config_options(MatchConfig)
def match_documents(
    sentences: Path,
    embeddings: Path | None,
    source: str,
    target: str,
    output: Path,
    config: MatchConfig,
    job: JobOptions,
) -> None:
    """List documents that are translations of each other, by address and by vectors.

    One shard: `--executor` sets where it runs.
    """
    from mining.documents.match import run_match

    direction = Direction(source, target)
    summary = run_match(sentences, embeddings, direction, output, config, job.executor)
    job.print_counts(f"match-documents {direction}", summary.counts)


@group.command()
@click.option("--sentences", type=PATH, required=True, help="Directory of `mining sentences`.")
@encoder_option
@click.option("--source", type=LANGUAGE, required=True, help="Source language.")
@click.option("--target", type=LANGUAGE, required=True, help="Target language.")
@click.option(
    "--documents", type=PATH, required=True, help="TSV: source document, target document (URL, id)."
)
@click.option("--output", type=PATH, required=True, help="Bitext, .parquet or .tsv[.zst].")
@job_options
@config_options(AlignConfig)
def align(
    sentences: Path,
    encoder: Path,
    source: str,
    target: str,
    documents: Path,
    output: Path,
    config: AlignConfig,
    job: JobOptions,
) -> None:
    """Align the sentences of documents that belong together, in order: 1-1, 1-2, 2-1 or none.

    One shard, however many documents: `--executor` sets where it runs.
    """
    from mining.documents.align import run_align

    direction = Direction(source, target)
    places = (sentences, encoder, documents, direction, output)
    summary = run_align(*places, config, job.executor)
    job.print_counts(f"align {direction}", summary.counts)


@group.command()
@click.option("--embeddings", type=PATH, required=True, help="Directory of `mining embed`.")
@click.option(
    "--language", "languages", type=LANGUAGE, multiple=True, help="Only this one; may be repeated."
)
@job_options
@config_options(IndexConfig)
def train_index(
    embeddings: Path, languages: tuple[str, ...], config: IndexConfig, job: JobOptions
) -> None:
    """Train the index that `mine` searches above a million sentences, for all pairs.

    One shard, since clusters are learned from all: `--executor` sets where it runs.
    """
    from mining.search.train_index import run_train_index

    summary = run_train_index(embeddings, config, languages, job.executor)
    job.print_counts("train-index", summary.counts)


@group.command()
@click.option("--bitext", type=PATH, required=True, help="Sentence pairs.")
@encoder_option
@click.option("--output", type=PATH, required=True, help="The same pairs with their margins.")
@job_options
@config_options(ScoreConfig)
def score(bitext: Path, encoder: Path, output: Path, config: ScoreConfig, job: JobOptions) -> None:
    """Score the pairs of an existing bitext by margin."""
    from mining.bitext.score import run_score

    summary = run_score(bitext, encoder, output, config, job.executor)
    job.print_counts(f"score {bitext.name}", summary.counts)


@group.command()
@click.option("--bitext", type=PATH, required=True, help="Mined pairs, named <source>-<target>.")
@click.option("--output", type=PATH, required=True, help="The same pairs with `probability`.")
@encoder_option
@click.option("--known", type=PATH, default=None, help="Pairs of these languages to learn from.")
@click.option("--lid", type=PATH, default=None, help="Language identifier for both sides.")
@job_options
@config_options(ProbabilityConfig)
@click.pass_context
def probability(
    context: click.Context,
    bitext: Path,
    output: Path,
    encoder: Path,
    known: Path | None,
    lid: Path | None,
    config: ProbabilityConfig,
    job: JobOptions,
) -> None:
    """Add the probability that each pair is a translation, learned from this bitext.

    For bitext mined with a low threshold; `filter --config min_probability=0.5` follows.
    """
    from mining.bitext.probability import ProbabilityInputs, run_probability

    inputs = ProbabilityInputs(encoder=encoder, known=known, lid=lid)
    load = context.obj["load_identifier"]
    summary = run_probability(bitext, output, inputs, config, load, job.executor)
    job.print_counts(f"probability {bitext.name}", summary.counts)


@group.command("filter")
@click.option("--bitext", type=PLACE, required=True, help="Bitext, named <source>-<target>.")
@click.option("--output", type=PLACE, required=True, help="Bitext that is kept.")
@click.option(
    "--evaluation-sets",
    type=PATH,
    multiple=True,
    help="Sets whose sentences must not stay: layout of FLORES-200, or text; may be repeated.",
)
@click.option("--lid", type=PATH, default=None, help="Language identifier for both sides.")
@click.option(
    "--toxicity", type=PATH, default=None, help="Word lists: <language>.txt in a directory."
)
@click.option("--rejects", type=PLACE, default=None, help="Where the rejects go, with reasons.")
@job_options
@config_options(FilterConfig)
@click.pass_context
def filter_bitext(
    context: click.Context,
    bitext: Path,
    output: Path,
    evaluation_sets: tuple[Path, ...],
    lid: Path | None,
    toxicity: Path | None,
    rejects: Path | None,
    config: FilterConfig,
    job: JobOptions,
) -> None:
    """Keep the pairs that pass all filters; count the others by reason."""
    from mining.bitext.filter import FilterInputs, run_filter

    inputs = FilterInputs(evaluation_sets=evaluation_sets, lid=lid, toxicity=toxicity)
    load = context.obj["load_identifier"]
    summary = run_filter(
        bitext,
        output,
        inputs,
        config,
        rejects=rejects,
        load_identifier=load,
        executor=job.executor,
    )
    job.print_counts(f"filter {bitext.name}", summary.counts)


@group.command()
@click.option("--bitext", type=PATH, required=True, help="Bitext, named <source>-<target>.")
@click.option("--sentences", type=PATH, required=True, help="Directory of `mining sentences`.")
@click.option("--output", type=PATH, required=True, help="Metadata, .meta, .meta.gz or .meta.zst.")
@job_options
@config_options(MetadataConfig)
def metadata(
    bitext: Path, sentences: Path, output: Path, config: MetadataConfig, job: JobOptions
) -> None:
    """Write the places of a bitext's sentences, without text, in the format of NLLB's metadata.

    One shard: `--executor` sets where it runs.
    """
    from mining.bitext.metadata import run_metadata

    summary = run_metadata(bitext, sentences, output, config, job.executor)
    job.print_counts(f"metadata {bitext.name}", summary.counts)


@group.command()
@click.argument("shards", nargs=-1)
@click.option("--metadata", type=PATH, required=True, help="Of `mining metadata`, or NLLB's.")
@click.option("--sentences", type=PATH, default=None, help="Directory of `mining sentences`.")
@click.option("--output", type=PATH, required=True, help="Bitext, .parquet or .tsv[.zst].")
@job_options
@config_options(RebuildConfig)
def rebuild(
    shards: tuple[str, ...],
    metadata: Path,
    sentences: Path | None,
    output: Path,
    config: RebuildConfig,
    job: JobOptions,
) -> None:
    """Recover the text of bitext metadata from crawl SHARDS, files or URLs, or from sentences."""
    from corpus.remote import find_files
    from mining.bitext.rebuild import run_rebuild

    files = find_files(shards)
    summary = run_rebuild(metadata, files, output, sentences, config, job.executor)
    job.print_counts(f"rebuild {metadata.name}", summary.counts)


@group.command()
@click.option("--bitext", type=PATH, required=True, help="Directory of mined bitext.")
@click.option("--gold", type=PATH, required=True, help="Directory of the pairs known to be there.")
@click.option("--sentences", type=PATH, default=None, help="Adds the highest possible recall.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@config_options(EvaluateConfig)
def evaluate(
    bitext: Path, gold: Path, sentences: Path | None, as_json: bool, config: EvaluateConfig
) -> None:
    """Compare mined pairs with the pairs known to be in the shards."""
    from mining.bitext.evaluate import evaluate_mining

    result = evaluate_mining(bitext, gold, sentences, config)
    if as_json:
        print_json(result.as_json())
        return
    header = ["direction", *next(iter(result.pairs.values()))]
    click.echo(format_table(header, [[key, *row.values()] for key, row in result.pairs.items()]))


@group.command()
@click.option("--bitext", type=PATH, required=True, help="Directory of the pairs kept.")
@click.option("--mined", type=PATH, default=None, help="Directory of `mining mine`.")
@click.option("--sentences", type=PATH, default=None, help="Directory of `mining sentences`.")
@click.option("--embeddings", type=PATH, default=None, help="Directory of `mining embed`.")
@click.option("--output", type=PATH, required=True, help="The page, .html.")
def report(
    bitext: Path, mined: Path | None, sentences: Path | None, embeddings: Path | None, output: Path
) -> None:
    """Write a report page: counts by step, scores and precision, samples, domains."""
    from mining.bitext.report import write_report

    write_report(output, bitext=bitext, mined=mined, sentences=sentences, embeddings=embeddings)
    click.echo(str(output), err=True)


def _log_builtin(lid: Path) -> None:
    if lid == BUILTIN_LID:
        logger.info(BUILTIN_USED)


def _format_languages(
    counts: Mapping[str, Mapping[str, int]], wanted: str, examples: Mapping[str, str] | None = None
) -> str:
    """Return the counts of each language as a table, that with most `wanted` first.

    Args:
        counts: What was counted, by language.
        wanted: The count that orders them, of which each language's share is told.
        examples: The least sure sentence of languages.
    """
    columns = list(
        dict.fromkeys(
            name
            for row in counts.values()
            for name, count in row.items()
            if count or not name.startswith("rejected.")
        )
    )
    columns.sort(key=lambda reason: reason != wanted)
    total = sum(row.get(wanted, 0) for row in counts.values())
    rows = []
    for code in sorted(counts, key=lambda code: (-counts[code].get(wanted, 0), code)):
        own = [counts[code].get(reason, 0) for reason in columns]
        share = f"{own[0] / total:.1%}" if total else ""
        row = [code, check_language(code).name, own[0], share, *own[1:]]
        rows.append([*row, examples.get(code, "")] if examples is not None else row)
    header = ["language", "name", columns[0], "share", *columns[1:]] if columns else []
    return format_table([*header, *(["least sure"] if examples is not None else [])], rows)
