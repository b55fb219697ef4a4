"""The bitext of a directory, a file for each direction."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from corpus.bitext.directions import directions_of, moses_places
from corpus.bitext.names import (
    FORMATS,
    choices_of,
    codes_of,
    is_held_out,
    moses_directions,
    moses_groups,
    part_of,
    stem_of,
)
from corpus.bitext.writer import BITEXT_SUFFIXES
from corpus.errors import UserError
from corpus.languages import Direction

logger = logging.getLogger(__name__)

_SHOWN = 10
"""Files that are named in one message."""


def is_first_file(path: Path) -> bool:
    """Whether a file is bitext of one direction, and the first of its files if it has several.

    Of unknown languages only what has an ending of our own. For a search of directories file by
    file, so that each bitext is found once.
    """
    part = part_of(path.name)
    if part is not None and part[1] > 0:
        return False
    directions = directions_of(path)
    if len(directions) != 1:
        return not directions and path.name.endswith(BITEXT_SUFFIXES)
    sides = moses_places(path, directions[0])
    return sides is None or path == min(sides.source.path, sides.target.path)


def bitext_files(directory: Path) -> dict[Direction, Path]:
    """Return the bitext of a directory by direction, sorted: the file that `BitextReader` takes.

    Files are told by name, by those beside them or by content. A directory named by two languages,
    as `en-fr`, is part of it. Development and test sets, as `dev.en-fr.en`, are left out where
    there is anything else. What is left out is logged.

    Raises:
        UserError: If the directory is missing, holds none, or holds a direction twice, or if a
            Moses file that is named by two languages has no other side.
    """
    found: dict[Direction, Path] = {}
    for direction, path in bitext_in(directory):
        if direction in found:
            raise UserError(
                f"{directory} holds {direction} twice: {found[direction].name}, {path.name}; join"
                " them with `tongues data convert`, or give a directory of each"
            )
        found[direction] = path
    return dict(sorted(found.items()))


def bitext_in(directory: Path, wanted: Direction | None = None) -> list[tuple[Direction, Path]]:
    """Return directions and files of a directory's bitext; a direction may have several files.

    Args:
        directory: The directory.
        wanted: Which languages are meant where a code may mean several.
    """
    if not directory.is_dir():
        raise UserError(f"bitext directory {directory} does not exist or is not a directory")
    found, others = _search(directory, wanted)
    training = [(direction, path) for direction, path in found if not is_held_out(path.name)]
    if not found:
        there = f" It holds {_listed(others)}{_advice(others)}." if others else ""
        raise UserError(f"{directory} holds no bitext; {_EXPECTED}.{there}")
    if training and len(training) < len(found):
        held_out = tuple(sorted({path.name for _, path in found if is_held_out(path.name)}))
        _say_held_out(directory, held_out)
    if others:
        _warn_of_others(directory, tuple(others))
    return sorted(training or found)


_EXPECTED = (
    "files are named <source>-<target>, as eng_Latn-fra_Latn.tsv or train.en-fr.jsonl.gz, and are"
    f" {FORMATS}"
)


def _search(
    directory: Path, wanted: Direction | None
) -> tuple[list[tuple[Direction, Path]], list[str]]:
    """Return the bitext of a directory, and the names of what is none."""
    found: list[tuple[Direction, Path]] = []
    others: list[str] = []
    sides: list[Path] = []
    for path in sorted(directory.iterdir()):
        if _is_by_product(path):
            continue
        if path.is_dir():
            codes = codes_of(path.name)
            inside = (
                _search(path, wanted)[0]
                if codes is not None and "-".join(codes) == path.name
                else []
            )
            found += inside
            others += [] if inside else [f"{path.name}/"]
        elif stem_of(path.name) is None:
            sides.append(path)
        elif (part := part_of(path.name)) is None or part[1] == 0:
            try:
                directions = directions_of(path, wanted)
            except UserError:  # a code that may mean several languages
                directions = []
            found += [(direction, path) for direction in directions]
            others += [] if directions else [path.name]
    groups = moses_groups(path.name for path in sides)
    grouped = set()
    for stem, group in groups.items():
        try:
            directions_of_group = moses_directions(stem, group, directory, wanted)
        except UserError:
            continue
        if not directions_of_group and codes_of(stem) is not None:
            raise UserError(
                f"{directory / next(iter(group.values()))} has not the other side of the pair"
                " beside it"
            )
        if directions_of_group:
            grouped |= set(group.values())
            found += [
                (direction, directory / group[code])
                for direction, code in directions_of_group.items()
            ]
    extras = {f"{stem}.{kind}" for stem in groups for kind in ("ids", "scores")}
    others += [
        path.name
        for path in sides
        if path.name not in grouped and path.name.partition(".gz")[0] not in extras
    ]
    return found, sorted(others)


def _is_by_product(path: Path) -> bool:
    """Whether a file or directory beside bitext is known not to be bitext."""
    return (
        path.name.startswith(".")
        or path.name in ("receipts", "report.html")
        or path.name.endswith("config.yaml")
    )


def _advice(names: Sequence[str]) -> str:
    if not any(name.endswith("/") for name in names):
        return ""
    return " (of directories, only those named by two languages, as en-fr, are searched)"


@functools.cache
def _warn_of_others(directory: Path, names: tuple[str, ...]) -> None:
    """Log what is left out of a directory of bitext, once per run."""
    logger.warning(
        "%s: not read as bitext, because of the name: %s%s; %s",
        directory,
        _listed(names),
        _advice(names),
        _EXPECTED,
    )


@functools.cache
def _say_held_out(directory: Path, names: tuple[str, ...]) -> None:
    logger.warning(
        "%s: not read, since the names are those of development and test sets: %s",
        directory,
        _listed(names),
    )


def _listed(names: Sequence[str]) -> str:
    choices = [(name, choices_of(name)) for name in names[:_SHOWN]]
    shown = ", ".join(f"{name} ({meant})" if meant else name for name, meant in choices)
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
