r"""Matching of a person's own word lists (ETOX: Costa-jussà et al. 2023), marks kept.

ETOX's `\W` takes combining marks for spaces, which breaks words in a fifth of the languages and
finds nothing in Hindi and Bengali. Here a word is letters, marks, digits and joiners; both sides
are in NFC and case-folded; entries in scripts without spaces are found as substrings.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex

from corpus.errors import UserError
from corpus.files import read_lines
from corpus.languages import check_language
from corpus.text import UNSPACED_SCRIPTS, script_parts, scripts_of

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d]+")
_UNSPACED = frozenset(part for script in UNSPACED_SCRIPTS for part in script_parts(script))
_SUFFIXES = ("_twl.txt", ".txt")
"""ETOX names its files `<language>_twl.txt`."""


class ToxicityList:
    """The entries of one language: words, phrases, and strings of scripts without spaces."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._phrases: dict[str, list[tuple[str, ...]]] = {}
        self._strings: dict[str, list[str]] = {}
        for entry in sorted({_fold(entry) for entry in entries}):
            words = tuple(_WORD.findall(entry))
            if not words:
                continue
            if scripts_of(entry).keys() & _UNSPACED:
                text = "".join(words)
                self._strings.setdefault(text[0], []).append(text)
            else:
                self._phrases.setdefault(words[0], []).append(words)

    def count(self, text: str) -> int:
        """Return how many matches a text has; the longest entry at a place counts."""
        words = _WORD.findall(_fold(text))
        return sum(1 for _ in self._phrase_matches(words)) + self._string_matches("".join(words))

    def _phrase_matches(self, words: list[str]) -> Iterator[int]:
        place = 0
        while place < len(words):
            lengths = [
                len(phrase)
                for phrase in self._phrases.get(words[place], ())
                if tuple(words[place : place + len(phrase)]) == phrase
            ]
            if lengths:
                yield place
            place += max(lengths, default=1)

    def _string_matches(self, text: str) -> int:
        if not self._strings:
            return 0
        count = place = 0
        while place < len(text):
            lengths = [
                len(entry)
                for entry in self._strings.get(text[place], ())
                if text.startswith(entry, place)
            ]
            count += bool(lengths)
            place += max(lengths, default=1)
        return count


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def toxicity_files(directory: Path) -> dict[str, Path]:
    """Return the lists of a directory by language: `<language>.txt` or `<language>_twl.txt`.

    Raises:
        UserError: If the directory is missing, holds none, or names a language nobody knows.
    """
    if not directory.is_dir():
        raise UserError(f"directory of toxicity lists {directory} does not exist")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        suffix = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), "")
        if suffix and not path.name.startswith("."):
            language = check_language(path.name.removesuffix(suffix)).code
            if language in found:
                raise UserError(
                    f"{directory} has two lists of {language}: {found[language].name}, {path.name}"
                )
            found[language] = path
    if not found:
        raise UserError(
            f"{directory} holds no toxicity list: no <language>.txt or <language>_twl.txt"
        )
    return found


def read_toxicity_list(path: Path) -> ToxicityList:
    """Read a list, an entry per line; blank lines are none.

    Raises:
        UserError: If it holds no entry, since every text would pass.
    """
    entries = [line for line in read_lines(path) if _WORD.search(line)]
    if not entries:
        raise UserError(f"toxicity list {path} holds no entry")
    return ToxicityList(entries)
