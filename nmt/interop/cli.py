"""Commands that bring checkpoints in and out."""

from __future__ import annotations

from pathlib import Path

import click

from corpus.command import PATH, config_options, print_counts
from nmt.interop.config import ExportConfig, ImportConfig


@click.command("import")
@click.option(
    "--from", "source", type=PATH, required=True,
    help="NLLB-200 checkpoint in transformers' layout, safetensors or pytorch_model.bin.",
)  # fmt: skip
@click.option("--output", type=PATH, required=True, help="Model directory to write.")
@config_options(ImportConfig)
def import_command(source: Path, output: Path, config: ImportConfig) -> None:
    """Make a model directory of an NLLB-200 checkpoint, dense or with experts."""
    from nmt.interop.import_model import import_checkpoint

    print_counts("model", dict(import_checkpoint(source, output, config).counts))


@click.command("export")
@click.option("--model", type=PATH, required=True, help="Model directory.")
@click.option(
    "--to", "layout", type=click.Choice(["transformers", "ctranslate2"]), required=True,
    help="Who is to read it; ctranslate2 takes dense models only.",
)  # fmt: skip
@click.option("--output", type=PATH, required=True, help="Directory to write.")
@config_options(ExportConfig)
def export_command(model: Path, layout: str, output: Path, config: ExportConfig) -> None:
    """Write a model as transformers or CTranslate2 reads it."""
    if layout == "transformers":
        from nmt.interop.export_model import export_to_transformers as export
    else:
        from nmt.interop.ctranslate import export_to_ctranslate2 as export
    print_counts("export", dict(export(model, output, config).counts))
