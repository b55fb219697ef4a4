"""FLORES-200 in its official layout: `DIR/{dev,devtest}/<language>.{dev,devtest}`."""

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import (
    check_language,
    find_language,
    language_choices,
    parse_language,
)

logger = logging.getLogger(__name__)

DEFAULT_SPLIT = "devtest"
_SHOWN = 10


def split_files(directory: Path, split: str) -> dict[str, Path]:
    """Return the file of each language of a split, sorted by language.

    Files are named by a code, or by what others call the language (`eng.dev` of FLORES-101). The
    others are listed in a warning.

    Raises:
        UserError: If there is no such split, or two of its files are of one language.
    """
    folder = directory / split
    if not folder.is_dir():
        raise UserError(
            f"{directory} has no split `{split}`: {folder} is not a directory. FLORES-200's layout"
            f" is {directory}/<split>/<language>.<split>."
        )
    found: dict[str, Path] = {}
    unknown: list[str] = []
    for path in sorted(folder.glob(f"[!.]*.{split}")):
        name = path.name.removesuffix(f".{split}")
        choices = language_choices(name)
        if len(choices) != 1:
            unknown.append(f"{name} ({' or '.join(choices)}?)" if choices else name)
            continue
        language = parse_language(name).code
        if language in found:
            raise UserError(f"{folder} holds {language} twice: {found[language].name}, {path.name}")
        found[language] = path
    if not found:
        there = f"; it has {', '.join(unknown[:_SHOWN])}" if unknown else ""
        raise UserError(f"{folder} holds no file named <language>.{split}{there}")
    if unknown:
        _warn_of_unknown(folder, tuple(unknown))
    return dict(sorted(found.items()))


@functools.cache
def _warn_of_unknown(folder: Path, unknown: tuple[str, ...]) -> None:
    """Log the files that are left out, once per run."""
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    logger.warning(
        "%s: left out, as these name no language, or several: %s%s",
        folder,
        ", ".join(unknown[:_SHOWN]),
        more,
    )


def split_languages(directory: Path, split: str) -> list[str]:
    """Return the languages that a split has a file for, sorted; see `split_files`."""
    return list(split_files(directory, split))


def split_file(directory: Path, split: str, language: str) -> Path:
    """Return the file of a language in a split, under whatever name it is there.

    Raises:
        UserError: If there is no such split, or it lacks the language.
    """
    path = directory / split / f"{language}.{split}"
    return path if path.is_file() else _file_of(directory, split, language)


def _file_of(
    directory: Path, split: str, language: str, files: Mapping[str, Path] | None = None
) -> Path:
    files = split_files(directory, split) if files is None else files
    name = find_language(language, files)
    if name is None:
        check_language(language)
        raise UserError(f"{directory}/{split} has no file for `{language}`")
    return files[name]


def read_split(
    directory: Path, split: str, languages: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Read a split for some languages, or for all that it has; lines are aligned.

    Languages are named as they are asked for: `zho_Hans` is read from `cmn_Hans.dev` too.

    Raises:
        UserError: If the split or a language is missing.
        DataError: If files differ in their number of lines.
    """
    files = split_files(directory, split)
    texts = {
        language: read_lines(_file_of(directory, split, language, files))
        for language in (files if languages is None else languages)
    }
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
