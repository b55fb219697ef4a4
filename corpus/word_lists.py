"""Word lists given by the user: a directory, a TSV, or the published zips with their password.

Toxicity-200 comes as one zip that holds `<language>_twl.txt` or a zip for each language, encrypted
(github.com/facebookresearch/flores, toxicity/README.md). Opening it is the user's decision, so the
user gives the password, in the environment and never in a stored config.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import find_language, is_language
from corpus.terms import fold, is_usable

logger = logging.getLogger(__name__)

PASSWORD_VARIABLE = "TONGUES_LIST_PASSWORD"

_NAME = re.compile(r"([a-z]{3}_[A-Z][a-z]{3}(?:_[a-z0-9]{4,8})?)(?:_twl)?\.(txt|zip)")
_MAX_BYTES = 16 << 20
"""Of one list, unpacked; the longest of Toxicity-200 has some ten thousand bytes."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class WordList:
    """The terms of one language."""

    language: str
    terms: tuple[str, ...]
    """As written, without repetitions."""
    lines: tuple[int, ...]
    """Where each stands in its list, from 1: what reports call it by."""
    sha256: str
    """Of the list's bytes, unpacked."""
    size: int
    """Bytes."""
    repeated: int
    unusable: int
    """Lines without a letter or digit."""
    origin: Path
    """The file it was read from, an input of the job."""


def find_list(lists: Mapping[str, WordList], language: str) -> WordList | None:
    """Return the list of a language, under whatever name it has there; None if there is none."""
    return lists.get(find_language(language, lists) or "")


def read_word_lists(path: Path) -> dict[str, WordList]:
    """Read all lists of a directory, a TSV with the columns `language` and `term`, or a zip.

    Raises:
        UserError: If there is nothing such, a zip's password is missing or wrong, or two lists are
            of one language.
        DataError: If a list is not UTF-8, too long, or a zip is damaged.
    """
    lists: dict[str, WordList] = {}
    ignored: list[str] = []
    for name, origin, content in _contents(path):
        match = _NAME.fullmatch(name)
        if match is None or not is_language(match[1]):
            ignored.append(name)
            continue
        if match[1] in lists:
            raise UserError(
                f"{path} holds two lists of {match[1]}: {lists[match[1]].origin}, {origin}"
            )
        lists[match[1]] = _parse(match[1], content, origin)
    if ignored:
        names = ", ".join(ignored[:_SHOWN]) + (" …" if len(ignored) > _SHOWN else "")
        logger.warning(
            "%s: %d files that are no list were passed over: %s", path, len(ignored), names
        )
    if not lists:
        raise UserError(
            f"{path} holds no word list. It is a directory or zip of <language>.txt or"
            " <language>_twl.txt, a term a line, or a TSV with the columns `language` and `term`."
        )
    return lists


def _contents(path: Path) -> Iterator[tuple[str, Path, bytes]]:
    """Yield name, file and bytes of each list."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield from _file_contents(file)
    elif path.is_file() and path.suffix == ".tsv":
        yield from _tsv_contents(path)
    elif path.is_file():
        yield from _file_contents(path)
    else:
        raise UserError(f"{path} does not exist; it should hold word lists")


def _file_contents(file: Path) -> Iterator[tuple[str, Path, bytes]]:
    if file.suffix != ".zip" and not _NAME.fullmatch(file.name):
        yield file.name, file, b""  # by its name no list, so not worth reading
        return
    if file.stat().st_size > 4 * _MAX_BYTES:
        raise DataError(f"{file} has {file.stat().st_size:,} bytes; that is not a word list")
    content = file.read_bytes()
    if file.suffix == ".zip":
        for name, inner in _zip_contents(str(file), content):
            yield name, file, inner
    else:
        yield file.name, file, content


def _tsv_contents(path: Path) -> Iterator[tuple[str, Path, bytes]]:
    rows = [line.split("\t") for line in read_lines(path) if line.strip()]
    if not rows or not {"language", "term"} <= set(rows[0]):
        raise DataError(f"{path} needs a header with the columns `language` and `term`")
    language, term = rows[0].index("language"), rows[0].index("term")
    terms: dict[str, list[str]] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}:{number}: {len(row)} columns where the header has {len(rows[0])}"
            )
        terms.setdefault(row[language], []).append(row[term])
    for code, lines in terms.items():
        yield f"{code}.txt", path, "".join(f"{line}\n" for line in lines).encode()


def _zip_contents(name: str, content: bytes, is_inner: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a zip, and those of zips in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                file = info.filename.rsplit("/", 1)[-1]
                if info.is_dir() or file.startswith((".", "_")):
                    continue
                inner = _read_member(name, archive, info)
                if file.endswith(".zip") and not is_inner:
                    yield from _zip_contents(f"{name}/{file}", inner, is_inner=True)
                else:
                    yield file, inner
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{name} is not a readable zip: {error}") from error


def _read_member(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    password = os.environ.get(PASSWORD_VARIABLE)
    is_encrypted = bool(info.flag_bits & 1)
    if is_encrypted and not password:
        raise UserError(
            f"{name} is encrypted. Its password is in the publisher's README; set"
            f" {PASSWORD_VARIABLE} to it. That says that you consent to viewing the terms."
        )
    try:
        with archive.open(
            info, pwd=password.encode() if password and is_encrypted else None
        ) as file:
            content = file.read(_MAX_BYTES + 1)
    except (RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if not is_encrypted or isinstance(error, NotImplementedError):
            raise
        # A wrong password passes zip's one-byte check now and then, and fails at the checksum.
        raise UserError(
            f"{name}: {PASSWORD_VARIABLE} is not the password of {info.filename}"
        ) from None
    if len(content) > _MAX_BYTES:
        raise DataError(f"{name}: {info.filename} unpacks to more than {_MAX_BYTES:,} bytes")
    return content


def _parse(language: str, content: bytes, origin: Path) -> WordList:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: the list of {language} is not UTF-8: {error}") from None
    terms: dict[str, tuple[str, int]] = {}
    repeated = unusable = 0
    for number, line in enumerate(text.split("\n"), 1):
        term = line.strip()
        key = fold(term, language)
        if not term:
            continue
        if not is_usable(term, language):
            unusable += 1
        elif key in terms:
            repeated += 1
        else:
            terms[key] = (term, number)
    return WordList(
        language=language,
        terms=tuple(term for term, _ in terms.values()),
        lines=tuple(number for _, number in terms.values()),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        repeated=repeated,
        unusable=unusable,
        origin=origin,
    )
