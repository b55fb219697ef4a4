"""Commands that translate: lines, files, FLORES splits."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from corpus.command import PATH, config_options, executor_option, print_counts
from corpus.files import stdin_lines
from corpus.jobs import Executor
from corpus.languages import Direction, parse_directions
from nmt.translation.decoding.config import BackTranslateConfig, TranslateConfig

logger = logging.getLogger(__name__)


@click.command()
@click.argument("files", nargs=-1, type=PATH)
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--source", required=True, help="Language of the input, as eng_Latn.")
@click.option("--target", required=True, help="Language of the output.")
@click.option("--output", type=PATH, default=None, help="Directory of the translations of FILES.")
@click.option("--scores", is_flag=True, help="Begin lines with score, tab, log-probability, tab.")
@executor_option
@config_options(TranslateConfig)
def translate(
    files: tuple[Path, ...],
    model: Path,
    source: str,
    target: str,
    output: Path | None,
    scores: bool,
    executor: Executor,
    config: TranslateConfig,
) -> None:
    """Translate the lines of standard input, one line out for each; or FILES into a directory.

    Files are plain, .gz or .zst, and are written under their own names.
    """
    direction = Direction(source, target)
    if (output is None) != (not files):
        raise click.UsageError("give FILES and --output together, or neither")
    if output is None:
        _translate_input(model, direction, scores, config)
        return
    from nmt.translation.translate_files import translate_files

    summary = translate_files(
        model, files, direction, output, config, scores=scores, executor=executor
    )
    print_counts("lines", dict(summary.counts))


def _translate_input(
    model: Path, direction: Direction, scores: bool, config: TranslateConfig
) -> None:
    from nmt.translation.translate_files import model_languages
    from nmt.translation.translator import check_direction, open_translator
    from nmt.usage.expert_selection import Needed

    check_direction(direction, *model_languages(model))
    translator = open_translator(model, config, Needed.of([direction]))
    lines = stdin_lines()
    output = sys.stdout.buffer
    for block in translator.stream(lines, *direction):
        text = "".join(translation.as_line(scores) + "\n" for translation in block)
        output.write(text.encode("utf-8", "replace"))
        output.flush()
    translator.warn()
    if lines.invalid_lines:
        logger.warning("%d lines were not valid UTF-8", lines.invalid_lines)


@click.command("translate-flores")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="devtest", show_default=True, help="Split to translate.")
@click.option("--directions", default="", help="A-B,C-D; all that were trained without it.")
@click.option("--output", type=PATH, required=True, help="Directory of the hypotheses.")
@executor_option
@config_options(TranslateConfig)
def translate_flores(
    model: Path,
    flores: Path,
    split: str,
    directions: str,
    output: Path,
    executor: Executor,
    config: TranslateConfig,
) -> None:
    """Translate a FLORES split into <source>-<target>.txt for many directions."""
    from nmt.translation.translate_files import translate_flores as translate_split

    summary = translate_split(
        model, flores, split, parse_directions(directions), output, config, executor
    )
    print_counts("hypotheses", dict(summary.counts))


@click.command("back-translate")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--text", type=PATH, required=True, help="Sentences by language, or <language>.txt.")
@click.option(
    "--directions", required=True,
    help="A-B,C-D that the bitext is for: text of B is there, and the model writes A.",
)  # fmt: skip
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
    from nmt.translation.back_translate import back_translate as translate_text

    summary = translate_text(model, text, parse_directions(directions), output, config, executor)
    print_counts("pairs", dict(summary.counts))


COMMANDS: tuple[click.Command, ...] = (translate, translate_flores, back_translate)
