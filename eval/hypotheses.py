"""Hypotheses on disk: `DIR/<source>-<target>.txt`, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import Direction, parse_direction

COPY = "copy"
"""The system that answers with the source."""


def find_systems(directories: Sequence[Path]) -> dict[str, dict[Direction, Path]]:
    """Return the files of each system by direction; a system has its directory's name.

    Raises:
        UserError: If a directory is missing or empty, two have one name, or a file's name is no
            direction.
    """
    systems: dict[str, dict[Direction, Path]] = {}
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory of <source>-<target>.txt files")
        name = directory.resolve().name
        if name in systems or name == COPY:
            raise UserError(
                f"{directory} would be system `{name}`, a name already taken. Systems are told"
                " apart by the names of their directories; rename one."
            )
        files = sorted(directory.glob("*.txt"))
        if not files:
            raise UserError(f"{directory} holds no hypotheses named <source>-<target>.txt")
        systems[name] = {_direction(path): path for path in files}
    return systems


def _direction(path: Path) -> Direction:
    try:
        return parse_direction(path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_hypotheses(path: Path, references: Sequence[str], references_name: str) -> list[str]:
    """Read the hypotheses of one direction, a line for each reference.

    Raises:
        DataError: If the file is empty or has another number of lines.
    """
    lines = read_lines(path)
    if not lines:
        raise DataError(f"{path} is empty; {len(references):,} lines were expected")
    if len(lines) != len(references):
        raise DataError(
            f"{path} has {len(lines):,} lines and {references_name} has {len(references):,}."
            " Hypotheses are a line per sentence in the order of the test set; was the"
            " translation interrupted, or is it of another split?"
        )
    return lines


def count_oddities(
    hypotheses: Sequence[str], sources: Sequence[str], references: Sequence[str]
) -> dict[str, int]:
    """Count lines that are empty, equal to their source, or equal to their reference."""
    return {
        "lines": len(hypotheses),
        "empty": sum(not hypothesis.strip() for hypothesis in hypotheses),
        "equal_to_source": _count_equal(hypotheses, sources),
        "equal_to_reference": _count_equal(hypotheses, references),
    }


def _count_equal(left: Sequence[str], right: Sequence[str]) -> int:
    return sum(bool(a.strip()) and a == b for a, b in zip(left, right, strict=True))
