"""FLORES-200 in its official layout: `DIR/{dev,devtest}/<language>.{dev,devtest}`."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import check_language, is_language

logger = logging.getLogger(__name__)

DEFAULT_SPLIT = "devtest"
_SHOWN = 10


def split_languages(directory: Path, split: str) -> list[str]:
    """Return the languages that a split has a file for, sorted.

    Raises:
        UserError: If there is no such split.
    """
    folder = directory / split
    if not folder.is_dir():
        raise UserError(
            f"{directory} has no split `{split}`: {folder} is not a directory. FLORES-200's layout"
            f" is {directory}/<split>/<language>.<split>."
        )
    there = sorted(path.name.removesuffix(f".{split}") for path in folder.glob(f"*.{split}"))
    languages = [language for language in there if is_language(language)]
    unknown = tuple(language for language in there if not is_language(language))
    if not languages:
        found = f"; it has {', '.join(unknown[:_SHOWN])}" if unknown else ""
        raise UserError(f"{folder} holds no file named <language>.{split}{found}")
    if unknown:
        _warn_of_unknown(folder, unknown)
    return languages


@functools.cache
def _warn_of_unknown(folder: Path, unknown: tuple[str, ...]) -> None:
    """Log the files that are left out, once per run."""
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    logger.warning(
        "%s: left out, as these are no language codes: %s%s",
        folder,
        ", ".join(unknown[:_SHOWN]),
        more,
    )


def read_split(
    directory: Path, split: str, languages: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Read a split for some languages, or for all that it has; lines are aligned.

    Raises:
        UserError: If the split or a language is missing.
        DataError: If files differ in their number of lines.
    """
    available = split_languages(directory, split)
    texts: dict[str, list[str]] = {}
    for language in available if languages is None else languages:
        if language not in available:
            check_language(language)
            raise UserError(f"{directory}/{split} has no file for `{language}`")
        texts[language] = read_lines(directory / split / f"{language}.{split}")
    _check_alignment(directory / split, texts)
    return texts


def _check_alignment(folder: Path, texts: dict[str, list[str]]) -> None:
    if not texts:
        return
    first, first_lines = next(iter(texts.items()))
    for language, lines in texts.items():
        if len(lines) != len(first_lines):
            raise DataError(
                f"{folder}: {language} has {len(lines):,} lines and {first} has"
                f" {len(first_lines):,}; the files of a split are line-aligned. Fetch it again."
            )
