"""Tables of characters for the compiled pass, from Python's own Unicode data.

They are made when the pass is loaded, in a fifth of a second, so that both passes over a text
always agree and no table of another Unicode version lies in the package.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from corpus.text import SPACES, script_parts, scripts_by_code
from lid.engine.chinese import CHINESE, own_characters
from lid.engine.preparation import UNSPACED, folded_letters

SPACE, WORD, DIGIT, LETTER, MARK, UNSPACED_FLAG, NEVER, MAYBE = (1 << bit for bit in range(8))
CLASS_SHIFT = 8
SCRIPT_SHIFT = 16
HAN, CHINESE_SCRIPTS = "Hani", tuple(name[4:] for name in CHINESE)

_PLANES = [
    range(0x0, 0xD800),
    range(0xE000, 0x20000),
    range(0x20000, 0x40000),
    range(0xE0000, 0xE0200),
]
"""Where characters are assigned (Unicode 17): the rest is private or empty."""


class CharacterTables(NamedTuple):
    """Tables by code point; see `lid/engine/kernel.cpp` for the bits of `flags`."""

    flags: NDArray[np.uint32]
    lower: NDArray[np.uint32]
    decomposed: NDArray[np.uint32]
    decomposed_at: NDArray[np.uint32]
    pairs: NDArray[np.uint64]
    composed: NDArray[np.uint32]


@functools.cache
def script_numbers() -> dict[str, int]:
    """Return a number from 1 for each script the package knows (ISO 15924).

    1 to 3 are Han characters: those of either way of writing Chinese, simplified ones, and
    traditional ones, as the compiled pass expects.
    """
    codes = dict.fromkeys([HAN, *CHINESE_SCRIPTS, *scripts_by_code()])
    return {code: number for number, code in enumerate(codes, 1)}


def script_bits(script: str) -> int:
    """Return the bits of the scripts that a language's script code stands for.

    Han characters of either kind are Japanese, Korean and `Hani`. 0 for a script that the package
    does not know: it cannot be looked for.
    """
    numbers = script_numbers()
    parts = set(script_parts(script))
    if HAN in parts:
        parts |= {script} if script in CHINESE_SCRIPTS else set(CHINESE_SCRIPTS)
    return sum(1 << numbers[part] for part in parts if part in numbers)


@functools.cache
def character_tables() -> CharacterTables:
    """Build the tables from `unicodedata` and `regex`; takes a fifth of a second."""
    points = np.concatenate([np.arange(plane.start, plane.stop) for plane in _PLANES])
    size = int(points[-1]) + 1
    text = "".join(map(chr, points.tolist()))
    flags = np.zeros(size, np.uint32)
    marked = np.zeros(len(points), np.uint32)
    _mark(marked, text, SPACES.pattern, SPACE)
    _mark(marked, text, r"\p{L}+", LETTER)
    _mark(marked, text, r"\p{M}+", MARK)
    _mark(marked, text, UNSPACED + "+", UNSPACED_FLAG)
    for code, name in scripts_by_code().items():
        _mark(marked, text, rf"\p{{Script={name}}}+", script_numbers()[code] << SCRIPT_SHIFT)
    for code, own in zip(CHINESE_SCRIPTS, own_characters(), strict=True):
        places = np.searchsorted(points, sorted(map(ord, own)))
        marked[places] &= (1 << SCRIPT_SHIFT) - 1
        marked[places] |= script_numbers()[code] << SCRIPT_SHIFT
    marked |= np.fromiter((WORD * (c.isalnum() or c == "_") for c in text), np.uint32)
    marked |= np.fromiter((DIGIT * c.isdecimal() for c in text), np.uint32)
    marked |= np.fromiter((unicodedata.combining(c) << CLASS_SHIFT for c in text), np.uint32)
    flags[points] = marked
    lower = np.arange(size, dtype=np.uint32)
    for character in text:
        if character != (low := character.lower()) and len(low) == 1:
            lower[ord(character)] = ord(low)
    decomposed, decomposed_at = _decompositions(text, size, flags)
    pairs, composed = _compositions(text, flags)
    return CharacterTables(flags, lower, decomposed, decomposed_at, pairs, composed)


def _mark(marked: NDArray[np.uint32], text: str, pattern: str, flag: int) -> None:
    for match in regex.finditer(pattern, text):
        marked[match.start() : match.end()] |= flag


def _decompositions(
    text: str, size: int, flags: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    parts: list[int] = []
    lengths = np.zeros(size + 1, np.uint32)
    folded = folded_letters()
    for character in text:
        whole = unicodedata.normalize("NFD", folded.get(ord(character), character))
        if whole != character:
            parts += map(ord, whole)
            lengths[ord(character) + 1] = len(whole)
            if ord(character) in folded or unicodedata.normalize("NFC", character) != character:
                flags[ord(character)] |= NEVER
    return np.array(parts, np.uint32), np.cumsum(lengths, dtype=np.uint32)


def _compositions(
    text: str, flags: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    found: dict[int, int] = {}
    for character in text:
        step = unicodedata.decomposition(character)
        if not step or step.startswith("<") or " " not in step:
            continue
        if unicodedata.normalize("NFC", character) != character:
            continue  # excluded from composition
        first, second = (int(part, 16) for part in step.split())
        found[first << 21 | second] = ord(character)
        flags[second] |= MAYBE
    flags[0x1161:0x1176] |= MAYBE  # Hangul vowels and finals compose by arithmetic
    flags[0x11A8:0x11C3] |= MAYBE
    keys = sorted(found)
    return np.array(keys, np.uint64), np.array([found[key] for key in keys], np.uint32)
