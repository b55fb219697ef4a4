"""The compiled pass over documents, called through ctypes; see `mining/sentences/kernel.cpp`.

It is told what a character is when it meets it first, by the functions and patterns of the slower
path. What it cannot tell from that, it hands back: lines that this path has to look at.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from typing import Any, NamedTuple, Protocol

import ftfy.badness
import numpy as np
import regex
from numpy.typing import NDArray

from corpus.joined_lines import JoinedLines
from corpus.native import load_library
from corpus.split import (
    ABBREVIATIONS,
    CLOSERS,
    CLOSING_START,
    ENDING,
    INITIAL,
    QUOTE_ENDS,
    QUOTING,
    STARTERS,
    STOPS,
    TOKEN_BREAKS,
)
from corpus.text import REPLACEMENT, SPACES, key_character, script_parts, scripts_by_code
from mining.sentences import clean, filters
from mining.sentences.profiles import Limits
from mining.sentences.runs import KEY_BYTES, LANGUAGE_BYTES

_INTERFACE = 1
"""That of the compiled part; see `corpus.native.load_library`."""

FORM_REASONS = (
    "", "too_short", "too_long", "many_digits", "few_letters", "wrong_script", "repetition",
    "few_words", "long_word",
)  # fmt: skip
"""What the numbers of `Cleaner.form_reasons` mean."""

_COUNTS = (
    "lines", "sentences", "boilerplate_lines.no_letters", "boilerplate_lines.navigation",
    "boilerplate_lines.notice", "boilerplate_lines.fragment", "rejected.too_short",
    "rejected.too_long", "rejected.damaged_characters",
)  # fmt: skip
_FOUND_KINDS = (np.uint8, np.int64, np.int32, np.int32, np.int32)
_RESULT_KINDS: tuple[type[Any], ...] = (
    np.uint32, np.int64, np.int64, *_FOUND_KINDS, *_FOUND_KINDS,
)  # fmt: skip
_RESULTS = len(_RESULT_KINDS)
_KNOWN = 1
_NO, _PERHAPS, _YES = range(3)
_END = 0xFFFFFFFF
_MOST_CLASSES = 255
_MANY_UNASKED = 64
"""Lines with sequences that were not met before are handed back. With so many, going over all again
takes less time."""

_SCRIPTS = {
    code: regex.compile(rf"\p{{Script={name}}}+") for code, name in scripts_by_code().items()
}
_NUMBERS = {code: number for number, code in enumerate(_SCRIPTS, 1)}
_COMPOSED = range(0xC0, 0x3400), range(0x10000, 0x17000)
"""Where characters are that others compose to; a test looks everywhere."""

_HANGUL_PARTS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))
"""Vowels and finals, which compose by arithmetic."""

_SIGNS = frozenset("©@:w(&;")
"""What begins a link, an entity, a notice or code."""

_SLOW = frozenset("<{}\\")
"""What may be markup wherever it stands."""


class Pattern(Protocol):
    """A compiled pattern of `re` or `regex`."""

    def finditer(self, string: str, /) -> Iterator[Any]:
        """Yield matches."""
        ...


class _Limits(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("least", "most", "words", "word", "run")),
        *((name, ctypes.c_double) for name in ("letters", "digits", "word_share", "script")),
        ("scripts", ctypes.c_uint64),
        ("has_words", ctypes.c_int64),
    ]


class Found(NamedTuple):
    """Sentences of some documents, [N]."""

    texts: JoinedLines
    documents: NDArray[np.int32]
    ordinals: NDArray[np.int64]
    """Number in the document, without the lines that were handed back."""

    handed_before: NDArray[np.int64]
    """Lines handed back before it, of all documents."""


class Cleaned(NamedTuple):
    """What the pass makes of some documents."""

    sentences: Found
    """Normalized ones that may be kept in some language."""

    unfinished: Found
    """Those that are to be normalized, and looked at then."""

    handed: NDArray[np.int64]
    """Lines handed back: document, sentences before it there, first byte and end, [M, 4]."""

    counts: dict[str, int]


class Cleaner:
    """The compiled pass with what it knows of characters. Calls exclude each other."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Start with what is not learned by the way."""
        self._library = library
        self._lock = threading.RLock()
        self._own = ctypes.c_void_p(library.tongues_cleaner())
        self._classes = _BadClasses()
        pairs = _compositions()
        library.tongues_learn_compositions(self._own, _count(pairs), _pointer(pairs))
        self._seconds = {chr(pair & 0x1FFFFF) for pair in pairs.tolist()}
        self._seconds |= set(map(chr, _HANGUL_PARTS))
        for number, words in enumerate((ABBREVIATIONS, ENDING, STARTERS)):
            for word in words:
                data = word.encode()
                library.tongues_learn_words(
                    self._own, ctypes.c_int64(number), data, ctypes.c_int64(len(data))
                )
        self.learn(bytes(range(128)))

    def clean(self, documents: JoinedLines, least: int, most: int, repairs: bool) -> Cleaned:
        """Return the sentences of documents that have from `least` to `most` characters."""
        with self._lock:
            self._learn(documents.data)
            results = (ctypes.c_void_p * _RESULTS)()
            sizes = (ctypes.c_int64 * _RESULTS)()
            while True:
                self._library.tongues_clean(
                    self._own,
                    documents.data,
                    _pointer(documents.bounds),
                    _count(documents),
                    ctypes.c_int64(least),
                    ctypes.c_int64(most),
                    ctypes.c_int64(repairs),
                    results,
                    sizes,
                )
                arrays = list(map(_copy, results, sizes, _RESULT_KINDS))
                unasked = arrays[0].reshape(-1, 3)
                self._learn_sequences(unasked)
                if len(unasked) < _MANY_UNASKED:
                    break
        _, handed, counts, *found = arrays
        return Cleaned(
            _found(*found[:5]),
            _found(*found[5:]),
            handed.reshape(-1, 4),
            dict(zip(_COUNTS, counts.tolist(), strict=True)),
        )

    def form_reasons(
        self,
        texts: JoinedLines,
        languages: NDArray[np.int32],
        limits: Sequence[tuple[str, Limits]],
    ) -> NDArray[np.uint8]:
        """Return what `mining.sentences.filters.form_reason` does, as numbers of `FORM_REASONS`.

        Args:
            texts: Normalized sentences, of characters that were learned.
            languages: Index into `limits` for each, [N]; what has -1 is not looked at.
            limits: Languages and their limits.
        """
        reasons = np.zeros(len(languages), np.uint8)
        table = (_Limits * len(limits))(*(_as_structure(*one) for one in limits))
        with self._lock:
            self._library.tongues_form(
                self._own, _count(languages), texts.data, _pointer(texts.bounds),
                _pointer(languages), table, _pointer(reasons),
            )  # fmt: skip
        return reasons

    def sort_keys(
        self,
        rows: NDArray[np.int64],
        texts: JoinedLines,
        languages: NDArray[np.int32],
        language_keys: bytes,
        documents: NDArray[np.int32],
        names: JoinedLines,
        positions: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return keys as `mining.sentences.runs.sentence_sort_key` does, [R, KEY_BYTES].

        And of which rows the hash of the template is missing, as Python has to make it: numbers
        of keys, [S].

        Args:
            rows: Which of the sentences, [R].
            texts: Normalized sentences, of characters that were learned.
            languages: Index into `language_keys` for each sentence, [N].
            language_keys: What keys begin with, LANGUAGE_BYTES each.
            documents: Index into `names` for each, [N].
            names: Of documents, as they are hashed.
            positions: In the document, [N].
        """
        keys = np.zeros((len(rows), KEY_BYTES), np.uint8)
        is_slow = np.zeros(len(rows), np.uint8)
        with self._lock:
            self._library.tongues_keys(
                self._own, _count(rows), _pointer(rows), texts.data, _pointer(texts.bounds),
                _pointer(languages), language_keys, ctypes.c_int64(LANGUAGE_BYTES),
                _pointer(documents), names.data, _pointer(names.bounds), _pointer(positions),
                _pointer(keys), _pointer(is_slow),
            )  # fmt: skip
        return keys, np.flatnonzero(is_slow)

    def learn(self, text: bytes) -> None:
        """Learn the characters of a text, UTF-8."""
        with self._lock:
            self._learn(text)

    def _learn(self, data: bytes) -> None:
        found = ctypes.c_void_p()
        count = self._library.tongues_unknown(
            self._own, data, ctypes.c_int64(len(data)), ctypes.byref(found)
        )
        if not count:
            return
        codes = _copy(found.value, count, np.uint32)
        text = "".join(map(chr, codes.tolist()))
        keys = JoinedLines.join([self._key(character) for character in text])
        table = self._facts(text)
        self._learn_sequences(self._classes.new_pairs())
        self._library.tongues_learn_characters(
            self._own, _count(codes), _pointer(codes), _pointer(table), keys.data,
            _pointer(keys.bounds),
        )  # fmt: skip

    def _facts(self, text: str) -> NDArray[np.uint32]:
        """Return flags, case-folded form, class, combining class and script of characters, [N, 5].

        All characters at once: patterns look at a text faster than at one character after another.
        """
        folded = map(str.casefold, text)
        upper = _matches(_UPPER, text)
        decomposed = _each(text, lambda one: one != unicodedata.normalize("NFD", one))
        changes = _each(text, lambda one: not unicodedata.is_normalized("NFKC", one))
        recomposed = _each(text, lambda one: not unicodedata.is_normalized("NFC", one))
        is_compatible = changes & ~recomposed
        stays = is_compatible & _each(text, self._stays_apart)
        flags = (
            _each(text, str.isspace),
            _matches(SPACES, text),
            _matches(_WHITE, text),
            _matches(clean.LETTER, text),
            _matches(clean.WORD, text),
            _among(clean.STOPS, text),
            _among(clean.SEPARATORS, text),
            _among(clean.SPACED_SEPARATORS, text),
            _among(STOPS, text),
            _matches(_CLOSER, text),
            _matches(CLOSING_START, text),
            _matches(_TOKEN_BREAK, text),
            _among(QUOTE_ENDS, text),
            _matches(QUOTING, text),
            _each(text, str.isdigit),
            upper,
            _matches(_MARK, text),
            # Of one character, these are the initials that are no capital.
            _each(text, lambda one: INITIAL.fullmatch(one) is not None) & ~upper,
            _matches(_ARMENIAN, text),
            _matches(_GREEK, text),
            _matches(filters.LETTER, text),
            _matches(filters.DIGIT, text),
            _matches(filters.SPACE, text),
            _among(_SLOW, text),
            recomposed,
            _among(self._seconds, text),
            decomposed,
            stays,
            is_compatible & ~stays,
            _among(REPLACEMENT, text),
            _among(_SIGNS, text),
        )
        table = np.zeros((len(text), 5), np.uint32)
        table[:, 0] = _KNOWN
        for bit, flag in enumerate(flags, 1):
            table[:, 0] |= flag.astype(np.uint32) << np.uint32(bit)
        table[:, 1] = [ord(one) if len(one) == 1 else 0 for one in folded]
        table[:, 2] = self._classes.of(text)
        table[:, 3] = list(map(unicodedata.combining, text))
        for number, pattern in enumerate(_SCRIPTS.values(), 1):
            table[_matches(pattern, text), 4] = number
        return table

    def _key(self, character: str) -> str:
        return "".join(map(key_character, unicodedata.normalize("NFKC", character).casefold()))

    def _stays_apart(self, character: str) -> bool:
        """Say whether nothing in what NFKC makes of a character composes with what is before it."""
        parts = unicodedata.normalize("NFKD", character)
        return not any(unicodedata.combining(one) or one in self._seconds for one in parts)

    def _learn_sequences(self, sequences: NDArray[np.uint32]) -> None:
        answers = np.array([self._classes.answer(*one) for one in sequences.tolist()], np.uint8)
        self._library.tongues_learn_sequences(
            self._own, _count(sequences), _pointer(sequences), _pointer(answers)
        )


class _BadClasses:
    r"""Classes of characters that `ftfy.badness` tells apart, and what matches may begin with.

    Its pattern knows characters by the sets in brackets, by themselves, as `\s` and as `\w`.
    """

    def __init__(self) -> None:
        pattern = _COMMENT.sub("", ftfy.badness.BADNESS_RE.pattern)
        # These two differ between `re` and `regex`: what either takes.
        sets = dict.fromkeys(_SET.findall(pattern))
        self._sets = [re.compile(f"{one}+") for one in sets]
        self._single = frozenset(_SET.sub("", pattern)) - frozenset(" \n|\\")
        looser = pattern.replace(r"\w", ".").replace(r"\s", r"[\s\x1c-\x1f]")
        self._begins = regex.compile(looser, regex.VERBOSE)
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._examples: list[str] = []
        self._paired = 0

    def of(self, text: str) -> list[int]:
        """Return the numbers of the classes of characters."""
        traits = [
            *(_matches(one, text) for one in self._sets),
            _each(text, str.isspace) | _matches(_WHITE, text),
            _each(text, str.isalnum) | _matches(clean.WORD, text),
        ]
        found = []
        for character, row in zip(text, np.packbits(np.array(traits), axis=0).T, strict=True):
            own = character if character in self._single else ""
            number = self._numbers.setdefault((own, row.tobytes()), len(self._examples))
            if number == len(self._examples):
                self._examples.append(character)
                assert number < _MOST_CLASSES
            found.append(number)
        return found

    def new_pairs(self) -> NDArray[np.uint32]:
        """Return the pairs of classes that were not returned before, as sequences, [N, 3]."""
        before, self._paired = self._paired, len(self._examples)
        pairs = np.indices((self._paired, self._paired), np.uint32).reshape(2, -1).T
        fresh = pairs[pairs.max(axis=1) >= before]
        return np.column_stack([fresh, np.full(len(fresh), _END, np.uint32)])

    def answer(self, first: int, second: int, third: int) -> int:
        """Return whether a match begins with characters of these classes; `_PERHAPS` with two."""
        text = "".join(self._examples[one] for one in (first, second, third) if one != _END)
        found = self._begins.match(text, partial=True)
        if found is None:
            return _NO
        return _PERHAPS if third == _END else _YES


def _matches(pattern: Pattern, text: str) -> NDArray[np.bool_]:
    """Return which characters match a pattern of one character, or of runs of it, [N]."""
    found = np.zeros(len(text), np.bool_)
    for match in pattern.finditer(text):
        found[match.start() : match.end()] = True
    return found


def _among(characters: Collection[str], text: str) -> NDArray[np.bool_]:
    return _each(text, characters.__contains__)


def _each(text: str, is_so: Callable[[str], bool]) -> NDArray[np.bool_]:
    return np.fromiter(map(is_so, text), np.bool_, len(text))


_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_SET = re.compile(r"\[[^\]]*\]")
_WHITE = regex.compile(r"\s+")
_CLOSER = regex.compile(CLOSERS.removesuffix("*"))
_TOKEN_BREAK = regex.compile(rf"[{TOKEN_BREAKS}]+")
_UPPER = regex.compile(r"\p{Lu}+")
_MARK = regex.compile(r"\p{M}+")
_ARMENIAN = regex.compile(r"\p{Armenian}+")
_GREEK = regex.compile(r"\p{Greek}+")


@functools.cache
def load_cleaner() -> Cleaner | None:
    """Return this process's compiled pass, or None where there is none."""
    library = load_library("mining.sentences", "_kernel", _INTERFACE)
    if library is None:
        return None
    library.tongues_cleaner.restype = ctypes.c_void_p
    library.tongues_unknown.restype = ctypes.c_int64
    for name in ("characters", "sequences", "compositions", "words"):
        getattr(library, f"tongues_learn_{name}").restype = None
    library.tongues_clean.restype = None
    library.tongues_form.restype = library.tongues_keys.restype = None
    return Cleaner(library)


def _compositions() -> NDArray[np.uint64]:
    """Return the pairs of characters that NFC composes, first << 21 | second."""
    found = []
    for code in itertools.chain(*_COMPOSED):
        step = unicodedata.decomposition(chr(code))
        if " " not in step or step.startswith("<"):
            continue
        if unicodedata.is_normalized("NFC", chr(code)):
            first, second = (int(part, 16) for part in step.split())
            found.append(first << 21 | second)
    return np.array(found, np.uint64)


def _as_structure(language: str, limits: Limits) -> _Limits:
    parts = [_NUMBERS[part] for part in script_parts(language[4:8]) if part in _NUMBERS]
    return _Limits(
        limits.min_characters,
        limits.max_characters,
        limits.min_words,
        limits.max_word_characters,
        limits.max_character_run,
        limits.min_letter_share,
        limits.max_digit_share,
        limits.max_word_share,
        limits.min_script_share,
        sum(1 << part for part in parts),
        limits.has_words,
    )


def _found(
    text: NDArray[np.uint8],
    ends: NDArray[np.int64],
    documents: NDArray[np.int32],
    ordinals: NDArray[np.int32],
    handed_before: NDArray[np.int32],
) -> Found:
    return Found(
        JoinedLines(text.tobytes(), np.append(np.int64(0), ends)),
        documents,
        ordinals.astype(np.int64),
        handed_before.astype(np.int64),
    )


def _copy(address: int | None, count: int, kind: type[Any]) -> NDArray[Any]:
    size = np.dtype(kind).itemsize
    data = ctypes.string_at(address, count * size) if address and count else b""
    return np.frombuffer(data, kind)


def _count(array: Sized) -> ctypes.c_int64:
    return ctypes.c_int64(len(array))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
