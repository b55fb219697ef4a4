"""`tongues lid measure`: a model directory's F1 and false-positive rates on a FLORES split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corpus.files import read_lines
from corpus.protocols import BUILTIN
from lid.config import MeasureConfig
from lid.directory import LANGUAGES_FILE
from lid.extended import DETECTOR, is_extended, read_extended
from lid.load import load_identifier
from lid.measuring.measurement import measure


def measure_directory(
    model: Path,
    flores: Path,
    split: str,
    config: MeasureConfig,
    *,
    unknown: Path | None = None,
    against: Path | None = None,
) -> dict[str, Any]:
    """Measure the model in a directory; see `lid.measuring.measurement.measure`.

    Args:
        model: Model directory, or `builtin`.
        flores: Directory in FLORES-200's layout.
        split: Name of the split.
        config: Groups, trials and how many confusions are listed.
        unknown: Directory of lines in none of the model's languages.
        against: Model directory to compare with on the same lines.
    """
    other = load_identifier(against) if against is not None else None
    measured = measure(
        load_identifier(model),
        flores,
        split,
        config,
        training_lines=read_training_lines(model),
        unknown=unknown,
        other=other,
    )
    measured["model"] = str(model)
    if against is not None:
        measured["against"]["model"] = str(against)
    return measured


def read_training_lines(model: Path) -> dict[str, int]:
    """Read the number of training lines per language; empty if the model does not record it."""
    if is_extended(model):
        language, base = read_extended(model)
        learned = read_training_lines(model / DETECTOR)
        return {**read_training_lines(base), language: learned[language]}
    if model == BUILTIN:
        return {}
    header, *rows = [line.split("\t") for line in read_lines(model / LANGUAGES_FILE)] or [[]]
    if "lines" not in header:
        return {}
    place = header.index("lines")
    return {row[0]: int(row[place]) for row in rows if len(row) > place and row[place].isdecimal()}
