"""Hypotheses on disk: directories or a manifest, and checks of their lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import Direction, parse_direction, parse_language
from corpus.records import is_by_product, warn_of_others
from eval.tables import read_rows

COPY = "copy"
"""The baseline that returns the source."""

MANIFEST_COLUMNS = ("system", "source", "target", "path")

_HINT = (
    "Rename the files to <source>-<target>.txt, as eng_Latn-fra_Latn.txt, or list them as they are"
    " in a table for `tongues eval score`: --manifest FILE, with the columns"
    f" {', '.join(MANIFEST_COLUMNS)}."
)
_ADVICE = (
    "Hypotheses are a line per sentence in the order of the test set; was the translation"
    " interrupted, or is it of another split?"
)

Systems = dict[str, dict[Direction, Path]]
"""The files of each system by direction."""


class Oddities(NamedTuple):
    """Lines of hypotheses that look wrong: how many, and the first, from 1 (0: none)."""

    empty: int
    first_empty: int
    equal_to_source: int
    first_equal_to_source: int
    equal_to_reference: int
    invalid: int
    """Lines that are not UTF-8."""


def find_systems(directories: Sequence[Path], manifest: Path | None = None) -> Systems:
    """Return the files of each system by direction; a system is named after its directory.

    Raises:
        UserError: If nothing is given, a directory is missing or empty, two have one name, a
            system cannot be called so, a file's name is not a direction, or what has such a name
            is not a file.
        DataError: If the manifest is damaged or names a file twice for one direction.
    """
    if not directories and manifest is None:
        raise UserError("there is nothing to score: give --hypotheses DIR or --manifest FILE")
    systems = read_manifest(manifest) if manifest is not None else {}
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory of <source>-<target>.txt files")
        name = directory.resolve().name
        try:
            _check_name(name)
        except UserError as error:
            raise UserError(f"{directory}: {error}") from None
        if name in systems:
            raise UserError(
                f"{directory} would be system `{name}`, a name that is already taken. A system is"
                " named after its directory; rename one of them."
            )
        files = sorted(directory.glob("[!.]*.txt"))
        if not files:
            raise UserError(f"{directory} holds no hypotheses named <source>-<target>.txt\n{_HINT}")
        others = sorted({*directory.iterdir()} - {*files})
        if names := tuple(path.name for path in others if not is_by_product(path)):
            warn_of_others(directory, names, "hypotheses are in <source>-<target>.txt")
        for path in files:
            if not path.is_file():
                raise UserError(f"{path} is not a file, or a broken link; remove or replace it")
        systems[name] = {_direction(path): path for path in files}
    return systems


def read_manifest(path: Path) -> Systems:
    """Read a TSV with the columns `system`, `source`, `target`, `path`.

    Paths are relative to the manifest's directory.

    Raises:
        UserError: If there is no such file.
        DataError: If a column is missing, or a row is short or names an unknown language, a
            system that cannot be called so, a file that does not exist, or a direction again.
    """
    systems: Systems = {}
    for number, values in read_rows(path, MANIFEST_COLUMNS):
        try:
            _check_name(values["system"])
            direction = Direction(
                parse_language(values["source"]).code, parse_language(values["target"]).code
            )
        except UserError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        file = path.parent / values["path"]
        files = systems.setdefault(values["system"], {})
        if direction in files:
            raise DataError(
                f"{path}:{number}: {values['system']} has {direction} already: {files[direction]}"
            )
        if not file.is_file():
            raise DataError(f"{path}:{number}: {file} does not exist")
        files[direction] = file
    if not systems:
        raise DataError(f"{path} names no hypotheses")
    return systems


def _check_name(system: str) -> None:
    """Refuse names that tables cannot hold, and that of the baseline.

    Raises:
        UserError: If the name is `copy`, empty, not UTF-8, or has control characters.
    """
    if system == COPY:
        raise UserError(
            f"a system cannot be called `{COPY}`: that is the baseline that returns the source;"
            " choose another name"
        )
    try:
        system.encode()
    except UnicodeEncodeError:
        raise UserError("the system's name is not UTF-8; rename it") from None
    if not system.strip() or any(unicodedata.category(character) == "Cc" for character in system):
        raise UserError(f"a system cannot be called {system!r}; choose another name")


def _direction(path: Path) -> Direction:
    try:
        return parse_direction(path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}\n{_HINT}") from None


def check_lengths(
    files: Iterable[tuple[Path, Path]], lines: Mapping[Path, int], whole: int = 0
) -> None:
    """Check that files of hypotheses have a line for each reference, before any is scored.

    Args:
        files: Hypotheses and their references.
        lines: Number of lines of each file of references.
        whole: Number of lines that is right as well: of a set whose lines are not all scored.

    Raises:
        DataError: If files are empty or have another number of lines; it names them.
    """
    problems = []
    for path, references in files:
        found = _count_lines(path)
        if not found:
            problems.append(f"{path} is empty; {lines[references]:,} lines were expected")
        elif found not in (lines[references], whole):
            problems.append(
                f"{path} has {found:,} lines and {references} has {lines[references]:,}"
            )
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError("\n".join(problems[:10]) + more + f"\n{_ADVICE}")


def _count_lines(path: Path) -> int:
    if path.suffix in (".gz", ".zst"):
        return len(read_lines(path))
    data = path.read_bytes()
    return data.count(b"\n") + (data != b"" and not data.endswith(b"\n"))


def read_hypotheses(
    path: Path,
    references: Sequence[str],
    references_name: str,
    keep: Callable[[list[str]], Sequence[str]] = list,
) -> list[str]:
    """Read the hypotheses of one direction, a line for each reference.

    Args:
        path: The file.
        references: Their references, [N].
        references_name: The file of these, for messages.
        keep: Returns the lines that are scored, of lines of a whole test set.

    Raises:
        DataError: If the file is empty or has another number of lines.
    """
    lines = list(keep(read_lines(path)))
    if not lines:
        raise DataError(f"{path} is empty; {len(references):,} lines were expected")
    if len(lines) != len(references):
        raise DataError(
            f"{path} has {len(lines):,} lines and {references_name} has {len(references):,}."
            f" {_ADVICE}"
        )
    return lines


def find_oddities(
    hypotheses: Sequence[str], sources: Sequence[str], references: Sequence[str], invalid: int
) -> Oddities:
    """Count lines that are empty, equal to their source, or equal to their reference."""
    empty = [number for number, line in enumerate(hypotheses, 1) if not line.strip()]
    same = _equal(hypotheses, sources)
    return Oddities(
        len(empty),
        empty[0] if empty else 0,
        len(same),
        same[0] if same else 0,
        len(_equal(hypotheses, references)),
        invalid,
    )


def _equal(left: Sequence[str], right: Sequence[str]) -> list[int]:
    pairs = enumerate(zip(left, right, strict=True), 1)
    return [number for number, (a, b) in pairs if a == b and a.strip()]
