"""The model directory: its files, what they hold, and how they are verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import digest_file, read_json, read_lines, write_json, write_lines
from corpus.jobs import task_counts
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, is_language
from corpus.protocols import CHECKSUMS_FILE as CHECKSUMS_FILE

MODEL_FILE = "model.bin"
QUANTIZED_FILE = "model.ftz"
THRESHOLDS_FILE = "thresholds.tsv"
LANGUAGES_FILE = "languages.tsv"
FAMILIARITY_FILE = "familiarity.tsv"
DESCRIPTION_FILE = "model.json"
ROWS_FILE, SCALES_FILE, OUTPUT_FILE = "rows.npy", "row_scales.npy", "output.npy"
WEIGHT_FILES = (ROWS_FILE, SCALES_FILE, OUTPUT_FILE)
PROFILES_FILE = "profiles.npy"
EXTENDED_FILE = "extended.json"
"""In a directory of two identifiers; see `lid.extended`."""

MODEL_FILES = (
    MODEL_FILE,
    QUANTIZED_FILE,
    *WEIGHT_FILES,
    PROFILES_FILE,
    THRESHOLDS_FILE,
    LANGUAGES_FILE,
    FAMILIARITY_FILE,
    DESCRIPTION_FILE,
)
"""All files of a model; which of them there are depends on its description."""

REQUIRED_FILES = (MODEL_FILE, THRESHOLDS_FILE, LANGUAGES_FILE, DESCRIPTION_FILE)
"""Files that every model has."""

SPECIAL_CLASSES = frozenset({UNKNOWN_LANGUAGE, NO_LANGUAGE})
"""Classes that are no language and so have no script."""

OWN, PLAIN, OPENLID, NLLB = "own", "plain", "openlid", "nllb"
PREPARATIONS = {
    OWN: "as this package's own models",
    PLAIN: "as single lines, otherwise unchanged",
    OPENLID: "lower case, without digits and punctuation",
    NLLB: "without digits and punctuation, case kept",
}
"""How lines are prepared; see `lid.engine.preparation`."""

_ANY = float("-inf")
_COPY_AGAIN = "Copy the model directory again, or train it again."


@dataclass(frozen=True)
class Threshold:
    """What an answer needs: at least this probability and this familiarity."""

    score: float = 0.0
    familiarity: float = _ANY


@dataclass(frozen=True)
class ModelDescription:
    """How a model's text is prepared, and what its labels mean (`model.json`)."""

    preparation: str = OWN
    """How lines are prepared, as they were in training: a key of `PREPARATIONS`."""

    answers: Mapping[str, str] = field(default_factory=dict)
    """Answer of each label of an imported model."""

    chinese_by_characters: bool = False
    """Whether one label covers Chinese in both scripts, and the characters tell which it is."""

    temperature: float = 1.0
    """What the logits were divided by, all calibrations together."""

    source: str = ""
    """Where an imported model came from."""


def write_description(directory: Path, description: ModelDescription) -> None:
    """Write `model.json`."""
    imported = {
        "preparation": description.preparation,
        "chinese_by_characters": description.chinese_by_characters,
    }
    write_json(
        directory / DESCRIPTION_FILE,
        {
            "prepared": description.preparation == OWN,
            "temperature": description.temperature,
            "source": description.source,
            "answers": dict(description.answers),
            **(imported if description.preparation != OWN else {}),
        },
    )


def read_description(directory: Path) -> ModelDescription:
    """Read `model.json`.

    Raises:
        DataError: If it is missing or lacks an entry.
    """
    file = directory / DESCRIPTION_FILE
    there = read_json(file)
    try:
        # Models imported before there was a choice saw their lines as they are.
        preparation = there.get("preparation", OWN if there["prepared"] else PLAIN)
        description = ModelDescription(
            preparation=str(preparation),
            answers=dict(there["answers"]),
            chinese_by_characters=bool(there.get("chinese_by_characters", False)),
            temperature=float(there["temperature"]),
            source=str(there["source"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} has no valid entry {error}. {_COPY_AGAIN}") from None
    if description.preparation not in PREPARATIONS:
        raise DataError(
            f"{file}: unknown preparation `{description.preparation}`; known:"
            f" {', '.join(PREPARATIONS)}. Was the model written by a newer version?"
        )
    return description


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
            raise DataError(
                f"{path}:{number}: `{line}` is not a language with its thresholds."
            ) from None
        if name not in SPECIAL_CLASSES and not is_language(name):
            raise DataError(f"{path}:{number}: `{name}` is not a language code.")
    return thresholds


def write_checksums(directory: Path, names: Sequence[str]) -> None:
    """Record size and digest of a model directory's files, for `check_directory`."""
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
    if (output / CHECKSUMS_FILE).is_file() and not task_counts(output, job):
        raise UserError(f"{output} holds another model. Choose another output, or delete that one.")


def check_directory(path: Path) -> None:
    """Check that a model directory is complete and that every file is as it was written.

    All files are read. A changed bit in any of them, or in the checksums, is an error.

    Raises:
        UserError: If it is not a model directory.
        DataError: If a file is missing, differs from what was written, or has no checksum.
    """
    checksums = check_checksums(path)
    for name in MODEL_FILES:
        if name not in checksums and (name in REQUIRED_FILES or (path / name).exists()):
            raise DataError(f"{path / CHECKSUMS_FILE} has no checksum of {name}. {_COPY_AGAIN}")


def check_checksums(path: Path) -> set[str]:
    """Check that the files of which a directory has checksums are as they were; return their names.

    Raises:
        UserError: If it has no checksums.
        DataError: If a file is missing, or differs from what was written.
    """
    file = path / CHECKSUMS_FILE
    if not file.is_file():
        raise UserError(
            f"{path} is not a language identification model: it has no {CHECKSUMS_FILE}. Give the"
            " directory that `tongues lid train --output` wrote; if its training was interrupted,"
            " run the same command again."
        )
    checksums = _read_checksums(file)
    for name in checksums:
        _check_file(path / name, *checksums[name])
    return set(checksums)


def _read_checksums(file: Path) -> dict[str, tuple[int, str]]:
    """Return the size in bytes and the digest of each file."""
    entries = read_json(file)
    try:
        return {name: (entry["bytes"], entry["blake2b"]) for name, entry in entries.items()}
    except (AttributeError, KeyError, TypeError):
        raise DataError(
            f"{file} does not list a size and checksum per file. {_COPY_AGAIN}"
        ) from None


def _check_file(file: Path, size: int, digest: str) -> None:
    if not file.is_file():
        raise DataError(f"{file} is missing. {_COPY_AGAIN}")
    found = file.stat().st_size
    if found != size:
        raise DataError(
            f"{file} is damaged: it has {found:,} bytes, and {size} were written. {_COPY_AGAIN}"
        )
    if digest_file(file) != digest:
        raise DataError(
            f"{file} is damaged or was changed: its checksum is not the one in {CHECKSUMS_FILE}."
            f" {_COPY_AGAIN}"
        )
