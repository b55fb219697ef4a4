"""Directories of labeled text, `DIR/<language>.txt[.gz|.zst]`: one file per language."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import UserError
from corpus.languages import parse_language
from lid.directory import SPECIAL_CLASSES

logger = logging.getLogger(__name__)

_SHOWN = 5

SUFFIXES = (".txt", ".txt.gz", ".txt.zst")


def labeled_files(directory: Path, least: int = 2) -> dict[str, Path]:
    """Return the file of each class in `DIR/<language>.txt[.gz|.zst]`, sorted by class.

    Raises:
        UserError: If there are fewer than `least`, or a name means no language or several.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory of <language>.txt[.gz|.zst] files.")
    files: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(directory.iterdir()):
        suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
        if suffix is None:
            others.append(path.name)
            continue
        name = _class_of(path, path.name.removesuffix(suffix))
        if name in files:
            raise UserError(f"{path} and {files[name].name} are both of `{name}`; keep one.")
        files[name] = path
    if others:
        logger.warning(
            "%s: %d entries are not <language>.txt[.gz|.zst] and are left out: %s%s",
            directory,
            len(others),
            ", ".join(others[:_SHOWN]),
            ", …" if len(others) > _SHOWN else "",
        )
    if len(files) < least:
        raise UserError(
            f"{directory} has {len(files)} labeled file(s); at least {least} are needed,"
            " each in <language>.txt, <language>.txt.gz or <language>.txt.zst."
        )
    return files


def joined_files(directories: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Return the files of each class in one directory or more, sorted by class.

    Raises:
        UserError: As of `labeled_files`; if there are fewer than two classes in all.
    """
    if len(directories) == 1:
        return {name: (path,) for name, path in labeled_files(directories[0]).items()}
    found: dict[str, tuple[Path, ...]] = {}
    for directory in directories:
        for name, path in labeled_files(directory, least=1).items():
            found[name] = (*found.get(name, ()), path)
    if len(found) < 2:
        raise UserError(
            f"{', '.join(map(str, directories))} have text of `{next(iter(found))}` only; at least"
            " 2 languages are needed."
        )
    return dict(sorted(found.items()))


def _class_of(path: Path, name: str) -> str:
    """Return the class that a file is named by.

    Raises:
        UserError: If the name means no language, or several.
    """
    if name in SPECIAL_CLASSES:
        return name
    try:
        return parse_language(name).code
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
