r"""Finding the terms of a word list in lines, in any script.

Both sides are put in NFC and case-folded; letters, marks and digits (`\p{L}\p{M}\p{N}`) make up
words, so that vowel signs and tone marks stay part of them. ETOX (Costa-jussà et al. 2023) splits
at `\W`, which in Python's `re` deletes combining marks and with them most Hindi and Bengali words.

Where words stand between spaces (Tibetan: syllables between tshegs) a term is a sequence of whole
words. Where they do not (Thai, Khmer, Chinese, …) it is found inside the running text, but only
from one whole character to another: not before a vowel sign or tone mark that would change its last
consonant, nor inside a conjunct. It may then be part of a longer word; no list can tell.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

import regex

from corpus.languages import script_of
from corpus.text import UNSPACED_SCRIPTS, script_of_character, script_parts

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
# Words, and whatever parts phrases; hyphens, apostrophes and tshegs stand inside them.
_WORD_OR_BREAK = regex.compile(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s\p{Pd}\p{Pc}'’·་༌\u200b]")
_BREAKS = regex.compile(r"[^\p{L}\p{M}\p{N}\s\u200b]+")
_SPACES = regex.compile(r"[\s\u200b]+")
_MARK = regex.compile(r"\p{M}")
# Joiners and soft hyphens: spelled or not, the word is the same.
_INVISIBLE = dict.fromkeys(map(ord, "\u200c\u200d\u00ad"))

_SYLLABLE_SCRIPTS = frozenset({"Tibt"})
"""Scripts without spaces whose syllables are marked off, so that whole ones can be compared."""

_STACKERS = frozenset("\u17d2\u1039")
"""Khmer coeng and Myanmar virama: the next consonant is written below and belongs here."""

_UNSPACED_CHARACTERS = frozenset(
    part for script in UNSPACED_SCRIPTS - _SYLLABLE_SCRIPTS for part in script_parts(script)
)

_DOTLESS = frozenset({"tur_Latn", "azj_Latn", "crh_Latn"})
"""Languages whose small I has no dot and whose capital i keeps its own."""
_DOTLESS_CASE = str.maketrans({"I": "ı", "İ": "i"})

_BREAK = "\0"


def fold(text: str, language: str) -> str:
    """Return text as it is compared: NFC, without case or invisible joiners."""
    composed = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    if language in _DOTLESS:
        composed = composed.translate(_DOTLESS_CASE)
    return unicodedata.normalize("NFC", composed.casefold())


class TermMatcher:
    """Finds the terms of one language in lines."""

    def __init__(self, terms: Sequence[str], language: str) -> None:
        """Prepare a list; a term without letters or digits is never found, see `is_usable`."""
        self._language = language
        self._is_unspaced = script_of(language) in UNSPACED_SCRIPTS - _SYLLABLE_SCRIPTS
        self._words: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        self._runs: dict[str, list[tuple[str, int]]] = {}
        for number, term in enumerate(terms):
            folded = fold(term, language)
            if not _WORD.search(folded):
                continue
            if self._is_unspaced:
                run = _join(folded)[0].strip(_BREAK)
                self._runs.setdefault(run[0], []).append((run, number))
            else:
                words = _trim(_WORD_OR_BREAK.findall(folded))
                self._words.setdefault(words[0], []).append((words, number))
        for terms_of_word in self._words.values():
            terms_of_word.sort(key=lambda item: (-len(item[0]), item[1]))
        for terms_of_run in self._runs.values():
            terms_of_run.sort(key=lambda item: (-len(item[0]), item[1]))

    def find(self, line: str) -> list[int]:
        """Return the numbers of the terms that occur, in order, the longest where several begin.

        Occurrences do not overlap; a term that occurs twice is returned twice.
        """
        folded = fold(line, self._language)
        if self._is_unspaced:
            return self._find_runs(folded)
        words = _WORD_OR_BREAK.findall(folded)
        return [] if self._words.keys().isdisjoint(words) else self._find_words(words)

    def _find_words(self, words: Sequence[str]) -> list[int]:
        found = []
        place = 0
        while place < len(words):
            step = 1
            for term, number in self._words.get(words[place], ()):
                if tuple(words[place : place + len(term)]) == term:
                    found.append(number)
                    step = len(term)
                    break
            place += step
        return found

    def _find_runs(self, text: str) -> list[int]:
        run, starts = _join(text)
        if self._runs.keys().isdisjoint(run):
            return []
        found = []
        place = 0
        while place < len(run):
            step = 1
            for term, number in self._runs.get(run[place], ()):
                end = place + len(term)
                if run.startswith(term, place) and _is_whole(run, starts, place, end):
                    found.append(number)
                    step = len(term)
                    break
            place += step
        return found


def is_usable(term: str, language: str) -> bool:
    """Whether a term has letters or digits, so that it can be found at all."""
    return _WORD.search(fold(term, language)) is not None


def _trim(words: Sequence[str]) -> tuple[str, ...]:
    """Return a term's words, and what parts them, less punctuation at its ends."""
    places = [place for place, word in enumerate(words) if _WORD.match(word)]
    return tuple(words[places[0] : places[-1] + 1])


def _join(text: str) -> tuple[str, frozenset[int]]:
    """Take the spaces out of running text; return it and where pieces began.

    Punctuation stays as one break that no term crosses.
    """
    parts: list[str] = []
    starts = set()
    length = 0
    for piece in _SPACES.split(_BREAKS.sub(_BREAK, text).replace(_BREAK, f" {_BREAK} ")):
        starts.add(length)
        parts.append(piece)
        length += len(piece)
    return "".join(parts), frozenset(starts)


def _is_whole(run: str, starts: frozenset[int], start: int, end: int) -> bool:
    """Whether a stretch begins and ends with whole characters, and words where words are spaced."""
    is_cut_behind = (
        end < len(run)
        and end not in starts
        and (_MARK.match(run[end]) or (_is_spaced(run[end - 1]) and _is_spaced(run[end])))
    )
    is_cut_before = (
        start > 0
        and start not in starts
        and (run[start - 1] in _STACKERS or (_is_spaced(run[start]) and _is_spaced(run[start - 1])))
    )
    return not is_cut_behind and not is_cut_before


@functools.lru_cache(maxsize=1 << 14)
def _is_spaced(character: str) -> bool:
    """Whether a character belongs to words between spaces: Latin letters in Thai text, digits."""
    if character == _BREAK:
        return False
    return script_of_character(character) not in _UNSPACED_CHARACTERS
