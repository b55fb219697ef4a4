"""The model directory: which files it holds, what they say, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import digest_file, read_json, read_lines, write_json, write_lines
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, is_language

MODEL_FILE = "model.bin"
QUANTIZED_FILE = "model.ftz"
THRESHOLDS_FILE = "thresholds.tsv"
LANGUAGES_FILE = "languages.tsv"
FAMILIARITY_FILE = "familiarity.tsv"
DESCRIPTION_FILE = "model.json"
CHECKSUMS_FILE = "checksums.json"

SPECIAL_CLASSES = frozenset({UNKNOWN_LANGUAGE, NO_LANGUAGE})
"""Classes that are no language and so have no script."""

_ANY = float("-inf")


@dataclass(frozen=True)
class Threshold:
    """What an answer needs: at least this probability and this familiarity."""

    score: float = 0.0
    familiarity: float = _ANY


@dataclass(frozen=True)
class ModelDescription:
    """What a model was trained to see, and what its labels mean."""

    is_prepared: bool = True
    """Whether lines go through `lid.engine.preparation.prepare`; an imported model sees
    them as they are."""

    answers: Mapping[str, str] = field(default_factory=dict)
    """Answer of each label that is not a FLORES-200 code itself."""

    temperature: float = 1.0
    """What the logits were divided by, all calibrations together."""

    source: str = ""
    """Where an imported model came from."""


def write_description(directory: Path, kind: ModelDescription) -> None:
    """Write `model.json`."""
    write_json(
        directory / DESCRIPTION_FILE,
        {
            "prepared": kind.is_prepared,
            "temperature": kind.temperature,
            "source": kind.source,
            "answers": dict(kind.answers),
        },
    )


def read_description(directory: Path) -> ModelDescription:
    """Read `model.json`.

    Raises:
        DataError: If it is missing or lacks an entry.
    """
    there = read_json(directory / DESCRIPTION_FILE)
    try:
        return ModelDescription(
            bool(there["prepared"]),
            dict(there["answers"]),
            float(there["temperature"]),
            str(there["source"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{directory / DESCRIPTION_FILE} lacks or garbles {error}.") from None


def write_thresholds(path: Path, thresholds: Mapping[str, Threshold]) -> None:
    """Write `thresholds.tsv`."""
    rows = [f"{name}\t{one.score:.4f}\t{one.familiarity:.4f}" for name, one in thresholds.items()]
    write_lines(path, ["language\tthreshold\tfamiliarity", *rows])


def read_thresholds(path: Path) -> dict[str, Threshold]:
    """Read `thresholds.tsv`.

    Raises:
        DataError: If a line is not a class with its numbers.
    """
    thresholds = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        name, _, rest = line.partition("\t")
        try:
            thresholds[name] = Threshold(*map(float, rest.split("\t")))
        except (TypeError, ValueError):
            raise DataError(f"{path}:{number}: `{line}` has no threshold") from None
        if name not in SPECIAL_CLASSES and not is_language(name):
            raise DataError(f"{path}:{number}: `{name}` is not a language code")
    return thresholds


def write_checksums(directory: Path, names: Sequence[str]) -> None:
    """Record size and digest of a model directory's files; `check_directory` compares."""
    write_json(
        directory / CHECKSUMS_FILE,
        {
            name: {
                "bytes": (directory / name).stat().st_size,
                "blake2b": digest_file(directory / name),
            }
            for name in names
        },
    )


def refuse_other_model(output: Path, job: str) -> None:
    """Refuse to write over a model that another command made.

    Raises:
        UserError: If `output` holds a model without a receipt of `job`.
    """
    if (output / CHECKSUMS_FILE).is_file() and not list(output.glob(f"receipts/{job}/*.json")):
        raise UserError(f"{output} holds another model. Choose another output, or delete it.")


def check_directory(path: Path, unread: Sequence[str] = ()) -> None:
    """Check that a model directory is whole.

    Args:
        path: The directory.
        unread: Files whose size alone is looked at, since they will not be read as a whole.

    Raises:
        UserError: If it is not a model directory.
        DataError: If a file is missing or is not the one that was written.
    """
    checksums = path / CHECKSUMS_FILE
    if not checksums.is_file():
        raise UserError(
            f"{path} is not a language identification model: it has no {CHECKSUMS_FILE}. Give the"
            " directory that `tongues lid train --output` wrote; if its training was interrupted,"
            " run the same command again."
        )
    for name, there in read_json(checksums).items():
        file = path / name
        if not file.is_file():
            raise DataError(f"{path} has lost its {name}. Train again, or copy it whole.")
        size = file.stat().st_size
        if size != there["bytes"]:
            raise DataError(
                f"{file} is damaged: it has {size:,} bytes, and {there['bytes']:,} were written."
                " Copy the model directory again, or train it again."
            )
        if name not in unread and digest_file(file) != there["blake2b"]:
            raise DataError(
                f"{file} is damaged or was changed: its checksum is not the one in"
                f" {checksums.name}. Copy the model directory again, or train it again."
            )
