"""Commands of translation."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from corpus.command import (
    LANGUAGE,
    PATH,
    JobOptions,
    config_options,
    executor_option,
    priced_job_options,
    print_counts,
    print_json,
)
from corpus.console import format_table
from corpus.errors import UserError
from corpus.files import stdin_lines
from corpus.flores import split_languages
from corpus.jobs import Executor
from corpus.languages import Direction, check_language, parse_directions, parse_language
from nmt.data.directory import check_tokens
from nmt.interop.config import ExportConfig, ImportConfig
from nmt.interop.settings import read_settings
from nmt.model.config import named_config
from nmt.model.files import check_model
from nmt.serving.config import ServeConfig
from nmt.sizing.config import LayoutConfig
from nmt.training.config import TrainConfig
from nmt.training.curriculum import DerivationConfig
from nmt.training.curves import read_curves
from nmt.training.directory import TRAINING_DIRECTORY, check_output
from nmt.training.summary import summarize
from nmt.translation.decoding.config import (
    BackTranslateConfig,
    DistillBitextConfig,
    TranslateConfig,
)
from nmt.usage.config import UsageConfig
from nmt.vocabulary.config import ExtendConfig, VocabularyConfig

if TYPE_CHECKING:
    from typing import Any

    from corpus.protocols import EncoderLoader

logger = logging.getLogger(__name__)


@click.group()
def group() -> None:
    """Translation: vocabulary, training, translation."""


def _with_choices(config: TrainConfig) -> TrainConfig:
    """Return a training's config with what it will choose, where its data are there."""
    from nmt.training.from_scratch import with_choices

    return with_choices(config)


@group.command()
@click.option("--bitext", type=PATH, multiple=True, help="Directory of bitext; may be repeated.")
@click.option(
    "--text",
    type=PATH,
    multiple=True,
    help="Directory of <language>.txt, or of sentences; may be repeated.",
)
@click.option("--output", type=PATH, required=True, help="Vocabulary directory to write.")
@config_options(VocabularyConfig)
def vocabulary(
    bitext: tuple[Path, ...], text: tuple[Path, ...], output: Path, config: VocabularyConfig
) -> None:
    """Train a SentencePiece vocabulary on both sides of bitext, and on text of one language."""
    from nmt.vocabulary.train import train_vocabulary

    summary = train_vocabulary(bitext, output, config, text)
    print_counts("vocabulary", dict(summary.counts))


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option(
    "--language",
    "languages",
    multiple=True,
    required=True,
    help="Language to add; may be repeated.",
)
@click.option(
    "--text",
    type=PATH,
    required=True,
    help="Directory of <language>.txt, or of sentences: of the new languages, and of old ones.",
)
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@click.option(
    "--like",
    "likes",
    multiple=True,
    help="Language whose token the new one's begins as; one for each --language, or for all.",
)
@config_options(ExtendConfig)
def extend(
    model: Path,
    languages: tuple[str, ...],
    text: Path,
    output: Path,
    likes: tuple[str, ...],
    config: ExtendConfig,
) -> None:
    """Add languages to a model: their tokens, and pieces where their text is cut into too many."""
    check_model(model)
    if len(likes) not in (0, 1, len(languages)):
        raise click.UsageError(f"--like is given {len(likes)} times, --language {len(languages)}")
    codes = [parse_language(language).code for language in languages]
    alike: list[str | None] = [parse_language(like).code for like in likes] or [None]
    alike *= len(codes) // len(alike)
    from nmt.extend import NewLanguage, extend_model

    added = [NewLanguage(code, like) for code, like in zip(codes, alike, strict=True)]
    print_counts("model", dict(extend_model(model, added, text, output, config).counts))


@group.command()
@click.option("--output", type=PATH, required=True, help="Directory of the tokens.")
@priced_job_options
@config_options(TrainConfig)
def tokenize(output: Path, job: JobOptions, config: TrainConfig) -> None:
    """Tokenize the training data in advance, for `data.directory`."""
    check_tokens(output, config.training_data)  # before SentencePiece is loaded
    from nmt.data.price import price_tokenize
    from nmt.data.tokenize import run_tokenize

    if job.dry_run:
        job.print_price(price_tokenize(config.training_data, output))
        return
    job.print_counts("tokens", run_tokenize(config.training_data, output, job.executor).counts)


@group.command()
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options(TrainConfig, show=_with_choices)
@click.pass_context
def train(context: click.Context, output: Path, as_json: bool, config: TrainConfig) -> None:
    """Train a model; run again, it resumes from its last checkpoint.

    The command is the same for one process, torchrun and srun.
    """
    check_output(output, config)  # before torch is imported
    from nmt.training.train import train as train_model

    summary = train_model(config, output, load_scorer=context.obj["load_scorer"])
    if summary is None:  # only rank 0 prints the result
        return
    if as_json:
        curves = read_curves(output / TRAINING_DIRECTORY)
        print_json({"counts": dict(summary.counts), **summarize(curves)})
    else:
        print_counts("model", dict(summary.counts))


@group.command()
@click.option(
    "--training",
    type=PATH,
    required=True,
    help="Model directory of a run on all directions, or a TSV of direction, update, nll.",
)
@click.option("--output", type=PATH, required=True, help="YAML file of phases to write.")
@config_options(DerivationConfig)
def curriculum(training: Path, output: Path, config: DerivationConfig) -> None:
    """Derive from validation curves in which phase each direction enters training."""
    from nmt.training.curriculum import derive_curriculum

    summary = derive_curriculum(training, output, config)
    print_counts("curriculum", dict(summary.counts))


@group.command()
@click.argument("files", nargs=-1, type=PATH)
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--source", type=LANGUAGE, required=True, help="Language of the input: eng_Latn, en.")
@click.option("--target", type=LANGUAGE, required=True, help="Language of the output.")
@click.option("--output", type=PATH, default=None, help="Directory of the translations of FILES.")
@click.option(
    "--scores",
    is_flag=True,
    help="Prefix each line with its score and log-probability, separated by tabs.",
)
@click.option("--adapter", type=PATH, help="Adapter that a training with `lora` kept.")
@click.option("--glossary", type=PATH, help="TSV of terms whose translations must appear.")
@click.option(
    "--encoder",
    type=PATH,
    help="Encoder directory, or `builtin`: count sentences that may have lost a part.",
)
@executor_option
@config_options(TranslateConfig)
@click.pass_context
def translate(
    context: click.Context,
    files: tuple[Path, ...],
    model: Path,
    source: str,
    target: str,
    output: Path | None,
    scores: bool,
    adapter: Path | None,
    glossary: Path | None,
    encoder: Path | None,
    executor: Executor,
    config: TranslateConfig,
) -> None:
    """Translate the lines of standard input, one line out for each; or FILES into a directory.

    Files are plain, .gz or .zst, and are written under their own names. `--adapter`, `--glossary`
    and `--encoder` are keys of the config, too; an encoder also makes `omissions` count.
    """
    config = replace(
        config,
        adapter=adapter or config.adapter,
        glossary=glossary or config.glossary,
        encoder=encoder or config.encoder,
        omissions="count" if encoder and config.omissions == "ignore" else config.omissions,
    )
    direction = Direction(source, target)
    if (output is None) != (not files):
        raise click.UsageError("give FILES and --output together, or neither")
    check_model(model)
    for language in direction:
        check_language(language)
    if output is None:
        _translate_input(model, direction, scores, config, context.obj["load_encoder"])
        return
    from nmt.translation.translate_files import translate_files

    summary = translate_files(
        model,
        files,
        direction,
        output,
        config,
        scores=scores,
        executor=executor,
        load_encoder=context.obj["load_encoder"],
    )
    print_counts("lines", dict(summary.counts))


def _translate_input(
    model: Path,
    direction: Direction,
    scores: bool,
    config: TranslateConfig,
    load_encoder: EncoderLoader,
) -> None:
    from nmt.translation.translate_files import model_languages
    from nmt.translation.translator import check_direction, open_translator
    from nmt.usage.expert_selection import Needed

    check_direction(direction, *model_languages(model, config.adapter))
    translator = open_translator(model, config, Needed.of([direction]), load_encoder)
    lines = stdin_lines()
    output = sys.stdout.buffer
    first = 1
    for block in translator.stream(lines, *direction):
        text = "".join(f"{line}\n" for line in translator.as_lines(block, scores, first))
        output.write(text.encode("utf-8", "replace"))
        output.flush()
        first += len(block)
    translator.warn()
    if lines.invalid_lines:
        logger.warning("%d lines were not valid UTF-8", lines.invalid_lines)


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory.")
@config_options(ServeConfig)
def serve(model: Path, config: ServeConfig) -> None:
    """Serve a model over HTTP, with a page to try it, until it is stopped.

    The address is printed when requests are taken.
    """
    check_model(model)
    from nmt.serving.serve import serve as serve_model

    serve_model(model, config, click.echo)


@group.command("translate-flores")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="devtest", show_default=True, help="Split to translate.")
@click.option("--directions", default="", help="A-B,C-D; by default all trained directions.")
@click.option("--output", type=PATH, required=True, help="Directory of the hypotheses.")
@executor_option
@config_options(TranslateConfig)
@click.pass_context
def translate_flores(
    context: click.Context,
    model: Path,
    flores: Path,
    split: str,
    directions: str,
    output: Path,
    executor: Executor,
    config: TranslateConfig,
) -> None:
    """Translate a FLORES split into <source>-<target>.txt for many directions."""
    chosen = parse_directions(directions)
    check_model(model)
    split_languages(flores, split)
    from nmt.translation.translate_files import translate_flores as translate_split

    load_encoder = context.obj["load_encoder"]
    summary = translate_split(model, flores, split, chosen, output, config, executor, load_encoder)
    print_counts("hypotheses", dict(summary.counts))


@group.command("back-translate")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--text", type=PATH, required=True, help="Sentences by language, or <language>.txt.")
@click.option(
    "--directions",
    required=True,
    help="A-B,C-D: B is the language of the text, A that of the translations.",
)
@click.option("--output", type=PATH, required=True, help="Directory of the bitext.")
@executor_option
@config_options(BackTranslateConfig)
def back_translate(
    model: Path,
    text: Path,
    directions: str,
    output: Path,
    executor: Executor,
    config: BackTranslateConfig,
) -> None:
    """Write bitext whose target is text and whose source is its translation."""
    check_model(model)
    from nmt.translation.back_translate import back_translate as translate_text

    summary = translate_text(model, text, parse_directions(directions), output, config, executor)
    print_counts("pairs", dict(summary.counts))


@group.command()
@click.option("--teacher", type=PATH, required=True, help="Model directory of the teacher.")
@click.option(
    "--bitext", type=PATH, required=True, help="Directory of bitext whose sources are translated."
)
@click.option(
    "--directions", default="", help="A-B,C-D; by default all that the teacher was trained on."
)
@click.option("--output", type=PATH, required=True, help="Directory of the new bitext.")
@executor_option
@config_options(DistillBitextConfig)
def distill(
    teacher: Path,
    bitext: Path,
    directions: str,
    output: Path,
    executor: Executor,
    config: DistillBitextConfig,
) -> None:
    """Write a teacher's translations of a bitext's sources as bitext for a student."""
    check_model(teacher)
    from nmt.translation.distill import distill_bitext

    summary = distill_bitext(
        teacher, bitext, parse_directions(directions), output, config, executor
    )
    print_counts("bitext", dict(summary.counts))


@group.command()
@click.option("--size", required=True, help="Named size.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--vocabulary-size", type=int, default=None, help="Tokens; NLLB-200's by default.")
@config_options(LayoutConfig)
def describe(size: str, as_json: bool, vocabulary_size: int | None, config: LayoutConfig) -> None:
    """Count the parameters, operations and memory of a model without training it.

    With `cost.tokens`, GPU hours and energy of a training, too.
    """
    named_config(size)
    from nmt.sizing.describe import describe_size

    training = config.cost.training
    mfu = None if training is None else _measured_mfu(training)
    description: dict[str, Any] = describe_size(size, vocabulary_size, config, measured_mfu=mfu)
    if as_json:
        print_json(description)
        return
    memory, cost = description.pop("memory_per_gpu"), description.pop("cost", None)
    rows = [[name, f"{v:,}" if isinstance(v, int) else v] for name, v in description.items()]
    click.echo(format_table(["figure", "value"], rows))
    rows = [[name, f"{size / 1e9:,.2f} GB"] for name, size in memory.items()]
    place = "memory per GPU" if config.device == "cuda" else "memory of the process"
    click.echo("\n" + format_table([place, "estimate"], rows))
    if cost is None:
        return
    rows = [
        ["tokens", f"{cost['tokens']:,}"],
        ["operations", f"{cost['flops']:.3g}"],
        ["GPU hours", f"{cost['gpu_hours']:,.0f}"],
        [f"hours of {config.gpus:,} GPUs", f"{cost['hours']:,.1f}"],
        ["energy", f"{cost['energy_kwh']:,.0f} kWh"],
    ]
    click.echo("\n" + format_table(["cost of training", "estimate"], rows))
    click.echo("\n".join(["", *(f"- {assumption}" for assumption in cost["assumptions"])]))


def _measured_mfu(model: Path) -> float:
    """Return the median MFU that a training has logged.

    Raises:
        UserError: If it has logged none.
    """
    from nmt.training.curves import read_curves
    from nmt.training.directory import TRAINING_DIRECTORY
    from nmt.training.summary import UTILIZATION, summarize

    mfu = summarize(read_curves(model / TRAINING_DIRECTORY))[UTILIZATION]
    if mfu is None:
        raise UserError(f"{model} holds no training that has logged its MFU (`cost.training`)")
    return float(mfu)


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="dev", show_default=True, help="Split to run through the model.")
@click.option("--directions", default="", help="A-B,C-D; by default all trained directions.")
@click.option("--output", type=PATH, default=None, help="Directory of tables and a page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options(UsageConfig)
def experts(
    model: Path,
    flores: Path,
    split: str,
    directions: str,
    output: Path | None,
    as_json: bool,
    config: UsageConfig,
) -> None:
    """Report which experts the tokens of each language are routed to, layer by layer."""
    check_model(model)
    split_languages(flores, split)
    from nmt.usage.experts import measure_or_report

    usage = measure_or_report(model, flores, split, parse_directions(directions), output, config)
    if as_json:
        print_json(usage)
        return
    for name, layer in usage["layers"].items():
        numbers = [f"expert {i}" for i in range(len(layer["load"]))]
        rows = [[language, *shares] for language, shares in layer["languages"].items()]
        click.echo(f"{name}: gate entropy {layer['entropy']:.3f} of {layer['max_entropy']:.3f}")
        click.echo(format_table(["language", *numbers], [*rows, ["all", *layer["load"]]]) + "\n")


@group.command("import")
@click.option(
    "--from",
    "source",
    type=PATH,
    required=True,
    help="NLLB-200 checkpoint in transformers' layout, safetensors or pytorch_model.bin.",
)
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@config_options(ImportConfig)
def import_command(source: Path, output: Path, config: ImportConfig) -> None:
    """Convert an NLLB-200 checkpoint, dense or with experts, to a model directory."""
    read_settings(source)
    from nmt.interop.import_model import import_checkpoint

    print_counts("model", dict(import_checkpoint(source, output, config).counts))


@group.command()
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    required=True,
    help="Model directory; repeated. One that is named twice counts twice.",
)
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
def average(models: tuple[Path, ...], output: Path) -> None:
    """Average the weights of models with one shape and vocabulary."""
    for model in models:
        check_model(model)
    from nmt.interop.average import average_models

    print_counts("model", dict(average_models(models, output).counts))


@group.command("export")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option(
    "--to",
    "layout",
    type=click.Choice(["transformers", "ctranslate2"]),
    required=True,
    help="Target format; ctranslate2 supports dense models only.",
)
@click.option("--output", type=PATH, required=True, help="Directory to write.")
@config_options(ExportConfig)
def export_command(model: Path, layout: str, output: Path, config: ExportConfig) -> None:
    """Export a model in the format of transformers or CTranslate2."""
    check_model(model)
    if layout == "transformers":
        from nmt.interop.export_model import export_to_transformers as export
    else:
        from nmt.interop.ctranslate import export_to_ctranslate2 as export
    print_counts("export", dict(export(model, output, config).counts))
