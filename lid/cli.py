"""`tongues lid`: the commands of language identification."""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from corpus.command import PATH, config_options, print_counts, print_json
from corpus.console import format_table
from corpus.errors import UserError
from corpus.languages import parse_language
from corpus.protocols import BUILTIN, BUILTIN_USED, IdentifierOptions
from lid.config import CalibrationConfig, ExtendConfig, MeasureConfig, TrainConfig
from lid.directory import NLLB, OPENLID, PLAIN, PREPARATIONS

if TYPE_CHECKING:
    from typing import Any

logger = logging.getLogger(__name__)


@click.group()
def group() -> None:
    """Language identification: train, calibrate, import, identify, measure."""


@group.command()
@click.option(
    "--data",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <language>.txt[.gz|.zst]; may be repeated.",
)
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@config_options(TrainConfig)
def train(data: tuple[Path, ...], output: Path, config: TrainConfig) -> None:
    """Train a model on labeled text: one file per language, a sentence per line."""
    from lid.train import train as train_identifier

    summary = train_identifier(data, output, config)
    print_counts("lines", dict(summary.counts))


@group.command()
@click.option(
    "--model",
    type=PATH,
    default=BUILTIN,
    show_default=True,
    help="Model directory, or `builtin`, which needs none.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Classes written per line, as further pairs.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the model's memory.",
)
@click.option(
    "--languages",
    default="",
    metavar="A,B,…",
    help="The only languages to answer, beside `und` and `zxx`.  [default: all]",
)
@click.option(
    "--and",
    "second_model",
    type=PATH,
    help="Second model directory; where the two answers differ, the answer is `und`.",
)
@click.option(
    "--groups",
    "with_groups",
    is_flag=True,
    help="Answer with a confusable group, such as bos_Latn,hrv_Latn, where no language is sure.",
)
@click.option(
    "--spans",
    "with_spans",
    is_flag=True,
    help="Write language, score, start and end of each part of a line that mixes languages.",
)
def identify(
    model: Path,
    top: int,
    processes: int,
    languages: str,
    second_model: Path | None,
    with_groups: bool,
    with_spans: bool,
) -> None:
    """Write `language<TAB>score` for each line of standard input."""
    from lid.identify import identify_blocks

    if model == BUILTIN:
        logger.info(BUILTIN_USED)
    wanted = [parse_language(name).code for name in languages.split(",") if name.strip()]
    lines = invalid_lines = 0
    output = sys.stdout.buffer
    options = IdentifierOptions(
        languages=tuple(wanted), agree_with=second_model, groups=with_groups, spans=with_spans
    )
    for block in identify_blocks(sys.stdin.buffer, model, top, processes, options):
        try:
            output.write(block.text)
            output.flush()
        except OSError as error:
            if error.errno != errno.EBADF:  # a full disk or a reader that left
                raise
            raise UserError("standard output cannot be written to.") from error
        lines += block.lines
        invalid_lines += block.invalid_lines
    if invalid_lines:
        logger.warning(
            "%d of %d lines were not valid UTF-8; their invalid bytes were read as U+FFFD",
            invalid_lines,
            lines,
        )


@group.command()
@click.option(
    "--model",
    type=PATH,
    default=BUILTIN,
    show_default=True,
    help="Identifier directory, or `builtin`: it stays as it is.",
)
@click.option("--language", required=True, help="The language to add.")
@click.option(
    "--text",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <language>.txt[.gz|.zst] with known text of it; may be repeated.",
)
@click.option(
    "--labeled",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of text as the model labels it (`mining text`); may be repeated.",
)
@click.option("--output", type=PATH, required=True, help="Identifier directory to write.")
@config_options(ExtendConfig)
def extend(
    model: Path,
    language: str,
    text: tuple[Path, ...],
    labeled: tuple[Path, ...],
    output: Path,
    config: ExtendConfig,
) -> None:
    """Add a language to a model of which there is no training text: a detector beside it.

    Lines of the language that the model labels as its relatives are found and learned from.
    """
    from lid.extend import extend as extend_identifier

    code = parse_language(language).code
    summary = extend_identifier(model, code, text, labeled, output, config)
    print_counts("lines", dict(summary.counts))


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--data", type=PATH, required=True, help="Directory of <language>.txt[.gz|.zst].")
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@config_options(CalibrationConfig)
def calibrate(model: Path, data: Path, output: Path, config: CalibrationConfig) -> None:
    """Copy a model and choose its temperature and thresholds on other labeled text."""
    from lid.calibrate import calibrate

    summary = calibrate(model, data, output, config)
    print_counts("lines", dict(summary.counts))


@group.command(name="import")
@click.option("--model", "model_file", type=PATH, required=True, help="fastText file (.bin, .ftz).")
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@click.option("--sha256", default="", help="SHA-256 that the file must have.")
@click.option(
    "--preparation",
    type=click.Choice(["auto", PLAIN, OPENLID, NLLB]),
    default="auto",
    show_default=True,
    help="How lines were prepared in training; `openlid`: lower case, no digits or punctuation;"
    " `nllb`: case kept.",
)
def import_command(model_file: Path, output: Path, sha256: str, preparation: str) -> None:
    """Write a model directory from a published fastText model: lid.176, NLLB, OpenLID, GlotLID."""
    from lid.import_fasttext import import_model

    imported = import_model(model_file, output, sha256, preparation)
    click.echo(
        f"{imported.name}: {len(imported.languages):,} languages from"
        f" {imported.labels:,} labels, {imported.unknown:,} labels answered as `und`; lines are"
        f" prepared {PREPARATIONS[imported.preparation]}"
    )


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory, or `builtin`.")
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="devtest", show_default=True, help="Split to measure on.")
@click.option(
    "--unknown",
    type=PATH,
    help="Directory of <anything>.txt in languages the model does not know.",
)
@click.option("--against", type=PATH, help="Model directory to compare with, on the same lines.")
@click.option("--output", type=PATH, help="Directory for measure.json and report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options(MeasureConfig)
def measure(
    model: Path,
    flores: Path,
    split: str,
    unknown: Path | None,
    against: Path | None,
    output: Path | None,
    as_json: bool,
    config: MeasureConfig,
) -> None:
    """Measure F1 and false-positive rate per language on a FLORES split."""
    from lid.measure import measure_directory
    from lid.measuring.report_page import PAGE_FILE, write_report

    measured = measure_directory(model, flores, split, config, unknown=unknown, against=against)
    if output is not None:
        write_report(output, measured)
        logger.info("the page is %s", output / PAGE_FILE)
    if as_json:
        print_json(measured)
    else:
        click.echo(_format(measured))


def _format(measured: dict[str, Any]) -> str:
    columns = ["f1", "precision", "recall", "fpr", "n"]
    rows = [
        [language, *(scores[column] for column in columns)]
        for language, scores in measured["languages"].items()
    ]
    parts = [format_table(["language", *columns], rows)]
    if measured["confusions"]:
        taken = [[c["language"], c["answer"], c["count"]] for c in measured["confusions"]]
        parts.append(format_table(["language", "taken for", "lines"], taken))
    if measured["explanations"]:
        parts.append("\n".join(measured["explanations"].values()))
    if measured["languages_without_model"]:
        parts.append(f"not known to the model: {' '.join(measured['languages_without_model'])}")
    for name in ("scripts", "levels"):
        averages = [[key, *entry.values()] for key, entry in measured[name].items()]
        parts.append(format_table([name, "languages", "macro-F1", "fpr"], averages))
    if "open" in measured:
        found = measured["open"]
        parts.append(
            f"{found['accepted_share']:.2%} of {found['lines']:,} lines of unknown text accepted"
        )
    if "against" in measured:
        parts.append(_format_comparison(measured["against"]))
    parts.append(
        f"macro-F1 {measured['macro_f1']:.4f}, mean false-positive rate"
        f" {measured['macro_fpr']:.5f} ({len(rows)} languages, {measured['lines']:,} lines;"
        f" macro-F1 without thresholds {measured['closed']['macro_f1']:.4f}, with confusable"
        f" groups merged {measured['merged']['macro_f1']:.4f})"
    )
    return "\n\n".join(parts)


def _format_comparison(found: dict[str, Any]) -> str:
    return (
        f"against {found['model']}: macro-F1 {found['macro_f1']:.4f} to"
        f" {found['other_macro_f1']:.4f} on {len(found['languages'])} shared languages"
        f" (p = {found['randomization_p']:.4f}); {found['only_right']:,} lines only this model"
        f" gets right, {found['only_other_right']:,} only the other (p = {found['mcnemar_p']:.2g})"
    )
