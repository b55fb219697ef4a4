"""Commands of translation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from corpus.command import PATH, config_options, print_counts, print_json
from corpus.console import format_table
from corpus.languages import parse_directions
from nmt.cli_data import DATA_COMMANDS
from nmt.cli_distill import distill
from nmt.cli_translate import COMMANDS
from nmt.interop.cli import export_command, import_command
from nmt.sizing.config import LayoutConfig
from nmt.threads import share_processors
from nmt.training.config import TrainConfig, VocabularyConfig
from nmt.training.curriculum import DerivationConfig
from nmt.training.curves import read_curves
from nmt.training.summary import summarize
from nmt.usage.config import UsageConfig

if TYPE_CHECKING:
    from typing import Any


@click.group()
def group() -> None:
    """Translation: vocabulary, training, translation."""
    share_processors()


for _command in (*DATA_COMMANDS, *COMMANDS, distill, import_command, export_command):
    group.add_command(_command)


@group.command()
@click.option(
    "--bitext", type=PATH, multiple=True, help="Directory of bitext; may be repeated."
)  # fmt: skip
@click.option(
    "--text", type=PATH, multiple=True,
    help="Directory of <language>.txt, or of sentences; may be repeated.",
)  # fmt: skip
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
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options(TrainConfig)
@click.pass_context
def train(context: click.Context, output: Path, as_json: bool, config: TrainConfig) -> None:
    """Train a model; run again, it goes on from its last checkpoint.

    The same command in one process, under torchrun and under srun.
    """
    from nmt.training.train import TRAINING_DIRECTORY
    from nmt.training.train import train as train_model

    summary = train_model(config, output, load_scorer=context.obj["load_scorer"])
    if summary is None:  # rank 0 says what there is to say
        return
    if as_json:
        curves = read_curves(output / TRAINING_DIRECTORY)
        print_json({"counts": dict(summary.counts), **summarize(curves)})
    else:
        print_counts("model", dict(summary.counts))


@group.command()
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option("--flores", type=PATH, required=True, help="Directory in FLORES-200's layout.")
@click.option("--split", default="dev", show_default=True, help="Split to run through the model.")
@click.option("--directions", default="", help="A-B,C-D; all that were trained without it.")
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
    """Say which experts the languages' tokens go to, layer by layer."""
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


@group.command()
@click.option(
    "--training", type=PATH, required=True,
    help="Model directory of a run on all directions, or a TSV of direction, update, nll.",
)  # fmt: skip
@click.option("--output", type=PATH, required=True, help="YAML file of phases to write.")
@config_options(DerivationConfig)
def curriculum(training: Path, output: Path, config: DerivationConfig) -> None:
    """Derive from validation curves in which phase each direction enters training."""
    from nmt.training.curriculum import derive_curriculum

    summary = derive_curriculum(training, output, config)
    print_counts("curriculum", dict(summary.counts))


@group.command()
@click.option("--size", required=True, help="Named size.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--vocabulary-size", type=int, default=None, help="Tokens; NLLB-200's by default.")
@config_options(LayoutConfig)
def describe(size: str, as_json: bool, vocabulary_size: int | None, config: LayoutConfig) -> None:
    """Count a model's parameters, operations and memory before anyone trains it."""
    from nmt.sizing.describe import describe_size

    description: dict[str, Any] = describe_size(size, vocabulary_size, config)
    if as_json:
        print_json(description)
        return
    memory = description.pop("memory_per_gpu")
    rows = [[name, f"{v:,}" if isinstance(v, int) else v] for name, v in description.items()]
    click.echo(format_table(["figure", "value"], rows))
    rows = [[name, f"{size / 1e9:,.2f} GB"] for name, size in memory.items()]
    click.echo("\n" + format_table(["memory per GPU", "estimate"], rows))
